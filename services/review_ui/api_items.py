"""What is known about an item?"""

from fastapi import APIRouter

from services.review_ui.access import Here
from services.review_ui.api_errors import ApiError
from services.review_ui.desk import Desk
from services.review_ui.items import ItemView, look_up


def routes(desk: Desk) -> APIRouter:
    """Look an item up."""
    api = APIRouter()

    @api.get("/items/{workflow}/{item_id:path}", tags=["items"])
    def item(workflow: str, item_id: str, account: Here) -> ItemView:
        """An item and every event recorded about it."""
        desk.known_workflow(workflow)
        found = None
        if "\0" not in item_id:
            with desk.transaction() as session:
                found = look_up(session, account, workflow, item_id)
        if found is None:
            raise ApiError(404, "no_such_item", "Nothing is recorded about this item (yet).")
        return found

    return api
