"""Can people keep up, and do they agree with the machine?"""

from deploy.grafana.source.board import BAD, WARN, Board, Query, Row, Shown
from deploy.grafana.source.marks import MARKS, OF, WORKFLOW

_RATE = "[$__rate_interval]"
_OPEN = f'max by (workflow) (hitl_review_tasks{{status="open", {OF}}})'
_LABELLED = "accept|correct|label"  # label: decided blind, which says neither
_DONE = f'sum by (workflow) (increase(hitl_reviews_total{{action=~"{_LABELLED}", {OF}}}[1h]))'
_SEEN = f'sum by (workflow) (increase(hitl_reviews_total{{action=~"accept|correct", {OF}}}[1h]))'
_KEPT = f'sum by (workflow) (increase(hitl_reviews_total{{action="accept", {OF}}}[1h]))'
_FOR_LEADS = f"hitl_review_tasks_for_leads{{{OF}}}"

BOARD = Board(
    uid="hitl-review",
    title="Human review",
    description="What waits for people, how fast they are, and whether they agree with the AI.",
    variables=(WORKFLOW,),
    marks=MARKS,
    rows=(
        Row(
            "Now",
            (
                Shown(
                    "Tasks that wait",
                    "Open review tasks, those in somebody's hands included; as on the dashboard "
                    "page of the review service.",
                    (Query(f"sum({_OPEN})", "open"),),
                    kind="stat", width=4, height=5,
                ),
                Shown(
                    "Hours to drain",
                    "Open tasks over the decisions of the last hour: when they would be done if "
                    "nothing more came. Infinite while nobody decides.",
                    (Query(f"sum({_OPEN}) / sum({_DONE})", "hours"),),
                    unit="h", kind="stat", width=4, height=5, limits=((8, WARN), (24, BAD)),
                ),
                Shown(
                    "Decisions, last hour",
                    "Labels given by people in the last hour.",
                    (Query(f"sum({_DONE})", "decisions"),),
                    kind="stat", width=4, height=5,
                ),
                Shown(
                    "Tasks that will be late",
                    "Open tasks that cannot be done in time at the pace of the last hour.",
                    (Query(f"sum(max by (workflow) (hitl_review_tasks_late{{{OF}}}))", "late"),),
                    kind="stat", width=4, height=5, limits=((1, BAD),), empty="none is due",
                ),
                Shown(
                    "Wait for a lead",
                    "Tasks that people disagree about or flagged.",
                    (Query(f"sum(max by (workflow) ({_FOR_LEADS}))", "wait"),),
                    kind="stat", width=4, height=5, limits=((1, WARN), (20, BAD)),
                ),
                Shown(
                    "Kept the AI's label",
                    "Share of the decisions of the last hour that agree with the AI, where its "
                    "label was shown.",
                    (Query(f"sum({_KEPT}) / sum({_SEEN})", "kept"),),
                    unit="percentunit", kind="stat", width=4, height=5, most=1,
                ),
            ),
        ),
        Row(
            "Work",
            (
                Shown(
                    "Tasks by status",
                    "Open, decided, and flagged for a lead.",
                    (
                        Query(
                            "sum by (status) (max by (workflow, status)"
                            f' (hitl_review_tasks{{status!="decided", {OF}}}))',
                            "{{status}}",
                        ),
                    ),
                ),
                Shown(
                    "Arrivals and decisions",
                    "A minute: items sent to people, and labels given by them. Where the first "
                    "stays above the second, the backlog grows.",
                    (
                        Query(
                            "sum(rate(hitl_routes_total"
                            f'{{route="review", {OF}}}{_RATE})) * 60',
                            "arrive",
                        ),
                        Query(
                            f'sum(rate(hitl_reviews_total{{action=~"{_LABELLED}", {OF}}}{_RATE}))'
                            " * 60",
                            "decided",
                        ),
                    ),
                ),
                Shown(
                    "What reviewers do",
                    "Decisions a minute: accepted, corrected, labelled blind, skipped, flagged.",
                    (
                        Query(
                            "sum by (action)"
                            f" (rate(hitl_reviews_total{{{OF}}}{_RATE})) * 60",
                            "{{action}}",
                        ),
                    ),
                    stacked=True,
                ),
                Shown(
                    "Time for a decision",
                    "Work on an item until its decision, idle time apart: the median and the "
                    "slowest twentieth.",
                    tuple(
                        Query(
                            f"histogram_quantile({share}, sum by (le)"
                            f" (rate(hitl_review_duration_seconds_bucket{_RATE})))",
                            name,
                        )
                        for share, name in ((0.5, "median"), (0.95, "slowest 5 %"))
                    ),
                    unit="s",
                ),
                Shown(
                    "Age of decided items",
                    "How old an item is when its decision by a person is on record.",
                    tuple(
                        Query(
                            f"histogram_quantile({share}, sum by (le) (rate("
                            f'hitl_item_age_seconds_bucket{{stage="reviewed"}}{_RATE})))',
                            name,
                        )
                        for share, name in ((0.5, "median"), (0.95, "slowest 5 %"))
                    ),
                    unit="s",
                ),
                Shown(
                    "Backlog forecast",
                    "Open tasks now, and in four hours if the last hour went on.",
                    (
                        Query(f"sum({_OPEN})", "now"),
                        Query(
                            "sum(clamp_min(predict_linear("
                            f'hitl_review_tasks{{status="open", {OF}}}[1h], 4 * 3600), 0))',
                            "in four hours",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Agreement",
            (
                Shown(
                    "Kept the AI's label",
                    "By workflow, over the last hour, where it was shown. A fall is a sign of "
                    "drift, or of a new guideline.",
                    (Query(f"{_KEPT} / {_SEEN}", "{{workflow}}"),),
                    unit="percentunit", most=1, width=12,
                ),
                Shown(
                    "Why items come to people",
                    "Items sent to review a minute, by the reason that decided.",
                    (
                        Query(
                            "sum by (reason) (rate(hitl_routes_total"
                            f'{{route="review", {OF}}}{_RATE})) * 60',
                            "{{reason}}",
                        ),
                    ),
                    stacked=True, width=12,
                ),
            ),
        ),
    ),
)  # fmt: skip
