"""RabbitMQ's management API: https://www.rabbitmq.com/docs/management#http-api."""

import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx

from shared.errors import HitlError


def get(api_url: str, path: str, *, timeout_seconds: float = 60.0) -> Any:
    """The JSON at `path` below the API's address.

    Raises:
        HitlError: the API does not answer, or refuses; the text does not quote the password.
    """
    return _request("GET", api_url, path, None, timeout_seconds).json()


def import_definitions(api_url: str, definitions: dict[str, Any]) -> None:
    """Adds to the broker what it lacks of these; everything else stays as it is.

    Raises:
        HitlError: as above.
    """
    _request("POST", api_url, "definitions", definitions, 60.0)


def vhost_in_path(amqp_url: str) -> str:
    """The address's virtual host as it stands in the API's paths."""
    return quote(unquote(urlsplit(amqp_url).path[1:]) or "/", safe="")


def _request(
    method: str, api_url: str, path: str, body: dict[str, Any] | None, timeout_seconds: float
) -> httpx.Response:
    given = httpx.URL(api_url)
    url = given.copy_with(raw_path=f"{given.path.rstrip('/')}/{path}".encode())
    where = f"RabbitMQ's management API on {url.host}:{url.port}"
    try:
        # `?cacertfile=PATH` names the authority to trust, as in AMQP_URL; else the system's are.
        authority = dict(parse_qsl(urlsplit(api_url).query)).get("cacertfile")
        trust = ssl.create_default_context(cafile=authority)
        # Without the environment's proxies: AMQP reaches the broker without them, too.
        answer = httpx.request(
            method, url, json=body, timeout=timeout_seconds, verify=trust, trust_env=False
        )
    except (httpx.HTTPError, OSError) as error:
        raise HitlError(f"{where}: {error}") from error
    if answer.is_error:
        raise HitlError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    return answer
