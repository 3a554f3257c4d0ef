"""Prometheus gauges of a workflow's certificate, published by the leader alone."""

from contextlib import suppress
from datetime import datetime
from typing import get_args

from prometheus_client import Gauge

from services.feedback.certificate.certify import Certified
from services.feedback.certificate.drift import Detection
from services.feedback.certificate.panel import Matured
from services.router.policy import CertificateTerms
from shared.events.live_policy import LiveRoute, LiveState
from shared.service import metrics

_OF_A_WORKFLOW = (
    metrics.ACCEPTED_ERROR_UPPER_BOUND,
    metrics.AUDITS_OVERDUE,
    metrics.AUDIT_SLA,
    metrics.CERTIFICATE_AGE,
    metrics.CERTIFICATE_MAX_AGE,
    metrics.CERTIFIED_THRESHOLD,
    metrics.DRIFT_LEVEL,
    metrics.EPOCH_ERRORS,
    metrics.EPOCH_LABELS,
    metrics.FOR_LEADS,
    metrics.FOR_LEADS_OLDEST,
    metrics.LOOSENED,
    metrics.OPERATING_THRESHOLD,
    metrics.PANEL_RATE,
    metrics.SCORE_PSI,
    metrics.TASKS_LATE,
    metrics.WATERMARK_AGE,
)


class WorkflowGauges:
    """The metrics of one workflow. What does not hold any more is absent, not 0."""

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow

    def show_terms(self, terms: CertificateTerms) -> None:
        """What the policy says of time: alerts go by it."""
        self.set(metrics.AUDIT_SLA, terms.sla_hours * 3_600)
        self.set(metrics.CERTIFICATE_MAX_AGE, terms.max_age_days * 86_400)

    def show_evidence(self, matured: Matured, detection: Detection, now: datetime) -> None:
        """How much has been learnt in this epoch."""
        self.set(metrics.EPOCH_LABELS, len(matured.items))
        self.set(metrics.EPOCH_ERRORS, int(matured.errors.sum()))
        self.set(metrics.AUDITS_OVERDUE, matured.overdue)
        self.set(metrics.DRIFT_LEVEL, detection.level)
        since = matured.watermark if matured.waiting else None
        age = 0.0 if since is None else (now - since).total_seconds()
        self.set(metrics.WATERMARK_AGE, max(age, 0.0))

    def show_certificate(self, found: Certified, issued_at: datetime, now: datetime) -> None:
        """What is certified."""
        self.set(metrics.CERTIFIED_THRESHOLD, found.threshold)
        self.set(metrics.ACCEPTED_ERROR_UPPER_BOUND, found.upper_bound)
        self.set(metrics.CERTIFICATE_AGE, max((now - issued_at).total_seconds(), 0.0))

    def show_no_certificate(self) -> None:
        """Nothing is certified."""
        self.set(metrics.CERTIFIED_THRESHOLD, None)
        self.set(metrics.ACCEPTED_ERROR_UPPER_BOUND, None)
        self.set(metrics.CERTIFICATE_AGE, None)
        self.set(metrics.LOOSENED, None)

    def show_route(self, route: LiveRoute) -> None:
        """What the routers are told."""
        for state in get_args(LiveState):
            metrics.CERTIFICATION_STATE.labels(self._workflow, state).set(state == route.state)
        self.set(metrics.OPERATING_THRESHOLD, route.threshold)
        self.set(metrics.PANEL_RATE, route.panel_rate)

    def forget(self) -> None:
        """Nothing is shown any more."""
        for gauge in _OF_A_WORKFLOW:
            self.set(gauge, None)
        for state in get_args(LiveState):
            with suppress(KeyError):
                metrics.CERTIFICATION_STATE.remove(self._workflow, state)

    def set(self, gauge: Gauge, value: float | None) -> None:
        """Shows the value of one gauge; None: the gauge is absent."""
        if value is not None:
            gauge.labels(self._workflow).set(value)
            return
        with suppress(KeyError):
            gauge.remove(self._workflow)
