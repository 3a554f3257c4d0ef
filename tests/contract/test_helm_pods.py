"""Do the chart's pods run what `bin/up` runs, with what they need and nothing else?"""

import re

import pytest
import yaml
from typer.main import get_command

import hitl.commands.audit
import hitl.commands.prepare
import hitl.commands.retrain
from hitl.stack.fleet import SERVICES
from shared.service.settings import AROUND, Settings, key
from tests.support.helm_chart import (
    CHART,
    SECRETS,
    SETS,
    Object,
    environment,
    of_kind,
    pods,
    rendered,
)

OF_UVICORN = {"FORWARDED_ALLOW_IPS"}


@pytest.mark.parametrize("name", SETS)
def test_the_same_services_run_as_by_bin_up(sets: dict[str, list[Object]], name: str) -> None:
    # Given the services that bin/up starts / I expect each on the port of the settings, asked there
    # whether it lives and is ready, with more time to end than it takes.
    deployments, services = (of_kind(sets[name], kind) for kind in ("Deployment", "Service"))
    assert services.keys() == SERVICES.keys() == deployments.keys() - {"toolbox"}
    for service, (variable, _port) in SERVICES.items():
        pod = deployments[service]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        port = getattr(Settings(), variable.removeprefix("HITL_").lower())
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        assert services[service]["spec"]["ports"][0]["port"] == port
        for probe, path in (
            ("startup", "healthz"),
            ("liveness", "healthz"),
            ("readiness", "readyz"),
        ):
            assert container[f"{probe}Probe"]["httpGet"] == {"path": f"/{path}", "port": "http"}
        settings = Settings.from_environment(environment(pod))
        assert getattr(settings, variable.removeprefix("HITL_").lower()) == port
        assert settings.http_host == "0.0.0.0"  # noqa: S104  # in a pod of its own
        assert pod["terminationGracePeriodSeconds"] >= settings.shutdown_seconds + 15
        assert container["image"].rpartition("/")[2].startswith(f"{service}:")
        assert pod["topologySpreadConstraints"]


@pytest.mark.parametrize("name", SETS)
def test_every_variable_is_a_setting(sets: dict[str, list[Object]], name: str) -> None:
    # Given the environment of each pod / I expect that the settings accept it, and none beside it:
    # with service links, a Service `hitl-router` would set HITL_ROUTER_PORT to an address.
    known = {key(field) for field in Settings.model_fields} | AROUND.keys()
    for component, template in pods(sets[name]):
        pod = template["spec"]
        found = environment(pod)
        assert found.keys() <= known | OF_UVICORN, component
        Settings.from_environment(found)
        assert pod["enableServiceLinks"] is False, component


@pytest.mark.parametrize("name", SETS)
def test_a_pod_sees_only_the_secrets_that_it_needs(
    sets: dict[str, list[Object]], name: str
) -> None:
    seen = {
        component: environment(template["spec"]).keys() & SECRETS
        for component, template in pods(sets[name])
    }
    needs_both = {"AMQP_URL", "DATABASE_URL"}
    expected = {
        "inference": {"AMQP_URL"}, "router": {"AMQP_URL", "HITL_PANEL_SALT"},
        "review_ui": needs_both | {"HITL_SESSION_SECRET"},
        "logger": needs_both, "feedback": needs_both,
        "migrate": needs_both | {"HITL_RABBITMQ_API_URL"},
        "toolbox": needs_both | {"HITL_RABBITMQ_API_URL"},
        "audit": {"DATABASE_URL"}, "retrain": {"DATABASE_URL"},
    }  # fmt: skip
    assert seen == {component: expected[component] for component in seen}
    for _component, template in pods(sets[name]):
        for variable in template["spec"]["containers"][0]["env"]:
            assert ("valueFrom" in variable) == (variable["name"] in SECRETS)


def test_every_program_logs_in_as_a_user_of_its_own(sets: dict[str, list[Object]]) -> None:
    # Given the values as they are / I expect no two programs to take an address from one secret,
    # but for the migration and the toolbox, which are the owner's
    shared: dict[tuple[str, str, str], set[str]] = {}
    for component, template in pods(sets["small"]):
        for variable in template["spec"]["containers"][0]["env"]:
            if variable["name"] in {"AMQP_URL", "DATABASE_URL"}:
                secret = variable["valueFrom"]["secretKeyRef"]
                place = (variable["name"], secret["name"], secret["key"])
                shared.setdefault(place, set()).add(component)
    owners = [programs for programs in shared.values() if len(programs) > 1]
    assert owners == [{"migrate", "toolbox"}] * 2


def test_without_the_brokers_api_everything_starts_all_the_same(
    sets: dict[str, list[Object]],
) -> None:
    # Given an operator's secret, which has no address of the management API / I expect that this
    # one alone may be missing.
    for _component, template in pods(sets["production"]):
        for variable in template["spec"]["containers"][0]["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
            missing = variable["name"] == "HITL_RABBITMQ_API_URL"
            assert reference.get("optional", False) == missing, variable["name"]


def test_passwords_of_roles_and_the_authority_are_mounted_where_they_are_wanted(
    sets: dict[str, list[Object]],
) -> None:
    # Given values that name both / I expect every pod to find the authority, and the migration
    # alone the passwords, which it is told to make the roles with
    for component, template in pods(sets["production"]):
        container = template["spec"]["containers"][0]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted["authority"] == "/etc/hitl/ca"
        assert ("roles" in mounted) == (component == "migrate")
        if component == "migrate":
            assert container["args"][-2:] == ["--roles", mounted["roles"]]


@pytest.mark.parametrize("name", SETS)
def test_pods_can_do_little(sets: dict[str, list[Object]], name: str) -> None:
    # Given any pod / I expect no root, no rights, no token of the API, limited memory, and nothing
    # writable but /tmp, the cache of models and, for who trains, the models.
    for component, template in pods(sets[name]):
        pod = template["spec"]
        [container] = pod["containers"]
        assert pod["automountServiceAccountToken"] is False, component
        assert pod["securityContext"]["runAsNonRoot"] is True, component
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"], component
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, component
        mounts = container["volumeMounts"]
        writable = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
        models = {"/var/lib/hitl/models"} if component in {"retrain", "toolbox"} else set()
        cache = {"/var/cache/hitl"} if component == "inference" else models and {"/var/cache/hitl"}
        assert {"/tmp"} <= writable <= {"/tmp"} | models | cache, component  # noqa: S108
        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod["volumes"]}


def test_who_has_an_address_may_reach_it_and_nobody_else(sets: dict[str, list[Object]]) -> None:
    # Given the network policies / I expect that a pod may reach the broker or the database exactly
    # where it is given the address, and that Prometheus may reach the services.
    objects = sets["production"]
    policies = {p["metadata"]["name"]: p["spec"] for p in objects if p["kind"] == "NetworkPolicy"}
    deny = policies["hitl-deny"]
    assert deny.keys() == {"podSelector", "policyTypes"}
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    for _component, template in pods(objects):
        assert deny["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    for server, variable in (
        ("broker", "AMQP_URL"),
        ("broker-api", "HITL_RABBITMQ_API_URL"),
        ("database", "DATABASE_URL"),
    ):
        [chosen] = policies[f"hitl-{server}"]["podSelector"]["matchExpressions"]
        given = {c for c, template in pods(objects) if variable in environment(template["spec"])}
        assert set(chosen["values"]) == given
    [chosen] = policies["hitl-metrics"]["podSelector"]["matchExpressions"]
    assert set(chosen["values"]) == SERVICES.keys()
    assert policies["hitl-page"]["podSelector"]["matchLabels"].items() >= {
        ("app.kubernetes.io/component", "review_ui")
    }


def test_trainer_and_workers_share_the_models(sets: dict[str, list[Object]]) -> None:
    objects = sets["production"]
    claim = of_kind(objects, "PersistentVolumeClaim")["models"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    where = {}
    for component, template in pods(objects):
        [container] = template["spec"]["containers"]
        for volume in template["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
                [mount] = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
                assert environment(template["spec"])["HITL_MODELS_DIR"] == mount["mountPath"]
                where[component] = bool(mount.get("readOnly"))
    assert where == {"inference": True, "retrain": False, "toolbox": False}


def arguments(objects: list[Object], kind: str, component: str) -> list[str]:
    """What the command line is called with."""
    found = of_kind(objects, kind)[component]
    [(_, template)] = pods([found])
    [container] = template["spec"]["containers"]
    said: list[str] = container["args"]
    return said


def test_the_jobs_run_commands_that_exist(sets: dict[str, list[Object]]) -> None:
    objects = sets["production"]
    for command, app, said in (
        ("prepare", hitl.commands.prepare.app, arguments(objects, "Job", "migrate")),
        ("retrain", hitl.commands.retrain.app, arguments(objects, "CronJob", "retrain")),
        ("audit", hitl.commands.audit.app, arguments(objects, "CronJob", "audit")),
    ):
        assert said[0] == command
        known = get_command(app)
        if command == "audit":
            assert said[1:] == ["verify"]
            assert "verify" in getattr(known, "commands", {})
        options = {name for each in known.params for name in getattr(each, "opts", [])}
        assert {word for word in said if word.startswith("--")} <= options
    usual, here = (
        yaml.safe_load((CHART / file).read_text())["retrain"]
        for file in ("values.yaml", "ci/production-values.yaml")
    )
    retrainings = [o for o in objects if "-retrain-" in o["metadata"]["name"]]
    assert [o["metadata"]["name"] for o in retrainings] == [
        f"hitl-retrain-{workflow}" for workflow in here["workflows"]
    ]
    for job in retrainings:
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["schedule"] == usual["schedule"]


def test_the_tables_are_there_before_the_services(sets: dict[str, list[Object]]) -> None:
    # Given that helm makes the release's own objects after its hooks / I expect the migration to be
    # a hook, with a copy of the workflows of its own, made before it.
    objects = sets["production"]
    job = of_kind(objects, "Job")["migrate"]
    volumes = job["spec"]["template"]["spec"]["volumes"]
    [copied] = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    maps = {o["metadata"]["name"]: o for o in objects if o["kind"] == "ConfigMap"}
    hooks = [each["metadata"]["annotations"] for each in (maps[copied], job)]
    assert all(hook["helm.sh/hook"] == "pre-install,pre-upgrade" for hook in hooks)
    assert int(hooks[0]["helm.sh/hook-weight"]) < int(hooks[1]["helm.sh/hook-weight"])
    assert maps[copied]["data"] == maps["hitl-workflows"]["data"]


def test_no_two_workflows_share_a_retraining(helm: str) -> None:
    # Given workflows whose names Kubernetes cannot take as they are, or only in part
    names = ["a_b", "a-b", "l" * 60, "l" * 59 + "m", "sentiment"]
    wanted = ("--set", f"retrain.workflows={{{','.join(names)}}}")
    objects = rendered(helm, "--values", CHART / "ci" / "production-values.yaml", *wanted)
    # I expect a job for each, with a name that Kubernetes takes
    found = {}
    for job in (o for o in objects if "-retrain-" in o["metadata"]["name"]):
        [(_, template)] = pods([job])
        found[job["metadata"]["name"]] = template["spec"]["containers"][0]["args"][-1]
    assert sorted(found.values()) == sorted(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name) for name in found)
