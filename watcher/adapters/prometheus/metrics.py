"""The metrics port: `query` answers every query that it was given, whatever the server does, and in bounded time.

How one bad query never blinds the others: queries travel merged; a merged request that the server refuses is halved and
asked again until the bad one stands alone. How an outage does not become a hundred requests: when nobody can be reached
the whole batch has failed, and when it is unclear whose fault a failure is, one trivial query finds out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from watcher.adapters.prometheus.client import Blame, Client, Problem, Rows
from watcher.adapters.prometheus.merging import Span, groups, join, kind_of, means_the_range, merge, part
from watcher.adapters.prometheus.settings import PrometheusSettings
from watcher.core.readings import Answer, Failed, NoData, Query, Series

MAX_SPLITS = 64  # requests that halving may cost in one inquiry, however many queries are bad
MAX_SINGLED = 16  # expressions known to be bad that are asked apart at once
LEAST_PATIENCE = 0.05  # seconds; a request with less is not worth sending
PROBE = "vector(1)"


class PrometheusMetrics:
    """Thread-safe. What failed is not asked again: the next tick asks for all since the last evaluated time anyway."""

    def __init__(self, settings: PrometheusSettings, asked: Callable[[float, str], None] = lambda *_: None) -> None:
        """`asked` is called for each request with its seconds and whose fault it was (query, server, unclear); empty
        when it was answered.
        """
        self._settings, self._asked = settings, asked
        self.reachable = True
        """Whether the last questions were answered, or at least refused."""
        self._lock = threading.Lock()
        self._idle: list[Client] = []
        self._singled: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"PrometheusMetrics({self._settings!r})"

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def query(
        self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta, *, within: float | None = None
    ) -> dict[str, Answer]:
        """Evaluate all queries at `start + k * step` up to `end` (aware datetimes); one Answer for every id.

        A point's key is exactly `(start + k * step).timestamp()`. `within` bounds the whole call, in seconds (default:
        twice the time-out of one request). Raises ValueError for arguments that mean nothing, never for server trouble.
        """
        span = Span.over(start, end, step)
        by_id: dict[str, str] = {}
        for query in batch:
            if by_id.setdefault(query.id, query.expr) != query.expr:
                raise ValueError(f"two different queries have the id {query.id!r}")
        answers = self._answers(list(dict.fromkeys(by_id.values())), span, within)
        return {name: answers[expr] for name, expr in by_id.items()}

    def instant(self, expr: str, at: datetime, *, within: float | None = None) -> Answer:
        """Evaluate one expression at one time."""
        return self.query([Query("instant", expr)], at, at, timedelta(seconds=1), within=within)["instant"]

    def ready(self, *, within: float | None = None) -> Failed | None:
        """Ask a trivial query, in `within` seconds: None when the server is up, reachable, and lets us in."""
        now = datetime.now(UTC)
        with self._client() as client:
            outcome = client.ask(PROBE, Span.over(now, now, timedelta(seconds=1)), within or self._settings.timeout)
        return outcome.failed if isinstance(outcome, Problem) else None

    def _answers(self, exprs: list[str], span: Span, within: float | None) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        pieces = span.pieces()
        if len(pieces) > 1:
            refused = (
                "The range is too long for one request, and `@ start()` or `@ end()` would change in pieces of it."
            )
            answers = {expr: Failed(refused, transient=False) for expr in exprs if means_the_range(expr)}
        give_up = time.monotonic() + (2 * self._settings.timeout if within is None else within)
        with self._client() as client:
            for piece in pieces:
                asked = [expr for expr in exprs if not isinstance(answers.get(expr), Failed)]
                inquiry = _Inquiry(client, piece, self._settings.timeout, give_up, self._asked)
                got = inquiry.run(asked, self._known_bad(asked))
                self.reachable = inquiry.server_answers or not asked
                answers |= {expr: join((answers[expr], new)) if expr in answers else new for expr, new in got.items()}
                self._remember(inquiry.singled, inquiry.answered)
        return answers

    def _known_bad(self, exprs: Sequence[str]) -> set[str]:
        """What spoilt a merged request before, and so is asked apart instead of spoiling each one again."""
        with self._lock:
            known = [expr for expr in exprs if expr in self._singled]
        return set(known[:MAX_SINGLED])

    def _remember(self, bad: set[str], good: set[str]) -> None:
        with self._lock:
            for expr in good:
                self._singled.pop(expr, None)
            self._singled.update(dict.fromkeys(bad))
            while len(self._singled) > 1024:
                self._singled.pop(next(iter(self._singled)))

    @contextmanager
    def _client(self) -> Iterator[Client]:
        with self._lock:
            client = self._idle.pop() if self._idle else None
        client = client or Client(self._settings)
        try:
            yield client
        finally:
            with self._lock:
                self._idle.append(client)


class _Inquiry:
    """One span of times for many expressions: what is still to be asked, and what has been answered."""

    def __init__(
        self, client: Client, span: Span, timeout: float, give_up: float, asked: Callable[[float, str], None]
    ) -> None:
        self._client, self._asked = client, asked
        self._span = span
        self._timeout = timeout
        self._give_up = give_up
        self._to_ask: deque[tuple[str, ...]] = deque()
        self._answers: dict[str, Answer] = {}
        self._splits = MAX_SPLITS
        self.server_answers = False
        self.singled: set[str] = set()
        self.answered: set[str] = set()

    def run(self, exprs: Sequence[str], known_bad: set[str]) -> dict[str, Answer]:
        together = [expr for expr in exprs if expr not in known_bad and kind_of(expr) != "apart"]
        apart = [expr for expr in exprs if expr in known_bad or kind_of(expr) == "apart"]
        # Those that may fail come last, so that what they take of the time is not the others'.
        self._to_ask.extend(groups(together, self._span.points))
        self._to_ask.extend((expr,) for expr in apart)
        while self._to_ask:
            group = self._to_ask.popleft()
            patience = self._patience(last=len(group) == 1 and not self._to_ask)
            if patience < LEAST_PATIENCE:
                late = Failed("The time for all queries together was over before this one could be asked.")
                self._fail((group, *self._to_ask), late)
                break
            self._take(group, self._ask(merge(group), self._span, patience))
        return self._answers

    def _ask(self, expr: str, span: Span, patience: float) -> Rows | Problem:
        began = time.monotonic()
        outcome = self._client.ask(expr, span, patience)
        self._asked(time.monotonic() - began, outcome.blame.value if isinstance(outcome, Problem) else "")
        return outcome

    def _patience(self, *, last: bool) -> float:
        """Seconds for the next request: never all that is left, while others wait or this one may have to be split."""
        left = self._give_up - time.monotonic()
        return min(self._timeout, left if last else left / 2)

    def _take(self, group: tuple[str, ...], outcome: Rows | Problem) -> None:
        if isinstance(outcome, Rows):
            self.server_answers = True
            if not outcome.warnings and self._give_rows(group, outcome):
                return
            text = "; ".join(outcome.warnings) or "the answer does not fit the question"
            self._split(group, Failed(f"Prometheus answered with a warning: {text[:500].rstrip('.')}."))
        elif outcome.blame is Blame.SERVER or (outcome.blame is Blame.UNCLEAR and not self._up(group)):
            self._fail((group, *self._to_ask), outcome.failed)
            self._to_ask.clear()
        else:
            if outcome.blame is Blame.QUERY:
                self.server_answers = True
            self._split(group, outcome.failed)

    def _give_rows(self, group: tuple[str, ...], outcome: Rows) -> bool:
        """Hand each expression its rows; False when the answer cannot be told apart."""
        if len(group) == 1:
            parted, histograms = [outcome.rows], [bool(outcome.histograms)]
        else:
            try:
                parted = part(outcome.rows, len(group))
                histograms = [False] * len(group)
                for labels in outcome.histograms:
                    histograms[int(labels["watcher_rule"])] = True
            except (ValueError, KeyError, IndexError):
                return False
        for expr, rows, histogram in zip(group, parted, histograms, strict=True):
            if histogram:
                text = "The query gives native histograms, not numbers: wrap it in histogram_quantile or the like."
                self._answers[expr] = Failed(text, transient=False)
            else:
                self._answers[expr] = Series(rows) if rows else NoData()
        self.answered.update(group)
        return True

    def _split(self, group: tuple[str, ...], failed: Failed) -> None:
        if len(group) == 1:
            self._answers[group[0]] = failed
            self.singled.add(group[0])
        elif self._splits < 2:
            self._fail((group,), failed)
        else:
            self._splits -= 2
            middle = len(group) // 2
            self._to_ask.extend((group[:middle], group[middle:]))

    def _up(self, group: tuple[str, ...]) -> bool:
        """Whether the server answers at all, where that decides anything: then it was these queries' fault."""
        if self.server_answers or (len(group) == 1 and not self._to_ask):
            return True
        patience = self._patience(last=False)
        if patience >= LEAST_PATIENCE:
            probe = Span(self._span.start, self._span.step, 1)
            self.server_answers = isinstance(self._ask(PROBE, probe, patience), Rows)
        return self.server_answers

    def _fail(self, groups_: Sequence[tuple[str, ...]], failed: Failed) -> None:
        self._answers |= {expr: failed for group in groups_ for expr in group}
