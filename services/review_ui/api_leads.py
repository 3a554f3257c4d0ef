"""What can leads do beyond reviewing? Take up what was decided, see how good the work is."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.review_ui import quality
from services.review_ui.access import Here
from services.review_ui.desk import Desk
from services.review_ui.quality import Accuracy, Agreement, SecondReviews, WithAi
from services.review_ui.reopen import reopen
from services.review_ui.schemas import ErrorAnswer, ShortText
from services.review_ui.views import TaskView


class Quality(BaseModel):
    """Rates are 0 to 1, with 95 % intervals (Wilson); null where there is nothing to count."""

    agreement: Agreement = Field(description="two people on the same items, those drawn by hash")
    accuracy: list[Accuracy] = Field(description="each reviewer on known items")
    second_reviews: SecondReviews
    with_ai: WithAi = Field(description="first answers like the AI's label: in sight of it, blind")


def routes(desk: Desk) -> APIRouter:
    """Reopen, measure."""
    api = APIRouter()

    @api.post(
        "/tasks/{task_id}/reopen",
        tags=["tasks"],
        responses={404: {"model": ErrorAnswer}, 409: {"model": ErrorAnswer}},
    )
    def take_up(task_id: UUID, account: Here) -> TaskView:
        """Leases a decided, flagged or disputed task to you: your answer settles it."""
        with desk.transaction() as session:
            task = reopen(
                session,
                account.name,
                task_id,
                now=desk.clock(),
                lease_seconds=desk.lease_seconds,
            )
            return desk.view(task, account.name)

    @api.get("/quality", tags=["statistics"], responses={404: {"model": ErrorAnswer}})
    def measured(
        account: Here,
        workflow: Annotated[ShortText, Query()],
        days: Annotated[int, Query(ge=1, le=3_650)] = 30,
    ) -> Quality:
        """How people agree with each other, with the AI and with known labels."""
        name = desk.known_workflow(workflow)
        since = desk.clock() - timedelta(days=days)
        with desk.transaction() as session:
            return Quality(
                agreement=quality.agreement(session, name, since),
                accuracy=quality.accuracy(session, name, since),
                second_reviews=quality.second_reviews(session, name, since),
                with_ai=quality.with_ai(session, name, since),
            )

    return api
