"""The settings, read from the environment.

Read once, at each program's start; frozen; a start with bad keys lists every one of them.
`AMQP_URL` and `DATABASE_URL` keep their customary names, everything else is `HITL_*`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from shared.addresses import DATABASE, ESCAPES, is_address, is_database
from shared.errors import ConfigurationError
from shared.release import WORKFLOWS

# A quarter of what RabbitMQ takes since 4.0 (`max_message_size`,
# https://www.rabbitmq.com/docs/configure).
MAX_BODY_BYTES = 4 * 1_024 * 1_024

Port = Annotated[int, Field(ge=0, le=65535, description="0 picks a free one")]


def _comma_separated(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
Seconds = Annotated[tuple[Annotated[int, Field(gt=0)], ...], BeforeValidator(_comma_separated)]


class Settings(BaseModel):
    """Every setting with its default. In the environment: `HITL_` + the name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amqp_url: SecretStr = Field(SecretStr(""), description="RabbitMQ; unset: a private node")
    database_url: SecretStr = Field(SecretStr(""), description="Postgres; unset: a private cluster")
    home: Path = Field(
        Path(".hitl"),
        description="all that a local stack writes; of a wheel's `hitl`: ~/.local/state/hitl",
    )
    workflows_dir: Path = Field(WORKFLOWS, description="one .toml a workflow")
    models_dir: Path | None = Field(
        None, description="retrained models; unset: `models` in HITL_HOME"
    )
    mlflow_uri: str = Field("", description="MLflow server that gets a copy of every model version")
    workflows: Names = Field((), description="names, comma-separated; unset: all in the folder")
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="lowest level that is logged"
    )

    http_host: str = Field("127.0.0.1", description="address that every service listens on")
    inference_port: Port = Field(9101, description="metrics and health")
    router_port: Port = Field(9102, description="metrics and health")
    review_port: Port = Field(7860, description="review page, API, metrics and health")
    logger_port: Port = Field(9104, description="metrics and health")
    feedback_port: Port = Field(9105, description="metrics and health")

    max_body_bytes: int = Field(
        1_048_576, gt=0, description="larger items are dead-lettered; 4194304 (4 MiB) at most"
    )
    prefetch: int = Field(1_000, gt=0, le=65_535, description="unacked messages: router, intake")
    inference_prefetch: int = Field(64, gt=0, le=65_535, description="unacked messages: inference")
    delivery_limit: int = Field(
        5, gt=0, lt=20, description="deliveries without an ack before it is dead-lettered; < 20"
    )
    retry_delays_seconds: Seconds = Field((5, 30, 300), description="delay before each retry")
    breaker_failures: int = Field(50, gt=0, description="dead letters in a row that pause a worker")
    breaker_pause_seconds: float = Field(30.0, gt=0, description="how long it is paused")
    shutdown_seconds: float = Field(25.0, gt=0, description="from SIGTERM to the end, at most")

    model_threads: int = Field(1, gt=0, description="of torch; more processes beat more threads")
    token_budget: int | None = Field(None, gt=0, description="tokens per batch; unset: by device")
    precision: Literal["exact", "auto", "bf16"] = Field(
        "exact", description="of the scores; auto: bfloat16 if proven; bf16: an error if not proven"
    )
    precision_texts: Path | None = Field(
        None, description="texts like yours, at least 598, one a line or JSON Lines: the proof"
    )
    highlights: bool = Field(True, description="inference marks the words that speak for a label")
    log_batch_rows: int = Field(2_000, gt=0, description="rows per commit of the logger")
    lease_seconds: int = Field(300, gt=0, description="how long a claimed task stays reserved")
    max_held_tasks: int = Field(100, gt=0, description="tasks that one reviewer may hold at once")
    undo_seconds: float = Field(5.0, ge=0, description="delay until a human decision is published")
    webhook_retry_seconds: Seconds = Field(
        (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="delay before each retry of a webhook",
    )
    webhook_timeout_seconds: float = Field(15.0, gt=0, le=30, description="timeout of its answer")
    webhook_private: bool = Field(False, description="webhooks may call private addresses, too")
    keep_sent_days: float = Field(
        30.0, gt=0, le=36_500, description="retention of published events and delivered webhooks"
    )
    session_hours: float = Field(12.0, gt=0, description="lifetime of a login")
    session_secret: SecretStr = Field(SecretStr(""), description="signs the session cookies")
    panel_salt: SecretStr = Field(SecretStr(""), description="secret that draws the audit panel")
    certificate_lease_seconds: float = Field(
        3_600.0, gt=0, description="validity of a certificate while the certifier is silent"
    )

    @field_validator("amqp_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        """Asked here: who reads it later would quote a part of it, maybe of the password."""
        given = url.get_secret_value()
        if given and not is_address(given, ("amqp", "amqps")):
            raise ValueError(f"not an address like amqp://USER:PASSWORD@HOST:PORT/VHOST; {ESCAPES}")
        if "/" in urlsplit(given).path[1:]:
            # Every client takes the part before it for the vhost, and says nothing.
            raise ValueError("its vhost has a / in it: write %2F for each / of the vhost's name")
        return url

    @field_validator("max_body_bytes")
    @classmethod
    def _is_small_enough_for_events(cls, most: int) -> int:
        """An item is read, and written again in each event; no value takes more than 3.8 times its
        bytes (1e15 becomes 1000000000000000.0)."""
        if most > MAX_BODY_BYTES:
            raise ValueError(
                f"at most {MAX_BODY_BYTES}: RabbitMQ 4 takes no message above 16 MiB, and the"
                " events about an item may be four times as large as the item"
            )
        return most

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, url: SecretStr) -> SecretStr:
        given = url.get_secret_value()
        if given and not is_database(given):
            raise ValueError(f"not an address like {DATABASE}; {ESCAPES}")
        return url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`.

        Raises:
            ConfigurationError: names every key that is unknown or has a bad value.
        """
        given: dict[str, str] = {}
        problems: list[str] = []
        for name, value in sorted(environment.items()):
            if not name.startswith("HITL_") and name.removesuffix("_FILE") not in _CUSTOMARY:
                continue
            field = name.removesuffix("_FILE").removeprefix("HITL_").lower()
            if field in _SECRETS and name == f"{key(field)}_FILE":
                try:
                    given[field] = Path(value).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    problems.append(f"{name}: {error}")
            elif field in cls.model_fields and key(field) == name:
                if value.strip():
                    given[field] = value.strip()
            elif name not in AROUND:
                problems.append(f"{name}: no such setting; see docs/operate/configuration.md")
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            for wrong in error.errors(include_url=False, include_input=False):
                field = str(wrong["loc"][0])
                problems.append(f"{key(field)}: {wrong['msg']}")
        if problems:
            raise ConfigurationError("bad settings in the environment:\n  " + "\n  ".join(problems))
        return settings

    @property
    def models(self) -> Path:
        """The folder of retrained models."""
        return self.models_dir or self.home / "models"

    def require(self, *fields: str) -> "Settings":
        """Itself, where every named field is set; else an error that lists those that are not."""
        missing = [key(field) for field in fields if not getattr(self, field).get_secret_value()]
        if missing:
            raise ConfigurationError(
                f"not set: {', '.join(missing)}; `hitl up` sets them, or export them yourself"
            )
        return self


def key(field: str) -> str:
    """What a field is called in the environment."""
    key = field.upper()
    return key if key in _CUSTOMARY else f"HITL_{key}"


_SECRETS = frozenset({"amqp_url", "database_url", "session_secret", "panel_salt"})
_CUSTOMARY = frozenset({"AMQP_URL", "DATABASE_URL"})

AROUND = {
    "HITL_ALERTMANAGER_PORT": "where `docker compose` publishes Alertmanager",
    "HITL_AMQP_PORT": "where `docker compose` publishes RabbitMQ",
    "HITL_DEMO_RATE": "sample items a second that `bin/up` publishes; default 2",
    "HITL_GRAFANA_PORT": "where `docker compose` publishes Grafana",
    "HITL_NO_APT": "1: `bin/setup` installs no system packages and says what is missing",
    "HITL_PROMETHEUS_PORT": "where `docker compose` publishes Prometheus",
    "HITL_RABBITMQ_API_URL": "management API of a broker of your own, for `hitl status`",
    "HITL_RABBITMQ_PORT": "where `docker compose` publishes RabbitMQ's management page",
    "HITL_TEST_DATA": "folder where the tests keep the human-rated texts",
    "HITL_TEST_MLFLOW": "program `mlflow` whose server the tests try, too",
    "HITL_TEST_SERVERS": "Debian suite on whose servers `bin/test` runs: sid, trixie, …",
    "HITL_TORCH_INDEX": "where `bin/setup` finds the CPU build of torch",
}
"""Keys of the launcher, the demo and the tests, and what they are for: not read by the services."""
