"""True labels for answers given: `/v1/feedback`."""

from http import HTTPStatus

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from services.server.api.documented import NOT_TAKEN, operation
from services.server.api.models import FeedbackRequest, FeedbackResponse
from services.server.api.parts import ReportsLabels

_EXAMPLE = r"""id=$(curl -s $URL/v1/predict -H 'Content-Type: text/plain' --data-binary 'Dull.' |
    sed 's/.*"prediction_id":"\([^"]*\).*/\1/')
curl -s $URL/v1/feedback -H 'Content-Type: application/json' \
    --data-binary '{"prediction_id": "'$id'", "label": "negative"}'"""


def feedback_routes(labels: ReportsLabels) -> APIRouter:
    """Takes true labels."""
    router = APIRouter()

    @router.post(
        "/v1/feedback",
        status_code=HTTPStatus.ACCEPTED,
        response_model=FeedbackResponse,
        responses=NOT_TAKEN,
        openapi_extra=operation(examples=[_EXAMPLE]),
    )
    async def feedback(body: FeedbackRequest) -> FeedbackResponse:
        """Publishes the true label of a served prediction as a labelled review; 202 once Kafka has it."""
        label = await run_in_threadpool(labels.report, body.prediction_id, body.label)
        return FeedbackResponse(prediction_id=body.prediction_id, label=label)

    return router
