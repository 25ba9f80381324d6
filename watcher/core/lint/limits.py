"""What is wrong with a threshold for the numbers that its query gives: never past it, always past it, another unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watcher.core.lint.findings import Remark
from watcher.core.lint.shapes import Range, Unit, range_of, unit_of
from watcher.core.lint.tree import Expr
from watcher.core.rules import Threshold
from watcher.core.units import Quantity

_DIMENSIONS: Mapping[str, str] = {
    **dict.fromkeys(("us", "ms", "s", "min", "h", "d"), "time"),
    "%": "share",
    **dict.fromkeys(("B", *(f"{prefix}{end}" for prefix in "kKMGTP" for end in ("B", "iB", "i"))), "size"),
}
_OF_UNIT: Mapping[Unit, str] = {"s": "time", "ms": "time", "B": "size", "B/s": "size per time"}
_SHOWN: Mapping[Unit, str] = {"s": "seconds", "ms": "milliseconds", "B": "bytes", "B/s": "bytes per second"}


def remarks(tree: Expr, threshold: Threshold) -> Iterator[Remark]:
    """What is wrong with the threshold; offsets say nothing here, the threshold is the place."""
    numbers = range_of(tree)
    mismatch = _unit_mismatch(unit_of(tree), numbers, threshold)
    if mismatch is not None:
        yield mismatch
    elif _never(numbers, threshold):
        yield Remark("BW501", 0, f"no number of this query is {_past(threshold)}", _reachable(numbers, threshold))
    elif _always(numbers, threshold):
        yield Remark("BW502", 0, f"every number of this query is {_past(threshold)}", _between(numbers))


def _past(threshold: Threshold) -> str:
    if threshold.outside is not None:
        return f"outside of {threshold.limit}"
    return f"{'above' if threshold.above is not None else 'below'} {threshold.limit}"


def _never(numbers: Range, threshold: Threshold) -> bool:
    low, high = threshold.range
    too_high = numbers.high <= high.number
    too_low = numbers.low >= low.number
    if threshold.outside is not None:
        return too_high and too_low
    return too_high if threshold.above is not None else too_low


def _always(numbers: Range, threshold: Threshold) -> bool:
    low, high = threshold.range
    above = numbers.low > high.number
    under = numbers.high < low.number
    if threshold.outside is not None:
        return above or under
    return above if threshold.above is not None else under


def _reachable(numbers: Range, threshold: Threshold) -> str:
    limit = threshold.range[1]
    if numbers.high == 1 and not limit.unit and 1 <= limit.number < 100 and threshold.above is not None:
        return f'did you mean "{limit}%"?'
    return _between(numbers)


def _between(numbers: Range) -> str:
    return f"its numbers lie between {_number(numbers.low)} and {_number(numbers.high)}"


def _number(value: float) -> str:
    return "infinity" if value == float("inf") else "-infinity" if value == float("-inf") else f"{value:g}"


def _unit_mismatch(unit: Unit, numbers: Range, threshold: Threshold) -> Remark | None:
    given = next((limit for limit in threshold.range if limit.unit), None)
    if given is None:
        return None
    if given.unit == "%" and numbers == Range(0.0, 100.0):
        problem = f"the query gives 0 to 100, and {given} is {given.number:g}"
        return Remark("BW503", 0, problem, 'take "100 *" out of the query')
    dimension = _dimension(given)
    if unit == "ms" and dimension == "time":
        problem = f"the query gives milliseconds, and {given} is {given.number:g} (values are in seconds)"
        return Remark("BW503", 0, problem, f'write "{given.number * 1000:g}", or divide the query by 1000')
    wanted = _OF_UNIT.get(unit)
    if wanted is None or not dimension or dimension == wanted:
        return None
    return Remark("BW503", 0, f"the query gives {_SHOWN[unit]}, and {given} is none", "write a limit in that unit")


def _dimension(given: Quantity) -> str:
    base, slash, _ = given.unit.partition("/")
    dimension = _DIMENSIONS.get(base, "")
    return f"{dimension} per time" if slash and dimension else dimension
