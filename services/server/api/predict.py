"""Our own protocol: `/v1/predict`."""

from fastapi import APIRouter, Request

from services.server.api.asking import Asking
from services.server.api.documented import NOT_ANSWERED
from services.server.api.models import PredictRequest, PredictResponse

PREDICT_PATH = "/v1/predict"


def predict_routes(asking: Asking, model_name: str) -> APIRouter:
    """Answers with label, scores and prediction id."""
    router = APIRouter()

    @router.post(PREDICT_PATH, response_model=PredictResponse, responses=NOT_ANSWERED)
    async def predict(body: PredictRequest, request: Request) -> PredictResponse:
        """Label, calibrated score and prediction id for one `text` or for several `texts`, all by one model version."""
        return PredictResponse.of(model_name, await asking.ask(request, body.all_texts()))

    return router
