"""REST routes by which a lead accepts a whole filtered list, and undoes that.

For leads, by session only: accepting unread is quick and hurts the data, so it is kept apart.
"""

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.schemas import Asked, Wanted, errors
from services.review_ui.tasks import batches
from services.review_ui.tasks.batches import CHUNK, MAX_BATCH
from shared.service.metrics import REVIEWS
from shared.workflows.files import ReviewRules

SAMPLE = 20


class Sample(BaseModel):
    """One of those that would be accepted."""

    item_id: str
    text: str
    label: str = Field(description="the AI's, which is accepted")
    confidence: float


class Preview(BaseModel):
    """What would be accepted: send these ids, in chunks, and nothing else is."""

    tasks: list[UUID] = Field(description=f"{MAX_BATCH} at most, the most urgent first")
    more: bool = Field(description="others match as well; they come in another batch")
    sample: list[Sample] = Field(description=f"the first {SAMPLE}")
    one_by_one: list[str] = Field(
        description="workflows whose answers no list shows whole: nothing of theirs is among these"
    )


class Batch(Asked):
    """`batch` is a UUID of your making: sending the same request again is safe."""

    batch: UUID
    tasks: list[UUID] = Field(min_length=1, max_length=CHUNK, description="from the preview")


class BatchResult(BaseModel):
    accepted: int
    missed: list[UUID] = Field(description="no longer eligible for the batch, or never")


class BatchUndone(BaseModel):
    undone: int
    missed: int = Field(description="decided again since")
    more: bool = Field(description="send the same again for the rest")


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.post("/tasks/accept-batch/preview", tags=["batches"], responses=errors(404))
    def preview(given: Wanted, account: Here) -> Preview:
        """What a batch with this filter would accept. It takes a label, a confidence or a text."""
        chosen = context.chosen(given.workflow, account)
        with context.transaction() as session:
            found, more = batches.preview(
                session,
                account.name,
                workflows=chosen,
                wanted=given.filter(
                    context.known_labels(given.workflow),
                    among=context.several_labels(given.workflow),
                ),
                now=context.clock(),
            )
            return Preview(
                tasks=[task.id for task in found],
                more=more,
                sample=[
                    Sample(
                        item_id=task.item_id,
                        text=task.item["text"],
                        label=task.prediction["label"],
                        confidence=task.prediction["confidence"],
                    )
                    for task in found[:SAMPLE]
                    if task.prediction is not None
                ],
                one_by_one=[
                    name
                    for name in chosen
                    if context.workflows[name].spec.kind not in batches.BATCHED
                ],
            )

    @api.post("/tasks/accept-batch", tags=["batches"], responses=errors(404, 409))
    def accept(given: Batch, account: Here) -> BatchResult:
        """Accepts the AI's label of each task, as a decision of yours that carries the batch."""

        def rules(workflow: str) -> ReviewRules:
            flow = context.workflows.get(workflow)
            return flow.review if flow else ReviewRules()

        with context.transaction() as session:
            missed, fresh = batches.accept(
                session,
                account.name,
                given.batch,
                given.tasks,
                rules=rules,
                now=context.clock(),
                undo_seconds=context.undo_seconds,
            )
        for each in fresh:
            REVIEWS.labels(each.task.workflow, each.row.action).inc()
            context.trace(each.task, each.row)
        return BatchResult(accepted=len(given.tasks) - len(missed), missed=missed)

    @api.post("/tasks/accept-batch/{batch}/undo", tags=["batches"], responses=errors(404, 409))
    def undo(batch: UUID, account: Here) -> BatchUndone:
        """Takes your batch back, some at a time; the items wait again. Within `undo_seconds` no
        event leaves; later each item goes out as a correction once it is decided again."""
        with context.transaction() as session:
            undone, missed, more = batches.undo_batch(
                session,
                account.name,
                batch,
                now=context.clock(),
                lease_seconds=context.lease_seconds,
            )
        return BatchUndone(undone=undone, missed=missed, more=more)

    return api
