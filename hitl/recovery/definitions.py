"""The broker's definitions, out and in: users, rights, virtual hosts, policies.

By the management API (https://www.rabbitmq.com/docs/definitions). Messages are not in it: they are
in the queues of a quorum, on as many nodes as there are.
"""

from typing import Any

import httpx

from hitl.support.connection import trusted
from shared.errors import HitlError

TIMEOUT_SECONDS = 60.0


def export_definitions(api_url: str) -> dict[str, Any]:
    """All of the broker's definitions; passwords are in them as salted hashes.

    Raises:
        HitlError: the API does not answer or refuses; the text does not hold the password.
    """
    found: dict[str, Any] = get(api_url, "definitions")
    return found


def get(api_url: str, path: str) -> Any:
    """What it answers at this path.

    Raises:
        HitlError: as above.
    """
    return _request("GET", api_url, path).json()


def import_definitions(api_url: str, known: dict[str, Any]) -> None:
    """Adds to the broker what is missing of these; what else it knows stays.

    Raises:
        HitlError: as above.
    """
    _request("POST", api_url, "definitions", known)


def _request(
    method: str, api_url: str, path: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    given = httpx.URL(api_url)
    url = given.copy_with(raw_path=f"{given.path.rstrip('/')}/{path}".encode())
    try:
        trust = trusted(api_url)
        answer = httpx.request(method, url, json=body, timeout=TIMEOUT_SECONDS, verify=trust)
    except (httpx.HTTPError, OSError) as error:
        raise HitlError(f"RabbitMQ's management API on {url.host}:{url.port}: {error}") from error
    if answer.is_error:
        raise HitlError(
            f"RabbitMQ's management API on {url.host}:{url.port} answers {answer.status_code}:"
            f" {answer.text[:200]}"
        )
    return answer
