"""What does the database say of one item, of who waits and who worked? As a role that sees no text.

The other dashboards ask Prometheus how much and how fast; this one answers "what became of it?".
grafana-foundation-sdk has no builder for queries to Postgres: `Sql` is what Grafana stores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model

DATASOURCE = model.DataSourceRef(type_val="grafana-postgresql-datasource", uid="hitl-postgres")
HALF = 12


@dataclass(frozen=True)
class Sql(Dataquery, Builder[Dataquery]):
    """A statement whose rows are shown as they come."""

    statement: str

    def build(self) -> "Sql":
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": DATASOURCE,
            "editorMode": "code",
            "format": "table",
            "rawQuery": True,
            "rawSql": " ".join(self.statement.split()),
        }


@dataclass(frozen=True)
class Table:
    """A panel: its heading, what it is for, its rows, its width."""

    title: str
    description: str
    statement: str
    width: int = HALF


TABLES: Sequence[Table] = (
    Table(
        "The item",
        "Write an item's id into the field above: where it is, who or what decided, by which model "
        "and policy. The text is on the review page, for those who may read it.",
        "SELECT * FROM report.item WHERE id = ${item:sqlstring}",
        width=2 * HALF,
    ),
    Table(
        "What people did with it",
        "Every decision about this item, the late ones and those taken back too.",
        """SELECT workflow, decided_at, reviewer, action, label, round, effective, undone_at
           FROM report.review_decision WHERE item_id = ${item:sqlstring} ORDER BY id""",
        width=2 * HALF,
    ),
    Table(
        "Waiting longest",
        "The open tasks that came first, of all workflows.",
        """SELECT workflow, item_id, queue, round, priority, created_at, due_at, leased_by
           FROM report.review_task WHERE status = 'open' ORDER BY created_at LIMIT 50""",
    ),
    Table(
        "Who decided how much",
        "In the chosen time: answers that each gave and did not take back, and how many were not "
        "the AI's, whatever a second review made of them. No ranking of people: the work differs.",
        """SELECT reviewer, workflow, count(*) AS answers_given,
                  count(*) FILTER (WHERE action = 'correct') AS unlike_the_ai,
                  max(decided_at) AS last
           FROM report.review_decision
           WHERE $__timeFilter(decided_at) AND effective AND undone_at IS NULL
             AND action IN ('accept', 'correct')
           GROUP BY reviewer, workflow ORDER BY reviewer, workflow""",
    ),
    Table(
        "Failed items",
        "In the chosen time: what could not be read or scored, and why. `hitl dlq` puts it back.",
        """SELECT status_at, workflow, id, failure, trace_id FROM report.item
           WHERE status = 'FAILED' AND $__timeFilter(status_at) ORDER BY status_at DESC LIMIT 50""",
    ),
    Table(
        "Certificates",
        "The newest: from which score on the machine may decide alone, and how sure that is.",
        """SELECT issued_at, workflow, model_version, threshold, upper_bound, alpha, delta, labels,
                  errors
           FROM report.certificate ORDER BY issued_at DESC LIMIT 20""",
    ),
    Table(
        "Ledger",
        "The newest blocks: write down a height and its hash where nobody here can change it.",
        """SELECT height, block_hash, count, created_at
           FROM report.ledger_block ORDER BY height DESC LIMIT 20""",
        width=2 * HALF,
    ),
)


def made() -> model.Dashboard:
    """The dashboard as Grafana reads it."""
    builder = (
        build.Dashboard("Records")
        .uid("hitl-records")
        .description("Single items, tasks and decisions, out of the database; no texts.")
        .tags(["hitl"])
        .readonly()
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .with_variable(build.TextBoxVariable("item").label("Item").default_value(""))
    )
    x, y = 0, 0
    for number, shown in enumerate(TABLES, start=1):
        panel = table.Panel().title(shown.title).description(shown.description)
        panel.datasource(DATASOURCE).show_header(True).no_value("nothing").with_target(
            Sql(shown.statement)
        )
        at = model.GridPos(h=8, w=shown.width, x=x, y=y)
        builder.with_panel(panel.id(number).grid_pos(at))
        x = (x + shown.width) % (2 * HALF)
        y += 8 if x == 0 else 0
    return builder.build()
