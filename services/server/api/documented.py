"""How the API's documents tell what an address answers when it does not answer."""

from typing import Any

from services.server.api.problems import MEDIA_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]


def problems(**meanings: str) -> Responses:
    """Each status (`s404=`) with its meaning, as a problem body."""
    return {
        name.removeprefix("s"): {
            "description": meaning,
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for name, meaning in meanings.items()
    }


NOT_ANSWERED = problems(
    s413="The body is too large.",
    s422="The body is not what this address takes.",
    s429="Too much is waiting; ask again after Retry-After seconds.",
    s503="No model has been promoted yet, or it cannot answer in time; ask again after Retry-After seconds.",
)
NOT_TAKEN = problems(
    s404="This replica remembers no such prediction.",
    s422="The label is not one of the stream's.",
    s503="Kafka did not acknowledge it; report again after Retry-After seconds.",
)
