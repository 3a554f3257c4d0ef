"""Is the Helm chart valid, and does it agree with the rest of the project?

Real helm renders it for every values file in its ci/ folder; no cluster is asked. Core objects are
checked against Kubernetes' own schemas, the operators' against the keys that are written down here.
"""

import json
import re
import shutil
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from hitl.access.broker_users import STREAMS, TUNABLES, VHOST
from hitl.stack.fleet import SERVICES
from services.router.policy import Policy
from shared.service.settings import Settings, key
from shared.topology import ROUTER_QUEUE, inference_queue, review_queue, topology
from shared.workflows.files import WorkflowFile
from tests.conftest import cannot_run
from tests.support.helm_chart import (
    CHART,
    ROOT,
    SECRETS,
    SETS,
    Object,
    environment,
    of_kind,
    rendered,
    run,
)

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PAGE = ROOT / "docs" / "operate" / "kubernetes.md"
KUBERNETES = "1.35"
SET_BY_THE_CHART = {"HITL_HOME", "HITL_WORKFLOWS_DIR", "HITL_MODELS_DIR", "HITL_HTTP_HOST"} | {
    key for key, _port in SERVICES.values()
}

# A list stands for its only shape of elements, `...` for a value that is checked elsewhere or free.
TRIGGER = {
    "type": "rabbitmq", "metricType": "AverageValue", "authenticationRef": {"name": ...},
    "metadata": {"protocol": "http", "excludeUnacknowledged": "false", "mode": "QueueLength",
                 "queueName": ..., "useRegex": "true", "pageSize": "500", "operation": "sum",
                 "value": ...},
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
    linked = re.findall(r"\[(\w+)\]\(\S+/ci/(\w+)-values\.yaml\)", PAGE.read_text())
    assert sorted(linked) == [(name, name) for name in SETS]


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
    wrong = json.loads(json.dumps(deployment).replace('"failureThreshold"', '"failuresAllowed"'))
    assert wrong != deployment
    with pytest.raises(validator.ValidationError, match="failuresAllowed"):
        validator.validate(wrong, KUBERNETES, strict=True)
    assert complaint({"triggers": [{"type": "kafka"}]}, {"triggers": [TRIGGER]}, "spec")
    assert complaint({"maxReplicas": 3}, {"maxReplicaCount": ...}, "spec")


def test_one_replica_does_not_hold_up_a_drain(sets: dict[str, list[Object]]) -> None:
    budgets = of_kind(sets["small"], "PodDisruptionBudget")
    assert budgets.keys() == SERVICES.keys()
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())
    assert not of_kind(sets["minimal"], "PodDisruptionBudget")


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


def test_the_alerts_and_the_jobs_names_are_those_of_compose(
    sets: dict[str, list[Object]], tmp_path: Path
) -> None:
    # Given the file that compose mounts / I expect the same rules, not a copy that grows old.
    objects = sets["production"]
    assert (CHART / "files" / "alerts.yml").resolve() == ALERTS
    groups = of_kind(objects, "PrometheusRule")["monitoring"]["spec"]["groups"]
    *same, own = groups
    assert same == yaml.safe_load(ALERTS.read_text())["groups"]
    page = PAGE.read_text()
    for rule in own["rules"]:
        assert f"### {rule['alert']}\n" in page
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"docs/operate/kubernetes.md#{anchor}"
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


def test_a_check_of_the_ledger_that_never_succeeded_is_missed_too(
    sets: dict[str, list[Object]], tmp_path: Path
) -> None:
    # Given a job that was made and has succeeded never, or last night / I expect the alert after
    # two days in the first case only.
    promtool = shutil.which("promtool")
    if promtool is None:
        cannot_run("promtool is not installed")
    *_, own = of_kind(sets["production"], "PrometheusRule")["monitoring"]["spec"]["groups"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [own]}))
    of_the_job = '{namespace="review", cronjob="hitl-audit"}'
    never = {"series": f"kube_cronjob_created{of_the_job}", "values": "0x800"}
    last = f"kube_cronjob_status_last_successful_time{of_the_job}"
    query = 'ALERTS{alertname="LedgerCheckMissing", alertstate="firing"}'
    fires = {"labels": query.replace("{", '{severity="warning", '), "value": 1}
    cases = [([never], [fires]), ([never, {"series": last, "values": "170000x800"}], [])]
    tests = [
        {
            "interval": "4m",
            "input_series": series,
            "promql_expr_test": [{"expr": query, "eval_time": "50h", "exp_samples": expected}],
        }
        for series, expected in cases
    ]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    told = run(promtool, "test", "rules", file)
    assert told.returncode == 0, told.stdout + told.stderr


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
    values = yaml.safe_load((CHART / "ci" / "production-values.yaml").read_text())
    fixed = of_kind(objects, "Deployment")["logger"]["spec"]["replicas"]
    assert fixed == values["services"]["logger"]["replicas"]


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
        ("keda.enabled=true,services.router.autoscaling.minReplicas=9", "below minReplicas"),
    ],
)
def test_a_wrong_value_is_refused(helm: str, given: str, named: str) -> None:
    refused = run(helm, "template", "hitl", CHART, "--set", given)
    assert refused.returncode != 0
    assert named in refused.stderr


def test_every_setting_can_be_given() -> None:
    # Given the keys of docs/operate/configuration.md / I expect all in the schema but those that
    # the chart sets.
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = set(schema["$defs"]["settings"]["propertyNames"]["anyOf"][1]["enum"])
    assert given == {key(field) for field in Settings.model_fields} - SECRETS - SET_BY_THE_CHART


def test_names_stay_short_in_a_release_with_a_long_one(helm: str) -> None:
    # Given the longest name that helm accepts / I expect each once, and at most the 52 of a
    # CronJob.
    values = CHART / "ci" / "production-values.yaml"
    objects = rendered(helm, "-f", values, release="a" * 53)
    names = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert all(len(name) <= 52 for _, name in names)
    assert len(set(names)) == len(names)


def test_the_examples_say_what_compose_does() -> None:
    # Given the operators' examples in the document / I expect broker and database set up as in
    # compose.
    text = PAGE.read_text()
    [block] = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    found = [(one["kind"], one["spec"]) for one in yaml.safe_load_all(block)]
    examples = dict(found)
    policies = {spec["name"]: spec for kind, spec in found if kind == "Policy"}
    assert policies.keys() == {TUNABLES["name"], STREAMS["name"]}
    for ours in (TUNABLES, STREAMS):
        shown = policies[str(ours["name"])]
        assert shown["vhost"] == VHOST
        assert (shown["pattern"], shown["applyTo"]) == (ours["pattern"], ours["apply-to"])
        assert shown["definition"] == ours["definition"]
    assert examples["Vhost"]["name"] == VHOST
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert examples["RabbitmqCluster"]["image"] == compose["rabbitmq"]["image"]
    for name, value in examples["Cluster"]["postgresql"]["parameters"].items():
        assert f"{name}={value}" in compose["postgres"]["command"]
