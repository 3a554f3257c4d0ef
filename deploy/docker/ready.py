"""Is the service in this container ready? Exit code 0 when its /readyz says so; else the problem
goes where `docker inspect` shows it."""

import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4.0  # less than the health check's own


def main() -> None:
    """Asks 127.0.0.1 on the port that the command line names."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode(errors="replace"))
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
