"""What a command works with: the settings, completed with the addresses of the running local stack."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from deploy.local.endpoints import Endpoints, read_endpoints, with_endpoints
from services.control.server_client import server_client
from shared.errors import ConfigurationError, RetryableError
from shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from shared.registry import Registry

HTTP_SECONDS = 60.0


class ServerUnavailableError(RetryableError):
    """The prediction server did not answer."""


class RefusedError(ConfigurationError):
    """What was asked for cannot be done; the text says why."""


@dataclass(frozen=True)
class Session:
    """One call of `tidemill`."""

    home: Path | None
    prefix: str | None

    @cached_property
    def endpoints(self) -> Endpoints | None:
        """Addresses of the local stack, if it was ever started."""
        return read_endpoints(self.local.home)

    @cached_property
    def local(self) -> Settings:
        """The settings as configured, without the local stack's addresses."""
        overrides = {"home": self.home} if self.home else {}
        settings = load_settings(**overrides)
        if self.prefix is None:
            return settings
        stream = settings.stream.model_copy(update={"prefix": self.prefix})
        return settings.model_copy(update={"stream": stream})

    @cached_property
    def settings(self) -> Settings:
        """The settings with every address: what is configured wins over the local stack."""
        return with_endpoints(self.local)

    def registry(self) -> "Registry":
        """MLflow."""
        # Its library takes seconds to load, and few commands need it.
        from shared.registry import Registry

        return Registry(self.settings)

    def server_url(self) -> str:
        """The prediction server's address: the local stack's, else the configured host and port."""
        if self.endpoints is not None and self.endpoints.server_url:
            return self.endpoints.server_url
        return f"{self.settings.server.scheme}://{self.settings.server.host}:{self.settings.server.port}"

    def server_client(self, timeout_seconds: float = HTTP_SECONDS) -> httpx.Client:
        """A client of the prediction server; close it."""
        return server_client(self.server_url(), self.settings.server, timeout_seconds)

    def ask_server(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One HTTP request.

        Raises:
            ServerUnavailableError: Nobody answers there.
        """
        try:
            with self.server_client() as client:
                return client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServerUnavailableError(
                f"{self.server_url()}{path} does not answer ({error}); is the stack up? See 'tidemill status'"
            ) from error
