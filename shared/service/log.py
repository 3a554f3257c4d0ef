"""JSON logging: one object per line on stderr; item and trace ids are fields of their own."""

import logging
import sys
from datetime import UTC, datetime

from shared.formats.json_lines import line

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Standard records as JSON; whatever `extra=` brings becomes a field."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return line(entry, default=str).removesuffix("\n")


def configure(service: str, level: str) -> None:
    """Sends all logging of this process to stderr as JSON; of libraries only from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("shared", "services", "hitl"):
        logging.getLogger(name).setLevel(level)
    # shared.messaging.connection says in one line what pika says in six.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)
