"""The command line of an installed wheel: `hitl`, or `python -m hitl_pipeline`.

Beside this file the wheel has hitl/, services/, shared/ and deploy/, as a checkout has them. This
folder comes first on the path of this process, and of the services that it starts, and on no
other's: `shared` and `services` are names that anybody may use.
"""

import sys
from pathlib import Path


def main() -> None:
    """One command, typed by somebody."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    try:
        from hitl.__main__ import start

        start()
    except ModuleNotFoundError as error:
        sys.exit(
            f"This needs the package {error.name}, which is not installed here. The extra `cli`"
            " brings what talks to a pipeline that runs, `up,model` what runs one:"
            " pip install 'hitl-pipeline[cli]'"
        )


if __name__ == "__main__":
    main()
