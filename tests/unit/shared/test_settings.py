"""Does a start with a bad environment say everything that is wrong with it?"""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from hitl.access.broker_users import TUNABLES
from shared.errors import ConfigurationError
from shared.service.settings import MAX_BODY_BYTES, Settings


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment(environment)
    return [line.strip() for line in str(refused.value).splitlines()[1:]]


def test_an_empty_environment_is_all_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_a_limit_of_ours_comes_before_the_brokers() -> None:
    # Given a limit on deliveries that the broker's own would be faster than, and would set messages
    # aside without a word of ours / I expect it to be refused, and the one below it to be taken.
    tunables = TUNABLES["definition"]
    assert isinstance(tunables, dict)
    limit = tunables["delivery-limit"]
    assert problems(HITL_DELIVERY_LIMIT=str(limit)) == [
        f"HITL_DELIVERY_LIMIT: Input should be less than {limit}"
    ]
    taken = Settings.from_environment({"HITL_DELIVERY_LIMIT": str(limit - 1)})
    assert taken.delivery_limit == limit - 1


def test_values_are_read_under_their_names() -> None:
    settings = Settings.from_environment(
        {
            "AMQP_URL": "amqp://localhost/",
            "DATABASE_URL": "postgresql://localhost/hitl",
            "HITL_PREFETCH": " 7 ",
            "HITL_RETRY_DELAYS_SECONDS": "1, 2,3",
            "HITL_WORKFLOWS": "sentiment,topics",
            "HITL_LOG_LEVEL": "DEBUG",
            "PATH": "/usr/bin",
        }
    )
    assert settings.amqp_url.get_secret_value() == "amqp://localhost/"
    assert settings.prefetch == 7
    assert settings.retry_delays_seconds == (1, 2, 3)
    assert settings.workflows == ("sentiment", "topics")
    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize(
    "address", ["nonsense", "amqp://u:secret/x@h:5672/v", "amqp://u:secret@h:99999/",
                "amqp://u:12#secret@h", "amqp://[h", "http://u:secret@h/v"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_a_word_of_the_password(address: str) -> None:
    # Given addresses whose password has a sign that means something in them, and other nonsense / I
    # expect the key named, and how to write it, and no part of it quoted.
    [line] = problems(AMQP_URL=address)
    assert line.startswith("AMQP_URL: ")
    assert "%2F for /" in line
    assert not re.search("secret|nonsense", line)


@pytest.mark.parametrize("key", ["AMQP_URL", "DATABASE_URL"])
@pytest.mark.parametrize(
    "password",
    ["secr@t", "@secret", "secret@", "12@secret", "sec/ret", "12/secret", "sec#ret", "12#secret",
     "sec?ret", "12?secret", "100%secret", "secret%", "s@e/c#r?t"],
)  # fmt: skip
def test_a_sign_that_divides_an_address_is_refused_in_a_password_and_not_quoted(
    key: str, password: str
) -> None:
    scheme = {"AMQP_URL": "amqp", "DATABASE_URL": "postgresql"}[key]
    [line] = problems(**{key: f"{scheme}://user:{password}@host:5/name"})
    assert line.startswith(f"{key}: ")
    assert "%40 for @" in line
    assert not re.search("secr|ret|12|user|100", line)
    # Written as it should be, it is taken.
    right = f"{scheme}://user:{quote(password, safe='')}@host:5/name"
    assert Settings.from_environment({key: right})


@pytest.mark.parametrize(
    "address",
    ["postgresql:///hitl?host=/run/postgresql", "postgres://u@[::1]:5/x", "postgresql://h",
     "postgresql+psycopg2://u:p%40@h/x?sslmode=verify-full&sslrootcert=/etc/ca.pem"],
)  # fmt: skip
def test_every_form_of_a_database_s_address_is_taken(address: str) -> None:
    given = Settings.from_environment({"DATABASE_URL": address})
    assert given.database_url.get_secret_value() == address


@pytest.mark.parametrize("vhost", ["team/prod", "team/", "/", "/team"])
def test_a_vhost_with_a_slash_in_it_is_refused_with_what_to_write(vhost: str) -> None:
    # Given an address of which every client takes the first part for the vhost
    [line] = problems(AMQP_URL=f"amqp://u:secret@h/{vhost}")
    assert "write %2F for each /" in line
    assert "secret" not in line
    assert Settings.from_environment({"AMQP_URL": f"amqp://u:p@h/{quote(vhost, safe='')}"})


def test_an_item_may_not_be_so_large_that_rabbitmq_refuses_its_events() -> None:
    # Given the most that may be set, I expect it to be taken; of more, to be told why not
    most = MAX_BODY_BYTES
    assert Settings.from_environment({"HITL_MAX_BODY_BYTES": str(most)}).max_body_bytes == most
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({"HITL_MAX_BODY_BYTES": str(most + 1)})
    assert "HITL_MAX_BODY_BYTES: Value error, at most 4194304: RabbitMQ 4 takes" in str(
        refused.value
    )


def test_an_empty_value_is_the_default() -> None:
    # docker compose passes an unset variable on as an empty one
    assert Settings.from_environment({"HITL_PREFETCH": "", "AMQP_URL": " "}) == Settings()


def test_every_bad_key_is_listed_at_once() -> None:
    listed = problems(
        HITL_PREFETCH="many",
        HITL_ROUTER_PORT="70000",
        HITL_PREFETCHES="5",
        HITL_UNDO_SECONDS="nan",
        HITL_RETRY_DELAYS_SECONDS="5,-1",
        HITL_LOG_LEVEL="loud",
        HITL_AMQP_URL="amqp://localhost/",  # keeps its customary name
    )
    assert {line.split(":")[0] for line in listed} == {
        "HITL_PREFETCH",
        "HITL_ROUTER_PORT",
        "HITL_PREFETCHES",
        "HITL_UNDO_SECONDS",
        "HITL_RETRY_DELAYS_SECONDS",
        "HITL_LOG_LEVEL",
        "HITL_AMQP_URL",
    }


def test_a_missing_setting_is_named_as_the_environment_knows_it() -> None:
    with pytest.raises(ConfigurationError, match="not set: DATABASE_URL, HITL_PANEL_SALT"):
        Settings.from_environment({"AMQP_URL": "amqp://x/"}).require(
            "amqp_url", "database_url", "panel_salt"
        )


def test_what_is_set_is_enough() -> None:
    settings = Settings.from_environment({"AMQP_URL": "amqp://x/"})
    assert settings.require("amqp_url") is settings


def test_secrets_are_not_printed() -> None:
    settings = Settings.from_environment(
        {"AMQP_URL": "amqp://user:hunter2@localhost/", "HITL_PANEL_SALT": "hunter2"}
    )
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().__setattr__("prefetch", 5)


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "amqp").write_text("amqp://from-a-file/\n")
    settings = Settings.from_environment({"AMQP_URL_FILE": str(tmp_path / "amqp")})
    assert settings.amqp_url.get_secret_value() == "amqp://from-a-file/"
    listed = problems(HITL_PANEL_SALT_FILE="/no/such/file", HITL_PREFETCH_FILE="/etc/hostname")
    assert [line.split(":")[0] for line in listed] == [
        "HITL_PANEL_SALT_FILE",
        "HITL_PREFETCH_FILE",  # no secret: it has no file
    ]
