"""The model in LitServe, with its batching: one worker, which has the model."""

from typing import Any

import litserve

from bench.serve.servers.model import Model, ServerOptions


class Api(litserve.LitAPI):
    """Texts in batches."""

    def setup(self, device: str) -> None:
        """Called in the worker."""
        self.answering = Model(ServerOptions.read())

    def decode_request(self, request: dict[str, str]) -> str:
        """The text of one request."""
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        """As they are; the default would make an array of them."""
        return list(inputs)

    def predict(self, x: list[str]) -> list[dict[str, Any]]:
        """One answer a text."""
        return self.answering.answer(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As they are."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """One answer."""
        return output


if __name__ == "__main__":
    options = ServerOptions.read()
    api = Api(max_batch_size=options.batch, batch_timeout=options.wait_ms / 1000)
    accelerator = "cuda" if options.on_gpu else "cpu"
    server = litserve.LitServer(api, accelerator=accelerator, devices=1, workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=options.port, num_api_servers=1, generate_client_file=False, log_level="warning")
