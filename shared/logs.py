"""Structured logs: JSON lines when nobody watches, colours when someone does; libraries' own lines are kept quiet."""

import logging
import sys
from typing import Any

import structlog

from shared.settings import ServiceSettings

QUIET_LOGGERS = ("kafka", "urllib3", "httpx", "filelock", "fsspec")


def configure_logging(settings: ServiceSettings, service: str) -> None:
    """Sends every log line of this process, the libraries' too, through structlog to standard error."""
    level = getattr(logging, settings.log_level.upper())
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())

    def name_service(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        # Not a context variable: those do not reach other threads.
        return {"service": service} | event

    shared: list[Any] = [
        name_service,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.ERROR))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
