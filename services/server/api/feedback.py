"""True labels for answers given: `/v1/feedback`."""

from http import HTTPStatus

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from services.server.api.documented import NOT_TAKEN
from services.server.api.models import FeedbackRequest, FeedbackResponse
from services.server.api.parts import ReportsLabels


def feedback_routes(labels: ReportsLabels) -> APIRouter:
    """Takes true labels."""
    router = APIRouter()

    @router.post("/v1/feedback", status_code=HTTPStatus.ACCEPTED, response_model=FeedbackResponse, responses=NOT_TAKEN)
    async def feedback(body: FeedbackRequest) -> FeedbackResponse:
        """Publishes the true label of a served prediction as a labelled review; 202 once Kafka has it."""
        label = await run_in_threadpool(labels.report, body.prediction_id, body.label)
        return FeedbackResponse(prediction_id=body.prediction_id, label=label)

    return router
