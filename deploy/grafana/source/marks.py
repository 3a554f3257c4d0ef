"""What is marked on every dashboard: a new model, another threshold, an alarm."""

from deploy.grafana.source.board import BAD, Mark

WORKFLOW = ("workflow", "Workflow", "label_values(hitl_predictions_total, workflow)")
OF = 'workflow=~"$workflow"'

_LIVE = f'hitl_model_info{{role="live", {OF}}}'
_BY_MODEL = "sum by (workflow, model_version)"

MARKS = (
    Mark("New model", f"{_BY_MODEL} ({_LIVE}) unless {_BY_MODEL} ({_LIVE} offset 1m)", "blue"),
    Mark("New threshold", f"changes(hitl_operating_threshold{{{OF}}}[1m]) > 0", "purple"),
    Mark("Certificate lost", f'hitl_certification_state{{state="alarm", {OF}}} == 1', BAD),
)
