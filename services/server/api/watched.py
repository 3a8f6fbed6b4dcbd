"""What the application sends, seen on its way: for whoever goes around it and must know how it ended."""

from http import HTTPStatus

from starlette.types import Message, Send


class Watched:
    """Sends on, and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False
        self.status: int = HTTPStatus.INTERNAL_SERVER_ERROR.value  # that of an application that never answers

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
