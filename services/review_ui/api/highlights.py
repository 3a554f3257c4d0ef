"""REST route of the highlights that arrive after their task was handed out."""

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import errors
from services.review_ui.tasks import highlights
from services.review_ui.tasks.asked import predicted_brief
from services.review_ui.tasks.highlights import Piece
from services.review_ui.tasks.views import highlighted
from shared.storage.tables import ReviewTask


class Highlighted(BaseModel):
    """The whole text in pieces, and for which label its words are weighed."""

    label: str
    pieces: list[Piece] = Field(description="all of them in a row are the whole text")


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.get("/tasks/{task_id}/highlights", tags=["tasks"], responses=errors(404))
    def of_task(task_id: UUID, account: Here) -> Highlighted:
        """Which words speak for the AI's label, and which against, of a task that you hold. One
        answer, 404, for all that there is not: not weighed yet, a long text, a blind task, a task
        of somebody else."""
        with context.transaction() as session:
            task = session.get(ReviewTask, task_id)
            held = task is not None and task.leased_by == account.name
            if task is not None and held and account.sees(task.workflow):
                weighed = highlights.find(session, [task]).get((task.workflow, task.item_id))
                found = highlighted(task, weighed, account.name)
                if found is not None:
                    return Highlighted(label=str(predicted_brief(task)), pieces=found)
        raise ApiError(404, "no_highlights", "You may see no highlights of this task (yet).")

    return api
