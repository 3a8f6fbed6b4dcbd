"""Our own protocol: `/v1/predict`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.server.api import bodies
from services.server.api.asking import Asking
from services.server.api.bulk import AnsweredLine, Bulk, BulkLine, BulkResponse
from services.server.api.documented import NOT_ANSWERED, answers, curl, json_of, lines_of, operation, string_of
from services.server.api.models import PredictRequest, PredictResponse
from services.server.api.protocols import PREDICT_PATH

_TAKES = json_of(PredictRequest) | string_of(bodies.TEXT) | lines_of(BulkLine)
_EXAMPLES = (
    curl(PREDICT_PATH, '{"texts": ["A three-hour master class.", "Dull."]}'),
    curl(PREDICT_PATH, "A three-hour master class.", bodies.TEXT),
    curl(PREDICT_PATH, '{"id": 1, "text": "A three-hour master class."}\n{"id": 2, "text": "Dull."}', bodies.NDJSON),
)


def predict_routes(asking: Asking, bulk: Bulk, model_name: str) -> APIRouter:
    """Answers with label, scores and prediction id."""
    router = APIRouter()

    @router.post(
        PREDICT_PATH,
        response_model=PredictResponse,
        responses=answers(lines_of(AnsweredLine)) | NOT_ANSWERED,
        openapi_extra=operation(_TAKES, examples=_EXAMPLES),
    )
    async def predict(request: Request) -> Response:
        """Label, calibrated score and prediction id for each text.

        JSON takes one `text` or several `texts`, all answered by one model version; `text/plain` is one text.
        `application/x-ndjson` is a stream of any length, a text a line. Each line is answered, in order, as soon as it
        can be, by the model in service at that moment, which its answer names. A line that cannot be answered gets a
        problem with its number, and the others go on. Read answers while you send: the server reads no further than it
        may write.
        """
        match bodies.media_type(request.headers):
            case bodies.JSON:
                texts = bodies.parsed(await request.body(), PredictRequest).all_texts()
            case bodies.TEXT:
                texts = [bodies.decoded(await request.body(), request.headers)]
            case bodies.NDJSON:
                return BulkResponse(bulk, asking.patience(request.headers))
            case _:
                raise bodies.unsupported(bodies.JSON, bodies.TEXT, bodies.NDJSON)
        answer = PredictResponse.of(model_name, await asking.ask(request, texts))
        return Response(answer.model_dump_json(), media_type=bodies.JSON)

    return router
