"""Compares today's scores with the epoch's first; where they differ, a week of more audits follows.

No label is needed for it, and nothing is accepted or withheld because of it.
"""

import logging
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from services.feedback.certificate import scores
from services.feedback.certificate.drift import PSI_ITEMS, acceptance_jumped, psi, scores_drifted
from shared.storage.tables import CertificationEpoch

logger = logging.getLogger(__name__)

FIRST_SCORES = 2 * PSI_ITEMS  # of an epoch, to compare the scores of later days with
MAX_SCORES = 10_000
WARNED_FOR = timedelta(days=7)
EVERY = timedelta(minutes=1)
DAY = timedelta(days=1)


class EarlyWarnings:
    """The warnings of one workflow. `psi` is the newest index, None where there is none."""

    def __init__(self, workflow: str, every: timedelta = EVERY) -> None:
        self.psi: float | None = None
        self._workflow = workflow
        self._every = every
        self._looked_at: datetime | None = None

    def warned(
        self, session: Session, epoch: CertificationEpoch, threshold: float | None, now: datetime
    ) -> bool:
        """Whether a warning of the last week holds; looks for a new one now and then.

        `threshold`: whose acceptance rate is watched, None for none.
        """
        if self._looked_at is None or now - self._looked_at >= self._every:
            self._looked_at = now
            warning = self._warning(session, epoch, threshold, now)
            if warning is not None:
                epoch.warned_at, epoch.warning = now, warning
                logger.warning("early warning", extra={"workflow": self._workflow, "why": warning})
        return epoch.warned_at is not None and now - epoch.warned_at < WARNED_FOR

    def _warning(
        self, session: Session, epoch: CertificationEpoch, threshold: float | None, now: datetime
    ) -> str | None:
        if epoch.first_scores is None or epoch.first_scores_seq is None:
            self.psi = None
            self._keep_first(session, epoch)
            return None
        today = scores.recent(
            session,
            self._workflow,
            MAX_SCORES,
            model_version=epoch.model_version,
            since=now - DAY,
            after=epoch.first_scores_seq,
            look_through=scores.MANY,
        )
        before = np.array(epoch.first_scores)
        lately = np.array([score.score for score in today])
        if len(lately) < PSI_ITEMS:
            return None
        self.psi = psi(before, lately)
        if scores_drifted(before, lately):
            return f"the scores of the last day differ from the epoch's first: PSI {self.psi:.2f}"
        if threshold is None:
            return None
        accepted, accepted_now = (int((side >= threshold).sum()) for side in (before, lately))
        if not acceptance_jumped((accepted, len(before)), (accepted_now, len(lately))):
            return None
        was, now_is = accepted / len(before), accepted_now / len(lately)
        return f"{now_is:.0%} of the last day's items reach the threshold; it was {was:.0%}"

    def _keep_first(self, session: Session, epoch: CertificationEpoch) -> None:
        began = scores.recent(
            session,
            self._workflow,
            MAX_SCORES,
            model_version=epoch.model_version,
            since=epoch.started_at,
        )
        if len(began) >= FIRST_SCORES:
            first = began[-FIRST_SCORES:]
            epoch.first_scores = [score.score for score in first]
            epoch.first_scores_seq = first[0].seq
