"""What does the environment say?

Read once, at each program's start; frozen; a start with bad keys lists every one of them.
`AMQP_URL` and `DATABASE_URL` keep their customary names, everything else is `HITL_*`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from shared.errors import ConfigurationError

Port = Annotated[int, Field(ge=0, le=65535, description="0 picks a free one")]


def _comma_separated(value: object) -> object:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
Seconds = Annotated[tuple[Annotated[int, Field(gt=0)], ...], BeforeValidator(_comma_separated)]


class Settings(BaseModel):
    """Every setting with its default. In the environment: `HITL_` + the name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amqp_url: SecretStr = SecretStr("")
    database_url: SecretStr = SecretStr("")
    home: Path = Path(".hitl")
    workflows_dir: Path = Path(__file__).parent.parent / "deploy" / "workflows"
    workflows: Names = Field(default=(), description="names to serve; empty: all in workflows_dir")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    http_host: str = "127.0.0.1"
    inference_port: Port = 9101
    router_port: Port = 9102
    review_port: Port = 7860
    logger_port: Port = 9104
    feedback_port: Port = 9105

    max_body_bytes: int = Field(default=1_048_576, gt=0)
    prefetch: int = Field(default=1_000, gt=0, le=65_535, description="router, logger, intake")
    inference_prefetch: int = Field(default=64, gt=0, le=65_535)
    delivery_limit: int = Field(default=5, gt=0, description="deliveries before a dead letter")
    retry_delays_seconds: Seconds = Field(default=(5, 30, 300))
    breaker_failures: int = Field(
        default=50, gt=0, description="dead letters in a row before consuming stops"
    )
    breaker_pause_seconds: float = Field(default=30.0, gt=0)
    shutdown_seconds: float = Field(default=25.0, gt=0)

    model_threads: int = Field(default=1, gt=0)
    token_budget: int | None = Field(
        default=None, gt=0, description="tokens a batch; unset: by device"
    )
    log_batch_rows: int = Field(default=2_000, gt=0)
    lease_seconds: int = Field(default=300, gt=0)
    undo_seconds: float = Field(default=5.0, ge=0, description="a decision is published after this")
    session_secret: SecretStr = SecretStr("")
    panel_salt: SecretStr = SecretStr("")
    session_hours: float = Field(default=12.0, gt=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`.

        Raises:
            ConfigurationError: names every key that is unknown or has a bad value.
        """
        given: dict[str, str] = {}
        problems: list[str] = []
        for key, value in sorted(environment.items()):
            if key not in _CUSTOMARY and not key.startswith("HITL_"):
                continue
            field = key.removeprefix("HITL_").lower()
            if field in cls.model_fields and _key(field) == key:
                if value.strip():
                    given[field] = value.strip()
            elif field not in _READ_ELSEWHERE:
                problems.append(f"{key}: no such setting; see docs/configuration.md")
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            for wrong in error.errors(include_url=False, include_input=False):
                field = str(wrong["loc"][0])
                problems.append(f"{_key(field)}: {wrong['msg']}")
        if problems:
            raise ConfigurationError("bad settings in the environment:\n  " + "\n  ".join(problems))
        return settings

    def require(self, *fields: str) -> "Settings":
        """Itself, where every named field is set; else an error that lists those that are not."""
        missing = [_key(field) for field in fields if not getattr(self, field).get_secret_value()]
        if missing:
            raise ConfigurationError(
                f"not set: {', '.join(missing)}; `bin/up` sets them, or export them yourself"
            )
        return self


def _key(field: str) -> str:
    """What a field is called in the environment."""
    key = field.upper()
    return key if key in _CUSTOMARY else f"HITL_{key}"


_CUSTOMARY = frozenset({"AMQP_URL", "DATABASE_URL"})

# Keys of the launcher, the demo, the tests and the tools around the services.
_READ_ELSEWHERE = frozenset(
    {"test_data", "torch_index", "demo_rate", "rabbitmq_api_url", "supervised", "no_apt"}
)
