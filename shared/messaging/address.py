"""An address of RabbitMQ as pika's parameters, and whom TLS trusts."""

import ssl

import pika

from shared.errors import ConfigurationError

HEARTBEAT_SECONDS = 30


class _Address(pika.URLParameters):  # type: ignore[misc]  # pika ships no types
    """pika's own reading of a URL, and `cacertfile` of RabbitMQ's "URI Query Parameters"."""

    ssl_options: pika.SSLOptions | None

    def _set_url_cacertfile(self, path: str) -> None:
        if self.ssl_options is None:
            raise ConfigurationError("AMQP_URL: cacertfile is for amqps:// only")
        try:
            # Nobody is trusted but this authority, for certificates of this host name.
            context = ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"AMQP_URL: cacertfile {path}: {error}") from None
        self.ssl_options = pika.SSLOptions(context, self.host)


def connection_parameters(amqp_url: str, name: str) -> pika.URLParameters:
    """pika's parameters, with a name for operators and a heartbeat that notices a dead peer.

    `amqps://` alone trusts what the system trusts; with `?cacertfile=PATH`, that authority only.
    Both check the host name.

    Raises:
        ConfigurationError: the file cannot be read as certificates.
    """
    parameters = _Address(amqp_url)
    if "heartbeat=" not in amqp_url:
        parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.socket_timeout = 5.0
    parameters.stack_timeout = 10.0
    parameters.client_properties = {"connection_name": f"hitl-{name}"}
    return parameters


def cause_of(reason: BaseException | str) -> str:
    """Why a connection did not come up or ended, in the words of what went wrong: pika puts up to
    three exceptions around it, some without a word."""
    while True:
        tried = getattr(reason, "exceptions", None)  # one for each address of the host
        within = tried[-1] if tried else getattr(reason, "exception", None)
        if within is None and isinstance(reason, BaseException) and reason.args:
            within = reason.args[0] if isinstance(reason.args[0], BaseException) else None
        if within is None:
            return str(reason) or type(reason).__name__
        reason = within
