"""Epochs: how long evidence counts together, and what was fixed before the first label counted.

An epoch speaks of one model and one population. What is frozen in it (the grid, the first scores)
lies in the database, so that whoever leads next goes on with the very same test.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.feedback.certificate.certify import Certified, Grid
from services.feedback.certificate.panel import Matured
from shared.events.models import derive_id
from shared.storage.tables import Certificate, CertificationEpoch

EndedBy = Literal["drift", "too_old", "new_model", "new_policy"]


def open_epoch(session: Session, workflow: str) -> CertificationEpoch | None:
    """The epoch that evidence is gathered for."""
    return session.scalar(
        select(CertificationEpoch).where(
            CertificationEpoch.workflow == workflow, CertificationEpoch.ended_at.is_(None)
        )
    )


def epoch_before(session: Session, epoch: CertificationEpoch) -> CertificationEpoch | None:
    """The one that ended when this one began; None for the workflow's first."""
    return session.scalar(
        select(CertificationEpoch)
        .where(
            CertificationEpoch.workflow == epoch.workflow,
            CertificationEpoch.ended_at.is_not(None),
        )
        .order_by(CertificationEpoch.ended_at.desc())
        .limit(1)
    )


def begin(
    session: Session, workflow: str, model_version: str, population: str, now: datetime
) -> CertificationEpoch:
    """A new epoch; nothing that was routed before counts in it."""
    epoch = CertificationEpoch(
        id=uuid4(),
        workflow=workflow,
        model_version=model_version,
        population=population,
        started_at=now,
    )
    session.add(epoch)
    session.flush()
    return epoch


def end(session: Session, epoch: CertificationEpoch, by: EndedBy, why: str, now: datetime) -> None:
    """No evidence of this epoch counts any more, for ever."""
    epoch.ended_at, epoch.ended_by, epoch.ended_reason = now, by, why
    session.flush()


def freeze(epoch: CertificationEpoch, grid: Grid, now: datetime) -> None:
    """Fixes the grid, before any label that will count was given."""
    epoch.grid = {"thresholds": list(grid.thresholds), "coverage": list(grid.coverage)}
    epoch.frozen_at = now


def grid_in(epoch: CertificationEpoch) -> Grid | None:
    """The frozen grid; None where there were too few scores so far."""
    if epoch.grid is None:
        return None
    return Grid(tuple(epoch.grid["thresholds"]), tuple(epoch.grid["coverage"]))


def issue(
    session: Session,
    epoch: CertificationEpoch,
    found: Certified,
    matured: Matured,
    terms: tuple[float, float],
    now: datetime,
) -> tuple[str, datetime]:
    """The certificate of `found.threshold`, written the first time it is found; `terms`: alpha and
    delta. Its version, and when the epoch's first one was issued. The same threshold in the same
    epoch is the same certificate, whoever finds it.

    Raises:
        ValueError: nothing is certified.
    """
    if found.threshold is None or matured.watermark is None or epoch.grid is None:
        raise ValueError("nothing is certified")
    alpha, delta = terms
    version = certificate_id(epoch.id, found.threshold)
    session.execute(
        insert(Certificate)
        .values(
            id=version,
            workflow=epoch.workflow,
            model_version=epoch.model_version,
            threshold=found.threshold,
            alpha=alpha,
            delta=delta,
            labels=found.labels,
            errors=found.errors,
            upper_bound=found.upper_bound,
            epoch=str(epoch.id),
            watermark=matured.watermark,
            issued_at=now,
            evidence={
                "why": found.why,
                "levels": list(found.levels),
                "grid": epoch.grid,
                "grid_frozen_at": epoch.frozen_at.isoformat() if epoch.frozen_at else None,
                "population": epoch.population,
                "audits": len(matured.items),
                "errors": int(matured.errors.sum()),
                "overdue": matured.overdue,
                "duplicates": matured.duplicates,
                "erased": matured.erased,
            },
        )
        .on_conflict_do_nothing()
    )
    first = session.scalar(
        select(func.min(Certificate.issued_at)).where(Certificate.epoch == str(epoch.id))
    )
    return str(version), first or now


def certificate_id(epoch: UUID, threshold: float) -> UUID:
    """The same for the same threshold, so that a repeated look adds no row."""
    return derive_id("certificate", str(epoch), repr(threshold))
