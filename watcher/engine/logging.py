"""One way of logging for all: JSON where a machine reads, one readable line on a terminal; secrets cut out of both."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

from watcher.adapters.secrets import REDACTOR

_SECRET_KEY = re.compile(r"token|secret|password|passwd|authorization|api[-_]?key|cookie", re.IGNORECASE)
_SECRET_TEXT = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [cut]"),
    # The scheme's length is bounded: without, a long word without spaces would cost its length squared.
    (re.compile(r"([a-z][a-z0-9+.-]{0,30}://)[^/\s:@]+:[^/\s@]+@"), r"\1[cut]@"),
)


def configure_logging(form: Literal["auto", "json", "text"], level: str) -> None:
    """Route structlog and the standard library's logging to stderr in one form."""
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        # Without local variables: they may hold secrets.
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        errors: Any = structlog.processors.ExceptionRenderer(transformer)
        last: Any = structlog.processors.JSONRenderer()
    else:
        errors = structlog.processors.format_exc_info
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            errors,
            # After the errors have become text: what they say may be what must not be shown.
            redact,
            last,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("apscheduler", "urllib3", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what looks like a secret, by its key or by its form."""
    for key, value in event.items():
        event[key] = "[cut]" if _SECRET_KEY.search(key) and isinstance(value, str) else _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        value = REDACTOR.cut(value)
        for pattern, instead in _SECRET_TEXT:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, Mapping):
        return redact(None, "", {str(key): inner for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return [_redacted(inner) for inner in value]
    return value
