"""Do the alerts and the dashboard ask for metrics that exist, and would Prometheus take them?"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from deploy.grafana.source.__main__ import BOARDS, written
from hitl.stack.fleet import SERVICES
from services.feedback.certificate import drift
from shared.service import metrics
from shared.service.settings import Settings
from tests.conftest import RabbitMQ, cannot_run
from tests.support.amqp_client import until

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
ALERTMANAGER = DEPLOY / "prometheus" / "alertmanager.yml"
NIGHTLY = [DEPLOY / "cron" / name for name in ("verify-ledger", "back-up")]
RUNBOOK = DEPLOY.parent / "docs" / "operate" / "runbook.md"
CASES: dict[str, list[dict[str, Any]]] = yaml.load(
    Path(__file__).with_name("alert_cases.yml").read_text(),
    Loader=yaml.BaseLoader,  # noqa: S506  # the safest of all: text only
)
DATASOURCE = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]

OF_A_SCRAPE = {"job", "instance", "le"}
OF_RABBITMQ = {"queue", "vhost", "node"}
OF_POSTGRES = {"datname"}
OF_KUBERNETES = {"cronjob"}
SUFFIXES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


def promtool(*arguments: str | Path) -> str:
    """What promtool says; the test fails when it says no."""
    if shutil.which("promtool") is None:
        cannot_run("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panels() -> list[dict[str, Any]]:
    """Every panel that draws something, of all dashboards."""
    found = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    return [panel for panel in found if panel["type"] != "row"]


def panel_expressions() -> list[str]:
    """Every query of every panel, with Grafana's variable filled in."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    marks = [
        mark["expr"]
        for path in DASHBOARDS
        for mark in json.loads(path.read_text())["annotations"].get("list", [])
    ]
    return sorted({filled_in(query) for query in [*queries, *marks]})


def filled_in(query: str) -> str:
    """The query as Grafana sends it when nothing is chosen."""
    for variable in ("$workflow", "$model_version"):
        query = query.replace(variable, ".*")
    return query.replace("$__rate_interval", "1m")


def all_expressions() -> list[str]:
    return [rule["expr"] for rule in RULES] + panel_expressions()


def own_metrics() -> dict[str, set[str]]:
    """Name as it is scraped → its labels, of every metric in shared/service/metrics.py, and of what
    runs every night."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            described = next(iter(metric.describe()))
            name = described.name + ("_total" if described.type == "counter" else "")
            for suffix in SUFFIXES[described.type]:
                found[name + suffix] = set(metric._labelnames)
    nightly = "".join(script.read_text() for script in NIGHTLY)
    return found | {name: set() for name in re.findall(r"# TYPE (\w+) gauge", nightly)}


def names_in(expression: str, prefix: str) -> set[str]:
    return set(re.findall(rf"\b{prefix}[a-z0-9_]+", re.sub(r'"[^"]*"', '""', expression)))


def test_prometheus_takes_the_configuration_and_the_alerts() -> None:
    promtool("check", "config", CONFIG)
    promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)


def test_alertmanager_takes_its_configuration_and_every_alert_that_it_names_exists() -> None:
    # Given which alerts silence which / I expect that amtool accepts it, and no name of the past.
    if shutil.which("amtool") is None:
        cannot_run("amtool is not installed (Debian: apt-get install prometheus-alertmanager)")
    checked = subprocess.run(
        ["amtool", "check-config", ALERTMANAGER], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    named = re.findall(r'alertname=~?"([\w|]+)"', ALERTMANAGER.read_text())
    assert {name for listed in named for name in listed.split("|")} <= {
        rule["alert"] for rule in RULES
    }


def test_every_service_is_scraped_on_its_own_port() -> None:
    # Given the ports of the services / I expect each scraped by its name, however many there are.
    jobs = {job["job_name"]: job for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"]}
    for service, (key, _) in SERVICES.items():
        (found,) = jobs[service]["dns_sd_configs"]
        port = getattr(Settings(), key.removeprefix("HITL_").lower())
        assert (found["names"], found["type"], found["port"]) == ([service], "A", port)


def test_a_limit_that_the_code_or_another_file_sets_is_the_same_in_the_alerts() -> None:
    # Given what stands in two places because a rule cannot read the other / I expect one value.
    asked = {rule["alert"]: rule["expr"] for rule in RULES}
    assert asked["TooManyErrors"].endswith(f"> {drift.LIMIT / 10:g}")
    assert asked["ScoresDrift"].endswith(f"> {drift.PSI_LIMIT}")
    (source,) = yaml.safe_load(DATASOURCE.read_text())["datasources"]
    scraped = yaml.safe_load(CONFIG.read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_no_alert_repeats_a_setting_or_a_term_of_a_policy() -> None:
    # Given the alerts about what an operator sets / I expect each to ask for what was set.
    asked = {rule["alert"]: rule["expr"] for rule in RULES}
    for alert, setting in (
        ("CertificateEndsSoon", "hitl_certificate_max_age_seconds"),
        ("AuditsWait", "hitl_audit_sla_seconds"),
        ("DisputesWait", "hitl_audit_sla_seconds"),
        ("RouterHearsNothing", "hitl_certificate_lease_seconds"),
        ("PostgresConnectionsNearlyUsedUp", "pg_settings_max_connections"),
        ("RabbitMQDiskFills", "rabbitmq_disk_space_available_limit_bytes"),
        ("RabbitMQMemoryHigh", "rabbitmq_resident_memory_limit_bytes"),
    ):
        assert setting in asked[alert], alert


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    needed = {"runbook_url", "summary", "description"}
    assert rule["annotations"].keys() - {"failure_mode_url"} == needed
    assert rule["for"]


def test_every_alert_has_its_place_in_the_runbook() -> None:
    # Given the headings of the runbook / I expect one for each alert, no other, and each alert to
    # point at its own.
    headings = re.findall(r"^### (\S+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"docs/operate/runbook.md#{anchor}"


def test_an_alert_leads_to_the_failure_mode_that_names_it() -> None:
    # Given the sections of the failure modes, by the anchors that GitHub and the site give them / I
    # expect each alert that some section names to lead to such a section, and no other.
    page = RUNBOOK.with_name("failure-modes.md")
    sections = {
        re.sub(r"[^a-z0-9 -]", "", section.partition("\n")[0].lower()).replace(" ", "-"): section
        for section in re.split(r"^### ", page.read_text(), flags=re.MULTILINE)[1:]
    }
    for rule in RULES:
        naming = {anchor for anchor, text in sections.items() if f"`{rule['alert']}`" in text}
        url = rule["annotations"].get("failure_mode_url", f"docs/operate/{page.name}#")
        path, _, anchor = url.partition("#")
        assert path == f"docs/operate/{page.name}"
        assert anchor in naming or (not anchor and not naming), rule["alert"]


def test_every_alert_that_the_documents_name_exists() -> None:
    # Given the pages that name alerts / I expect none that was renamed or removed since.
    known = {rule["alert"] for rule in RULES}
    for page in (RUNBOOK, RUNBOOK.with_name("failure-modes.md")):
        for listed in re.findall(
            r"\balerts? ((?:`\w+`(?:, | and |, at last )?)+)", page.read_text()
        ):
            assert set(re.findall(r"`(\w+)`", listed)) <= known, f"{page.name}: {listed}"
    inside = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z]\w+)+", RUNBOOK.read_text()))
    assert inside - {"RabbitMQ"} <= known


def test_every_entry_of_the_runbook_says_why_what_first_and_when_it_is_over() -> None:
    for entry in re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        for part in ("**Why.**", "**First.**", "**Over**"):
            assert part in entry, entry.splitlines()[0]


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert CASES.keys() == {rule["alert"] for rule in RULES}
    for alert, cases in CASES.items():
        assert {bool(case["fires"]) for case in cases} == {True, False}, alert


@pytest.mark.parametrize(("unit", "evaluated"), [("m", "1m"), ("h", "10m")])
def test_alerts_fire_when_they_should_and_only_then(
    tmp_path: Path, unit: str, evaluated: str
) -> None:
    # Given the course of some metrics, over minutes or over hours / I expect at that time just
    # these alerts of that name.
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in RULES}
    groups = [
        {
            "name": f"{alert}: {case['case']}",
            "interval": case.get("interval", "1m"),
            "input_series": [
                {"series": name, "values": values} for name, values in case["series"].items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'ALERTS{{alertname="{alert}", alertstate="firing"}}',
                    "eval_time": case["at"],
                    "exp_samples": [
                        {"labels": firing(alert, severity[alert], labels), "value": 1}
                        for labels in case["fires"]
                    ],
                }
            ],
        }
        for alert, cases in CASES.items()
        for case in cases
        if case["at"].endswith(unit)
    ]
    tests = tmp_path / "tests.yml"
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": evaluated, "tests": groups}
    tests.write_text(yaml.safe_dump(content))
    promtool("test", "rules", tests)


def firing(alert: str, severity: str, labels: dict[str, str]) -> str:
    """The series that Prometheus keeps of an alert while it fires."""
    known = {"alertname": alert, "alertstate": "firing", "severity": severity, **labels}
    return f"ALERTS{{{', '.join(f'{name}={json.dumps(value)}' for name, value in known.items())}}}"


TEXT_TEST = r"""
rule_files: [ALERTS]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'rabbitmq_queue_messages_ready{queue="hitl.router"}', values: '0+200x40'}
    alert_rule_test:
      - alertname: QueueGrows
        eval_time: 30m
        exp_alerts:
          - exp_labels: {severity: warning, queue: hitl.router}
            exp_annotations:
              runbook_url: docs/operate/runbook.md#queuegrows
              summary: "hitl.router grows: 6000 messages wait"
              description: More comes in than its consumers take. Start another one of them.
"""


def test_an_alert_names_the_culprit(tmp_path: Path) -> None:
    # Given a queue that grows / I expect its name and its length in what a person reads.
    tests = tmp_path / "tests.yml"
    tests.write_text(TEXT_TEST.replace("ALERTS", json.dumps(str(ALERTS))))
    promtool("test", "rules", tests)


@pytest.mark.parametrize("expression", all_expressions())
def test_every_metric_of_ours_exists_with_its_labels(expression: str) -> None:
    # Given a query / I expect that shared/service/metrics.py declares what it reads, labels
    # included.
    known = own_metrics()
    names = names_in(expression, "hitl_")
    assert names <= known.keys()
    labels = set(re.findall(r"[{,]\s*([a-z_]+)\s*[=!]", expression))
    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= {label.strip() for label in listed.split(",")}
    allowed = set[str]().union(OF_A_SCRAPE, *(known[name] for name in names))
    if names_in(expression, "rabbitmq_"):
        allowed |= OF_RABBITMQ
    if names_in(expression, "pg_"):
        allowed |= OF_POSTGRES
    if names_in(expression, "kube_"):
        allowed |= OF_KUBERNETES
    assert labels <= allowed


def test_every_metric_of_rabbitmq_exists(rabbitmq: RabbitMQ) -> None:
    # Given a running broker / I expect it to show whatever the alerts and the dashboard ask for.
    # Per queue: at least one must be there, else RabbitMQ leaves the whole metric out.
    asked = set[str]().union(
        *(names_in(expression, "rabbitmq_") for expression in all_expressions())
    )
    assert asked
    address = f"http://127.0.0.1:{rabbitmq.server.ports['metrics']}/metrics"

    def shown() -> set[str]:
        page = httpx.get(address, timeout=30).text
        return set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))

    rabbitmq.api.put("/queues/hitl/test-shows-queue-metrics", json={}).raise_for_status()
    try:
        # (a new queue's own come a moment after it)
        until(lambda: asked <= shown(), seconds=15, what=f"all of {sorted(asked)}")
    finally:
        rabbitmq.api.delete("/queues/hitl/test-shows-queue-metrics").raise_for_status()


def test_the_dashboards_are_those_of_the_source() -> None:
    # Given the dashboards as code / I expect the files to be what it writes, and no other file.
    assert {path.stem for path in DASHBOARDS} == BOARDS.keys()
    for path in DASHBOARDS:
        assert path.read_text() == written(BOARDS[path.stem]), (
            f"{path.name} is not what the source says: run `python -m deploy.grafana.source`"
        )


def test_grafana_finds_its_datasource_in_every_panel() -> None:
    # Given the uid of the provisioned datasource / I expect that every query names it.
    (source,) = yaml.safe_load(DATASOURCE.read_text())["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    for panel in panels():
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])


def test_every_panel_explains_itself() -> None:
    # I expect a title, a description and a unit each, ids of their own, and no overlap.
    assert len(panels()) >= 10
    for path in DASHBOARDS:
        drawn = json.loads(path.read_text())["panels"]
        taken: set[tuple[int, int]] = set()
        for panel in drawn:
            assert panel["title"]
            if panel["type"] != "row":
                assert len(panel["description"]) > 20, panel["title"]
                assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
        ids = [panel["id"] for panel in drawn]
        assert len(ids) == len(set(ids))


def test_every_query_of_a_panel_can_be_parsed(tmp_path: Path) -> None:
    # promtool has no check of a lone expression, but reads one as a rule that is recorded.
    rules = [
        {"record": f"panel:query_{number}", "expr": expression}
        for number, expression in enumerate(panel_expressions())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", path)
