"""The model in Ray Serve, with its dynamic batching: one replica, no dashboard."""

from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from bench.serve.servers.model import Model, ServerOptions

options = ServerOptions.read()
MOST_UNDER_WAY = 1024  # its default of 5 would keep batches small
STORE_BYTES = 128 * 1024 * 1024  # nothing large passes between its processes


GPUS = int(options.on_gpu)


@serve.deployment(
    num_replicas=1, max_ongoing_requests=MOST_UNDER_WAY, ray_actor_options={"num_cpus": 1, "num_gpus": GPUS}
)
class Texts:
    """One model in one replica."""

    def __init__(self) -> None:
        self.answering = Model(options)

    @serve.batch(max_batch_size=options.batch, batch_wait_timeout_s=options.wait_ms / 1000)
    async def answer(self, texts: list[str]) -> list[dict[str, Any]]:
        """One answer a text."""
        return self.answering.answer(texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request."""
        answer: dict[str, Any] = await self.answer((await request.json())["text"])
        return answer


if __name__ == "__main__":
    cpus = max(2, options.threads)
    ray.init(num_cpus=cpus, num_gpus=GPUS, include_dashboard=False, object_store_memory=STORE_BYTES)
    listening = {"host": "127.0.0.1", "port": options.port}
    serve.start(http_options=listening, logging_config={"enable_access_log": False})
    serve.run(Texts.bind(), blocking=True)
