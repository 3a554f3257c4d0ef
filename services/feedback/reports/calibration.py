"""The calibration report of a workflow: what the audits say, what is certified, what it costs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from services.feedback.certificate import epochs, scores
from services.feedback.certificate.certify import Certified, Floats, Grid, certify, grid_of
from services.feedback.certificate.judgement import PANEL_RATE, panel_rate
from services.feedback.certificate.panel import Matured, mature
from services.feedback.certificate.panel_log import ON_PANEL, PanelLog
from services.feedback.certificate.workload import operating_threshold
from services.feedback.reports.curves import (
    ReliabilityBin,
    RiskPoint,
    Temperature,
    reliability,
    reviews_per_1000,
    risk_coverage,
    temperature_of,
)
from services.router.policy import Policy
from shared.answers.reading import QUOTING
from shared.errors import ConfigurationError
from shared.storage.database import database_errors
from shared.storage.waiting_tasks import FOR_LEADS

_DEFAULT_DAYS = 30.0
_EVER_DAYS = 3_650.0
_MODELS = text(
    f"""
    SELECT data #>> '{{prediction,model_version}}' AS model, count(*) AS items
    FROM event
    WHERE workflow = :workflow AND occurred_at >= :since AND {ON_PANEL}
      AND type = 'item.review_requested'
    GROUP BY 1 ORDER BY max(occurred_at) DESC
    """  # noqa: S608 - put together from constants
)
_SCORES_SINCE = text(
    """
    SELECT occurred_at, (data #>> '{prediction,confidence}')::float8 AS score
    FROM event
    WHERE type = 'item.scored' AND workflow = :workflow AND occurred_at >= :since
      AND data #>> '{prediction,model_version}' = :model
    ORDER BY occurred_at, seq LIMIT :most
    """
)
_ASKED = text(
    """
    SELECT item_id, data #> '{prediction,distribution}' AS distribution
    FROM event
    WHERE workflow = :workflow AND type = 'item.review_requested' AND item_id = ANY(:ids)
    """
)


@dataclass(frozen=True, slots=True)
class Reviews:
    """How many of 1 000 items people see: at the threshold that is used now (in mode `certified`
    the certified level that the file's wish amounts to), at the loosest certified one (None:
    nothing is certified), and with no machine at all."""

    now: float | None
    certified: float | None
    all_human: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The report. `basis` says what `certified` is worth: "epoch" (the certifier's own test on its
    frozen grid), "preview" (no epoch: what these labels could certify) or "what-if" (another alpha,
    delta or period than the certifier's). Only an epoch has a certificate."""

    workflow: str
    mode: str
    model_version: str
    basis: str
    alpha: float
    delta: float
    since: datetime
    watermark: datetime | None
    epoch: str | None
    certificate: str | None
    threshold_in_file: float
    panel_rate: float
    certified: Certified
    audits: int
    errors: int
    overdue: int
    waiting: int
    disputes: int
    held: int
    duplicates: int
    wrong_copies: int
    erased: int
    reviews_per_1000: Reviews
    temperature: Temperature
    curve: list[RiskPoint]
    reliability: list[ReliabilityBin]
    notes: list[str]


# Only a lead can settle them, and every later label waits for them.
_DISPUTES = text(
    f"SELECT count(*) FROM review_task WHERE workflow = :workflow AND blind AND {FOR_LEADS}"  # noqa: S608 - put together from constants
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; None: as the workflow's file or its epoch says."""

    alpha: float | None = None
    delta: float | None = None
    days: float | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class _Test:
    """Which grid, for labels since when, of which epoch."""

    grid: Grid
    since: datetime
    basis: str
    epoch: str | None


class NothingToJudge(Exception):
    """There is no evidence at all; the text says what is missing and what would help."""


def calibrate(
    engine: Engine, workflow: str, policy: Policy, wanted: Wanted, now: datetime
) -> Calibration:
    """The report at `now`.

    Raises:
        NothingToJudge: nothing was scored, or too little to choose thresholds from.
        ConfigurationError: nothing was ever routed to the panel by the model that is asked for.
        Overloaded: Postgres is unreachable.
    """
    terms = policy.certificate
    alpha, delta = wanted.alpha or terms.alpha, wanted.delta or terms.delta
    sla = timedelta(hours=terms.sla_hours)
    with database_errors(), Session(engine) as session:
        model = _model(session, workflow, wanted, now)
        test = _test(session, workflow, policy, wanted, model, now)
        recent = scores.recent(session, workflow, scores.GRID_SCORES[1], model_version=model)
        lately = np.array([score.score for score in recent], dtype=np.float64)
        reading = PanelLog(engine, workflow).read(model, test.since, sla)
        matured = mature(reading.items, now, sla, reading.logged_until)
        certified = certify(matured.scores, matured.errors, test.grid, alpha, delta)
        temperature = _temperature(session, workflow, matured)
        disputes = session.scalar(_DISPUTES, {"workflow": workflow})
    return Calibration(
        workflow=workflow,
        mode=policy.mode,
        model_version=model,
        basis=test.basis,
        alpha=alpha,
        delta=delta,
        since=test.since,
        watermark=matured.watermark,
        epoch=test.epoch,
        certificate=_certificate(test, certified),
        threshold_in_file=policy.threshold,
        panel_rate=policy.panel.rate,
        certified=certified,
        audits=len(matured.items),
        errors=int(matured.errors.sum()),
        overdue=matured.overdue,
        waiting=matured.waiting,
        disputes=int(disputes or 0),
        held=matured.held,
        duplicates=matured.duplicates,
        wrong_copies=matured.wrong_copies,
        erased=matured.erased,
        reviews_per_1000=_reviews(policy, certified, lately),
        temperature=temperature,
        curve=risk_coverage(matured.scores, matured.errors, test.grid, delta, certified.threshold),
        reliability=reliability(matured.scores, matured.errors),
        notes=_notes(policy, test, matured),
    )


def _model(session: Session, workflow: str, wanted: Wanted, now: datetime) -> str:
    if wanted.model is None:
        epoch = epochs.open_epoch(session, workflow)
        if epoch is not None:
            return epoch.model_version
        newest = scores.recent(session, workflow, 1)
        if newest:
            return newest[0].model_version
    since = now - timedelta(days=wanted.days or _EVER_DAYS)
    audited = session.execute(_MODELS, {"workflow": workflow, "since": since}).all()
    if wanted.model is None:
        if not audited:
            raise NothingToJudge(f"no item of {workflow!r} has been scored yet")
        newest_audited: str = audited[0].model
        return newest_audited
    if wanted.model not in {row.model for row in audited}:
        known = ", ".join(f"{row.model} ({row.items})" for row in audited) or "none"
        raise ConfigurationError(
            f"no audited item of {workflow!r} was scored by {wanted.model!r}; "
            f"on the panel there are items of: {known}"
        )
    return wanted.model


def _test(
    session: Session,
    workflow: str,
    policy: Policy,
    wanted: Wanted,
    model: str,
    now: datetime,
) -> _Test:
    epoch = epochs.open_epoch(session, workflow)
    frozen = epochs.grid_in(epoch) if epoch and epoch.model_version == model else None
    if epoch and epoch.frozen_at and frozen and wanted.days is None:
        terms = policy.certificate
        own = (
            wanted.alpha in (None, terms.alpha)
            and wanted.delta in (None, terms.delta)
            and epoch.population == policy.population
        )
        return _Test(frozen, epoch.frozen_at, "epoch" if own else "what-if", str(epoch.id))
    since = now - timedelta(days=wanted.days or _DEFAULT_DAYS)
    asked = {"workflow": workflow, "since": since, "model": model, "most": scores.GRID_SCORES[1]}
    rows = session.execute(_SCORES_SINCE, asked).all()
    # The first fifth chooses the thresholds, the labels of the others judge them.
    first = max(len(rows) // 5, scores.GRID_SCORES[0])
    if len(rows) <= first:
        raise NothingToJudge(
            f"{len(rows)} items of {workflow!r} were scored by {model} in this time; thresholds "
            f"are chosen from the first {scores.GRID_SCORES[0]}, and judged by those after"
        )
    grid = grid_of([row.score for row in rows[:first]])
    return _Test(grid, rows[first].occurred_at, "what-if" if frozen else "preview", None)


def _certificate(test: _Test, certified: Certified) -> str | None:
    """The id under which the certifier issues it, whether or not it has by now."""
    if test.basis != "epoch" or test.epoch is None or certified.threshold is None:
        return None
    return str(epochs.certificate_id(UUID(test.epoch), certified.threshold))


def _temperature(session: Session, workflow: str, matured: Matured) -> Temperature:
    labels = {item.item_id: item.label for item in matured.items if item.label is not None}
    rows = session.execute(_ASKED, {"workflow": workflow, "ids": list(labels)}).all()
    known = [(row.distribution, labels[row.item_id]) for row in rows if row.distribution]
    if rows and not known:
        return Temperature(None, 0, "the predictions say nothing about other answers")
    return temperature_of([each for each, _ in known], [label or "" for _, label in known])


def _reviews(policy: Policy, certified: Certified, lately: Floats) -> Reviews:
    rate = policy.panel.rate
    used: float | None = policy.threshold
    if policy.mode == "certified":
        levels = certified.levels
        used = operating_threshold(levels, policy.threshold, loosened=False) if levels else None
    return Reviews(
        now=reviews_per_1000(lately, used, panel_rate(policy, certified=True, warned=False)),
        certified=None
        if certified.threshold is None
        else reviews_per_1000(lately, certified.threshold, rate or PANEL_RATE),
        all_human=1_000.0,
    )


def _notes(policy: Policy, test: _Test, matured: Matured) -> list[str]:
    notes = []
    if policy.mode == "fixed" and policy.panel.rate == 0:
        notes.append(
            "the file's [policy.panel] rate is 0: nobody audits what the machine decides. "
            "Set it, e.g. to 0.05, to learn what could be certified"
        )
    if test.basis == "preview":
        notes.append(
            "a preview, no certificate: the certifier has frozen no thresholds for this model "
            "(is the feedback service running?)"
        )
    if test.basis == "what-if":
        notes.append(
            "no certificate: the certifier tests other terms, another period or another version of "
            "the policy, and what is chosen after a look at the labels promises nothing"
        )
    if policy.label_thresholds:
        notes.append("[policy.label_thresholds] are not looked at: one threshold for all labels")
    # Of an answer that quotes, the log says only whether it was the predicted one.
    if len({item.ai_label for item in matured.items if item.kind not in QUOTING}) == 1:
        notes.append(
            f"the machine gave all audited items the label {matured.items[0].ai_label!r}: nothing "
            "is known about any other"
        )
    if matured.overdue:
        notes.append(
            f"{matured.overdue} of the errors are audits that nobody answered within "
            f"{policy.certificate.sla_hours:g} hours"
        )
    if matured.wrong_copies:
        wrong = int(matured.errors.sum())
        everything = len(matured.items) + matured.duplicates
        notes.append(
            f"{matured.wrong_copies} audits are copies of texts that the machine got wrong before, "
            "and count nothing: the certificate is about different texts. With all copies "
            f"{wrong + matured.wrong_copies} of {everything} audits are wrong, and not "
            f"{wrong} of {len(matured.items)}"
        )
    if matured.held:
        notes.append(f"{matured.held} labels wait for earlier items that nobody has answered yet")
    return notes
