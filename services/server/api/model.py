"""Who answers: `/v1/model`."""

from fastapi import APIRouter

from services.server.api.documented import curl, operation, problems
from services.server.api.models import ModelResponse, lineage_in_short
from services.server.slots import NoModelError
from services.server.status import Status
from shared.settings import StreamSettings


def model_routes(status: Status, stream: StreamSettings) -> APIRouter:
    """Tells about the model in service."""
    router = APIRouter()

    @router.get(
        "/v1/model",
        response_model=ModelResponse,
        responses=problems(s503="No model has been promoted yet."),
        openapi_extra=operation(examples=[curl("/v1/model")]),
    )
    async def model() -> ModelResponse:
        """The model that answers, and what it was made of."""
        now = status.now
        if (card := now.serving) is None:
            raise NoModelError(now.reason or "no model has been promoted yet")
        return ModelResponse(
            name=stream.registered_model,
            version=card.version,
            digest=card.digest,
            labels=stream.labels,
            promoted_at=card.promoted_at,
            phase=now.phase,
            target=now.target,
            reason=now.reason,
            canary=now.canary,
            plan=now.plan,
            plans=now.plans,
            lineage=lineage_in_short(card),
        )

    return router
