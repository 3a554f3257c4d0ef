"""Can somebody follow docs/operate/kubernetes.md line by line? Its commands, run by a shell:
kubectl's stand-in notes what it is asked for, and helm renders instead of installing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hitl.access.broker_users import USERS
from hitl.access.database_roles import RIGHTS
from hitl.stack.fleet import SERVICES
from tests.support.helm_chart import CHART, ROOT, Object, of_kind, pods

PAGE = ROOT / "docs" / "operate" / "kubernetes.md"
KUBECTL = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done >> "$SAID"
echo --- >> "$SAID"
"""
# `upgrade` keeps what was set before, as --reset-then-reuse-values does.
HELM = """#!/bin/bash
set -e
shift
line=()
for word; do [[ $word == --wait || $word == --reset-then-reuse-values ]] || line+=("$word"); done
name=${line[0]} chart=${line[1]}
printf '%s\\n' "${line[@]:2}" >> "$SET"
mapfile -t all < "$SET"
"$REAL" template "$name" "$chart" "${all[@]}" > "$SET.$(ls "$SET".* 2>/dev/null | wc -l)"
"""

Secrets = dict[str, dict[str, str]]


def objects(file: Path) -> list[Object]:
    return [found for found in yaml.safe_load_all(file.read_text()) if found]


@pytest.fixture(scope="module")
def followed(helm: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Secrets, list[Path]]:
    """The secrets that were made, and what each helm command rendered."""
    folder = tmp_path_factory.mktemp("page")
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("kubectl", KUBECTL), ("helm", HELM)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    here = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{here}:{os.environ['PATH']}",
        "HOME": str(folder), "SAID": str(folder / "said"), "SET": str(folder / "set"), "REAL": helm,
    }  # fmt: skip
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return made((folder / "said").read_text()), sorted(folder.glob("set.*"))


def made(said: str) -> Secrets:
    """By name, what is in each secret; no name twice."""
    found: Secrets = {}
    for command in said.split("\n---\n"):
        match command.split("\n"):
            case ["-n", "review", "create", "secret", "generic", name, *options]:
                assert name not in found, f"{name} is there already"
                found[name] = {}
                for option in options:
                    source, _, rest = option.partition("=")
                    key, _, value = rest.partition("=")
                    if source == "--from-file":
                        found[name] |= {file.name: file.read_text() for file in Path(key).iterdir()}
                    else:
                        assert source == "--from-literal"
                        found[name][key] = value
    return found


def wanted(rendered: list[Object]) -> set[tuple[str, str]]:
    """Name and key of every secret that a pod cannot start without."""
    found = set()
    for _component, template in pods(rendered):
        for variable in template["spec"]["containers"][0]["env"]:
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                found.add((reference["name"], reference["key"]))
        for volume in template["spec"]["volumes"]:
            if secret := volume.get("secret"):
                keys = [item["key"] for item in secret.get("items", [])] or list(RIGHTS)
                found |= {(secret["secretName"], key) for key in keys}
    return found


def test_every_secret_that_a_pod_needs_is_made_before_the_release(
    followed: tuple[Secrets, list[Path]],
) -> None:
    # Given who follows the page / I expect each secret once, with every key that is asked for, the
    # trainer's and KEDA's among them,
    secrets, (installed, *_) = followed
    there = {(name, key) for name, keys in secrets.items() for key in keys}
    rendered = objects(installed)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    more = (values["retrain"]["secrets"]["database"], values["keda"]["brokerApi"])
    assert wanted(rendered) | {(each["name"], each["key"]) for each in more} == there
    # and that the migration makes a role for each address of the database that is given away, with
    # the password in it.
    for name, keys in secrets.items():
        for key, value in keys.items():
            address = re.fullmatch(r"postgresql://(\w+):(\w+)@\S+/hitl", value)
            if address and name != "hitl-database":
                assert secrets["hitl-roles"][address[1]].strip() == address[2]
            address = re.fullmatch(r"(?:amqp|http)://(\w+):(\w+)@\S+/hitl", value)
            assert address is None or address[1] in USERS, f"{name}: {key}"
    assert secrets["hitl-roles"].keys() == RIGHTS.keys()
    container = of_kind(rendered, "Job")["migrate"]["spec"]["template"]["spec"]["containers"][0]
    assert "--roles" in container["args"]


def test_an_upgrade_takes_readers_first_and_writers_then(
    followed: tuple[Secrets, list[Path]],
) -> None:
    # Given the two upgrades of the page / I expect the router and inference to stay in the first
    # one, and all to be new after the second, in the image and in the label that says so.
    _, (_, first, second) = followed
    new, old = "0.2.0", "0.1.0"
    stay = {"router", "inference"}
    for file, expected in (
        (first, {name: old if name in stay else new for name in SERVICES} | {"migrate": new}),
        (second, dict.fromkeys([*SERVICES, "migrate"], new)),
    ):
        found = {
            component: (
                template["spec"]["containers"][0]["image"].rpartition(":")[2],
                template["metadata"]["labels"]["app.kubernetes.io/version"],
            )
            for component, template in pods(objects(file))
            if component in expected
        }
        assert found == {name: (tag, tag) for name, tag in expected.items()}
