"""Prints the OpenAPI document of `/api/v1`, of which the page's types are made."""

import json
from typing import cast

from fastapi import FastAPI

from services.review_ui.api.context import RequestContext
from services.review_ui.api.routes import routes

app = FastAPI()
app.include_router(routes(cast(RequestContext, None)))  # only a request would look into it
print(json.dumps(app.openapi()))
