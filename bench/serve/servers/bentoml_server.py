"""The model in BentoML, with its adaptive batching. `bentoml serve bench.serve.servers.bentoml_server:Texts`."""

from typing import Any

import bentoml

from bench.serve.servers.model import Model, ServerOptions

options = ServerOptions.read()
# Its default, a minute, lets it wait for more than anybody would; much below a second it refuses what it could answer.
MOST_LATENCY_MS = 10_000


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Texts:
    """One model in one worker."""

    def __init__(self) -> None:
        self.answering = Model(ServerOptions.read())

    @bentoml.api(batchable=True, max_batch_size=options.batch, max_latency_ms=MOST_LATENCY_MS)
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """One answer a text."""
        return self.answering.answer(texts)
