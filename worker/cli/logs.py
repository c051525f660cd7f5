"""Logs go to stderr: text for people, JSON for collectors. Never prompts, answers or keys."""

import logging
import sys

import structlog

from worker.settings import Settings


def configure(settings: Settings) -> None:
    """Set structlog and the standard library's logging up for this process."""
    tty = sys.stderr.isatty()
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if settings.log_format == "json" else "%H:%M:%S"),
    ]
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        # Plain: the fancy ones print local variables, and with them prompts.
        else [structlog.dev.ConsoleRenderer(colors=tty, exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _standard_library(shared, last, max(level, logging.WARNING))


def _standard_library(
    shared: list[structlog.types.Processor], last: list[structlog.types.Processor], level: int
) -> None:
    """What libraries log (Temporal's SDK, aiohttp), in the same form, from warnings upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
