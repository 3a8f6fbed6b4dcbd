"""What only an administrator may ask: `/v1/admin/*`."""

import threading
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from services.server.api.documented import operation
from services.server.api.doors import ADMIN_PREFIX
from services.server.stacks import stacks

_KEY = '-H "X-API-Key: $KEY"'


class Asked(BaseModel):
    """It will be done soon; how it went is on `/readyz`."""

    asked: bool = True


def admin_routes(look: threading.Event) -> APIRouter:
    """`look` has the follower look at once."""
    router = APIRouter(prefix=ADMIN_PREFIX)

    @router.post(
        "/check",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Asked,
        openapi_extra=operation(examples=[f"curl -s -X POST $URL{ADMIN_PREFIX}/check {_KEY}"]),
    )
    async def check() -> Asked:
        """Looks at ledger and registry now, and tries a champion again that could not be taken over."""
        look.set()
        return Asked()

    @router.get(
        "/stacks",
        response_class=PlainTextResponse,
        openapi_extra=operation(examples=[f"curl -s $URL{ADMIN_PREFIX}/stacks {_KEY}"]),
    )
    async def threads() -> str:
        """Where every thread stands, as text: of use when the model hangs."""
        return stacks()

    return router
