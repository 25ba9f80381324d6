"""What an adapter raises, whatever client library it wraps: four kinds, because callers can do four different things.

The message is always one sentence for people without secrets; the library's own error is chained as the cause.
"""

from __future__ import annotations


class AdapterError(Exception):
    """The root: something outside this process did not do what was asked of it."""


class Transient(AdapterError):
    """Nothing was changed, and asking again later may help: an outage, a time-out, a throttled request.

    `retry_after` is how many seconds the other side asks to be left alone; 0 when it does not say.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(AdapterError):
    """Somebody else changed the object first: read it again, compare, then decide."""


class OutcomeUnknown(AdapterError):
    """A change was sent and no answer came back, so it may have happened: read again before anything else."""


class Fatal(AdapterError):
    """Asking again will not help until a person changes something: missing rights, a bad file, a refused request."""
