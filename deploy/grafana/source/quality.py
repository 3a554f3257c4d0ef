"""Is the model as good as was certified, and does the stream look as before?"""

from deploy.grafana.source.board import BAD, WARN, Board, Query, Row, Shown
from deploy.grafana.source.marks import MARKS, OF, WORKFLOW

_RATE = "[$__rate_interval]"
_VERSION = 'model_version=~"$model_version"'

BOARD = Board(
    uid="hitl-quality",
    title="Model quality",
    description="Confidence, drift, the certificate and the bound on the error of the machine.",
    variables=(
        WORKFLOW,
        (
            "model_version",
            "Model",
            'label_values(hitl_predictions_total{workflow=~"$workflow"}, model_version)',
        ),
    ),
    marks=MARKS,
    rows=(
        Row(
            "The certificate",
            (
                Shown(
                    "State",
                    "certified: the machine decides above the threshold. uncertified, alarm: "
                    "everything goes to people. reporting: the workflow's threshold is fixed.",
                    (Query(f"hitl_certification_state{{{OF}}} == 1", "{{workflow}}: {{state}}"),),
                    kind="stat", width=6, height=6,
                ),
                Shown(
                    "Error of accepted items, bound",
                    "Upper bound of the error rate among items that the machine accepts, from the "
                    "audit panel. None without audits.",
                    (Query(f"hitl_accepted_error_upper_bound{{{OF}}}", "{{workflow}}"),),
                    unit="percentunit", kind="stat", width=6, height=6, empty="no audits yet",
                ),
                Shown(
                    "Audits that count",
                    "Labels of the audit panel in the current epoch.",
                    (Query(f"hitl_epoch_labels{{{OF}}}", "{{workflow}}"),),
                    kind="stat", width=4, height=6, empty="no audits yet",
                ),
                Shown(
                    "Oldest open audit",
                    "How long ago the last item was routed up to which every audit is done.",
                    (Query(f"hitl_watermark_age_seconds{{{OF}}}", "{{workflow}}"),),
                    unit="s", kind="stat", width=4, height=6, empty="no audits yet",
                ),
                Shown(
                    "Detector",
                    "Evidence that the error has risen; the alarm is at 10 000.",
                    (Query(f"hitl_drift_level{{{OF}}}", "{{workflow}}"),),
                    kind="stat", width=4, height=6, limits=((100, WARN), (10_000, BAD)),
                    empty="no audits yet",
                ),
                Shown(
                    "Thresholds",
                    "The certified threshold, and the one that routers are told: never below it.",
                    (
                        Query(f"hitl_certified_threshold{{{OF}}}", "{{workflow}} certified"),
                        Query(f"hitl_operating_threshold{{{OF}}}", "{{workflow}} in use"),
                    ),
                    unit="percentunit", most=1, empty="none: everything goes to people",
                ),
                Shown(
                    "Errors found by audits",
                    "In the current epoch, with those that came too late and count as errors.",
                    (
                        Query(f"hitl_epoch_errors{{{OF}}}", "{{workflow}} errors"),
                        Query(f"hitl_audits_overdue{{{OF}}}", "{{workflow}} of these late"),
                    ),
                    empty="no audits yet",
                ),
                Shown(
                    "Audit panel",
                    "Share of all items that routers are told to have audited. 100 % while "
                    "everything goes to people, 25 % for a week after a warning.",
                    (Query(f"hitl_panel_rate{{{OF}}}", "{{workflow}}"),),
                    unit="percentunit", most=1, empty="no certifier",
                ),
            ),
        ),
        Row(
            "The model",
            (
                Shown(
                    "Confidence",
                    "Of the predicted answer: median, lowest tenth and lowest quarter.",
                    tuple(
                        Query(
                            f"histogram_quantile({share}, sum by (le)"
                            f" (rate(hitl_confidence_bucket{{{OF}}}{_RATE})))",
                            name,
                        )
                        for share, name in (
                            (0.5, "median"), (0.25, "lowest 25 %"), (0.1, "lowest 10 %"),
                        )
                    ),
                    unit="percentunit", most=1,
                ),
                Shown(
                    "Labels",
                    "Share of each predicted label.",
                    (
                        Query(
                            "sum by (label) (rate(hitl_predictions_total"
                            f"{{{OF}, {_VERSION}}}{_RATE})) / ignoring (label) group_left"
                            f" sum(rate(hitl_predictions_total{{{OF}, {_VERSION}}}{_RATE}))",
                            "{{label}}",
                        ),
                    ),
                    unit="percentunit", most=1, stacked=True,
                ),
                Shown(
                    "Models in use",
                    "Labels predicted a second, by model: one line unless a change is under way.",
                    (
                        Query(
                            "sum by (model_version) (rate(hitl_predictions_total"
                            f"{{{OF}, {_VERSION}}}{_RATE}))",
                            "{{model_version}}",
                        ),
                    ),
                    unit="ops", stacked=True,
                ),
            ),
        ),
        Row(
            "Drift",
            (
                Shown(
                    "Scores unlike before",
                    "Population stability index of the last day's scores against the epoch's "
                    "first: above 0.1 the panel's rate is raised.",
                    (Query(f"hitl_score_psi{{{OF}}}", "{{workflow}}"),),
                    limits=((0.1, BAD),), empty="too few scores",
                ),
                Shown(
                    "Decided by the machine",
                    "Share of routed items, over the last hour. A jump is an early sign of drift.",
                    (
                        Query(
                            "sum by (workflow)"
                            f' (increase(hitl_routes_total{{route="accept", {OF}}}[1h]))'
                            f" / sum by (workflow) (increase(hitl_routes_total{{{OF}}}[1h]))",
                            "{{workflow}}",
                        ),
                    ),
                    unit="percentunit", most=1,
                ),
                Shown(
                    "Candidate in the shadow",
                    "Items that a candidate model scored beside the live one, a minute.",
                    (
                        Query(
                            "sum by (workflow, outcome) (rate("
                            f"hitl_shadow_scores_total{{{OF}}}{_RATE})) * 60",
                            "{{workflow}}: {{outcome}}",
                        ),
                    ),
                    empty="no candidate",
                ),
            ),
        ),
    ),
)  # fmt: skip
