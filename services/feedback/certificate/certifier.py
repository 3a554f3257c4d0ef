"""Certifies one workflow: one look at its evidence, one `LiveRoute`.

Nothing is carried over from look to look but what makes the next one cheaper: the log and the
frozen grid say everything, so that any process may take the next look.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.feedback.certificate import epochs, scores
from services.feedback.certificate.certify import Certified, certify, grid_of
from services.feedback.certificate.drift import detect
from services.feedback.certificate.early_warnings import EarlyWarnings
from services.feedback.certificate.gauges import WorkflowGauges
from services.feedback.certificate.judgement import (
    SWITCH_ITEMS,
    at_the_file,
    in_doubt,
    newest_model,
    panel_rate,
    watched_errors,
)
from services.feedback.certificate.panel import Matured, mature
from services.feedback.certificate.panel_log import PanelLog
from services.feedback.certificate.workload import (
    Relief,
    Workload,
    for_leads,
    measure,
    operating_threshold,
)
from services.router.policy import Policy
from shared.events.live_policy import LiveRoute, LiveState
from shared.service import metrics
from shared.storage.database import database_errors
from shared.storage.tables import CertificationEpoch
from shared.wording import percent

logger = logging.getLogger(__name__)


class WorkflowCertifier:
    """Looks at one workflow. Not for several threads at once."""

    def __init__(
        self, engine: Engine, workflow: str, lease: timedelta, *, relief: Relief | None = None
    ) -> None:
        """`lease`: for how long routers may go by a look while no other follows."""
        self._engine = engine
        self._workflow = workflow
        self._lease = lease
        self._log = PanelLog(engine, workflow)
        self._relief = relief or Relief()
        self._gauges = WorkflowGauges(workflow)
        self._early = EarlyWarnings(workflow)

    def look(self, policy: Policy, now: datetime) -> LiveRoute:
        """What holds at `now`, by `policy` as it is.

        Raises:
            Overloaded: Postgres is unreachable.
        """
        with database_errors(), Session(self._engine, expire_on_commit=False) as session:
            route = self._look(session, policy, now)
            session.commit()
        return route

    def forget(self) -> None:
        """Another process leads: its figures count, not ours."""
        self._gauges.forget()

    def _look(self, session: Session, policy: Policy, now: datetime) -> LiveRoute:
        self._gauges.show_terms(policy.certificate)
        epoch = self._current_epoch(session, policy, now)
        workload = measure(session, self._workflow, now)
        self._gauges.set(metrics.TASKS_LATE, workload.late(now))
        waiting, oldest_seconds = for_leads(session, self._workflow, now)
        self._gauges.set(metrics.FOR_LEADS, waiting)
        self._gauges.set(metrics.FOR_LEADS_OLDEST, oldest_seconds)
        if epoch is None:
            return self._to_people(session, policy, None, "no item has been scored yet", now)
        grid = epochs.grid_in(epoch)
        if grid is None:
            known = scores.recent(
                session, self._workflow, scores.GRID_SCORES[1], model_version=epoch.model_version
            )
            if len(known) < scores.GRID_SCORES[0]:
                why = f"{len(known)} of {scores.GRID_SCORES[0]} scores to choose thresholds from"
                return self._to_people(session, policy, epoch, why, now)
            epochs.freeze(epoch, grid_of([score.score for score in known]), now)
            session.flush()
            logger.info("grid frozen", extra=self._about(epoch, scores=len(known)))
            grid = epochs.grid_in(epoch)
        if grid is None or epoch.frozen_at is None:
            raise RuntimeError("an epoch's frozen grid is missing in the database")
        terms = policy.certificate
        sla = timedelta(hours=terms.sla_hours)
        reading = self._log.read(epoch.model_version, epoch.frozen_at, sla)
        matured = mature(reading.items, now, sla, reading.logged_until)
        found = certify(matured.scores, matured.errors, grid, terms.alpha, terms.delta)
        errors = watched_errors(matured, policy, found.threshold)
        detection = detect(errors, terms.alpha)
        self._gauges.show_evidence(matured, detection, now)
        if detection.alarm_at is not None:
            why = (
                f"more than {percent(terms.alpha)} of what the machine accepted is wrong: the "
                f"monitor raised the alarm at audit {detection.alarm_at + 1} of accepted items"
            )
            return self._start_again(session, policy, epoch, "drift", why, now)
        return self._judge(session, policy, epoch, matured, found, workload, now)

    def _judge(
        self,
        session: Session,
        policy: Policy,
        epoch: CertificationEpoch,
        matured: Matured,
        found: Certified,
        workload: Workload,
        now: datetime,
    ) -> LiveRoute:
        """What the machine may do by evidence that has raised no alarm."""
        terms = policy.certificate
        at = policy.threshold if policy.mode == "fixed" else found.threshold
        warned = self._early.warned(session, epoch, at, now)
        self._gauges.set(metrics.SCORE_PSI, self._early.psi)
        if found.threshold is None:
            why = found.why + at_the_file(policy, matured)
            return self._to_people(session, policy, epoch, why, now, matured, warned=warned)
        version, first_at = epochs.issue(
            session, epoch, found, matured, (terms.alpha, terms.delta), now
        )
        if now - first_at > timedelta(days=terms.max_age_days):
            why = f"the certificate is older than {terms.max_age_days:g} days"
            return self._start_again(session, policy, epoch, "too_old", why, now)
        self._gauges.show_certificate(found, first_at, now)
        doubt = in_doubt(matured, now, timedelta(hours=terms.sla_hours))
        certified = policy.mode == "certified" and doubt is None
        threshold = policy.threshold if policy.mode == "fixed" else None
        reason = (doubt or found.why) + at_the_file(policy, matured)
        if certified:
            loosened = self._relief.loosened(workload, now)
            self._gauges.set(metrics.LOOSENED, int(loosened))
            threshold = operating_threshold(found.levels, policy.threshold, loosened=loosened)
            if loosened:
                reason += "; loosened, because open tasks would miss their due times"
        state: LiveState = "reporting" if policy.mode == "fixed" else "alarm"
        return self._route(
            policy,
            epoch,
            now,
            state="certified" if certified else state,
            threshold=threshold,
            certified_threshold=found.threshold,
            panel_rate=panel_rate(policy, certified=certified, warned=warned),
            certificate_version=version,
            watermark=matured.watermark,
            reason=reason,
        )

    def _current_epoch(
        self, session: Session, policy: Policy, now: datetime
    ) -> CertificationEpoch | None:
        """The open epoch; a new one where the policy's population or the model has changed."""
        epoch = epochs.open_epoch(session, self._workflow)
        if epoch is not None and epoch.population != policy.population:
            why = "labels, rules or terms of the policy have changed"
            epochs.end(session, epoch, "new_policy", why, now)
            logger.warning("epoch ended", extra=self._about(epoch, why=why))
            epoch = epochs.begin(
                session, self._workflow, epoch.model_version, policy.population, now
            )
        newest = scores.recent(
            session, self._workflow, SWITCH_ITEMS, look_through=scores.FEW if epoch else scores.MOST
        )
        model = newest_model(
            [score.model_version for score in newest], epoch.model_version if epoch else None
        )
        if model is None or (epoch is not None and epoch.model_version == model):
            return epoch
        if epoch is not None:
            why = f"the model was changed from {epoch.model_version} to {model}"
            epochs.end(session, epoch, "new_model", why, now)
            logger.warning("epoch ended", extra=self._about(epoch, why=why))
        return epochs.begin(session, self._workflow, model, policy.population, now)

    def _start_again(
        self,
        session: Session,
        policy: Policy,
        epoch: CertificationEpoch,
        by: epochs.EndedBy,
        why: str,
        now: datetime,
    ) -> LiveRoute:
        """Withdraws the certificate: only evidence routed from now on counts."""
        epochs.end(session, epoch, by, why, now)
        logger.error("certificate withdrawn", extra=self._about(epoch, why=why))
        after = epochs.begin(session, self._workflow, epoch.model_version, policy.population, now)
        return self._to_people(session, policy, after, why, now)

    def _to_people(
        self,
        session: Session,
        policy: Policy,
        epoch: CertificationEpoch | None,
        reason: str,
        now: datetime,
        matured: Matured | None = None,
        *,
        warned: bool = False,
    ) -> LiveRoute:
        """Nothing is certified; in mode `fixed` that is a report and no more."""
        self._gauges.show_no_certificate()
        state: LiveState = "reporting" if policy.mode == "fixed" else "uncertified"
        before = epochs.epoch_before(session, epoch) if epoch else None
        if before is not None and before.ended_reason is not None:
            if before.ended_reason != reason:
                reason = f"{reason}; since {before.ended_at:%Y-%m-%d %H:%M}: {before.ended_reason}"
            if policy.mode == "certified" and before.ended_by in ("drift", "too_old"):
                state = "alarm"
        return self._route(
            policy,
            epoch,
            now,
            state=state,
            threshold=policy.threshold if policy.mode == "fixed" else None,
            certified_threshold=None,
            panel_rate=panel_rate(policy, certified=False, warned=warned),
            certificate_version=None,
            watermark=matured.watermark if matured else None,
            reason=reason,
        )

    def _route(
        self, policy: Policy, epoch: CertificationEpoch | None, now: datetime, **judged: Any
    ) -> LiveRoute:
        """What was judged, with the terms and the epoch that it is about; shown in the gauges."""
        route = LiveRoute(
            model_version=epoch.model_version if epoch else None,
            population=policy.population,
            alpha=policy.certificate.alpha,
            delta=policy.certificate.delta,
            epoch=str(epoch.id) if epoch else "",
            valid_until=now + self._lease,
            **judged,
        )
        self._gauges.show_route(route)
        return route

    def _about(self, epoch: CertificationEpoch, **more: object) -> dict[str, object]:
        return {
            "workflow": self._workflow,
            "epoch": str(epoch.id),
            "model_version": epoch.model_version,
            **more,
        }
