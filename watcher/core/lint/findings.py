"""What lint says, and every code that it can say it with. A code never changes its meaning, and is never used again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding. `fixed` ones cannot be silenced: the file does not say what it should, or cannot be read."""

    severity: Severity
    title: str
    fixed: bool = False
    needs: Literal["", "application", "prometheus"] = ""
    """What has to be looked at as well before it can be found."""


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "BW001": Code("error", "the file is not what its schema allows", fixed=True),
        "BW002": Code("error", "a placeholder cannot be rendered", fixed=True),
        "BW003": Code("error", "an Application and its rules do not go together", fixed=True),
        "BW004": Code("error", "a secret stands in the clear", fixed=True),
        "BW101": Code("error", "the query is not PromQL"),
        "BW102": Code("warning", "the query is too large to be looked into"),
        "BW103": Code("error", "the query gives no numbers"),
        "BW104": Code("warning", "the query may give several series"),
        "BW201": Code("error", "nothing selects the new colour"),
        "BW202": Code("error", "a colour is written out"),
        "BW203": Code("warning", "nothing selects the namespace"),
        "BW204": Code("warning", "the query asks for no metric"),
        "BW301": Code("error", "a counter without rate or increase"),
        "BW302": Code("warning", "rate or increase of what is no counter"),
        "BW303": Code("error", "the window holds too few scrapes"),
        "BW304": Code("warning", "the query reaches back before the switch"),
        "BW305": Code("error", "the rate of a sum"),
        "BW401": Code("error", "the numerator can be empty"),
        "BW402": Code("warning", "no data while nothing fails"),
        "BW403": Code("error", "a gap looks like a number"),
        "BW404": Code("warning", "a share without a floor of traffic"),
        "BW405": Code("warning", "division by what can be zero"),
        "BW406": Code("error", "histogram_quantile without le"),
        "BW407": Code("error", "a quantile outside of 0 to 1"),
        "BW501": Code("error", "the threshold cannot be reached"),
        "BW502": Code("error", "the threshold is always passed"),
        "BW503": Code("error", "threshold and query have different units"),
        "BW601": Code("error", "the rule can never fire within the watch", needs="application"),
        "BW701": Code("error", "the metric does not exist", needs="prometheus"),
        "BW702": Code("error", "the label does not exist on the metric", needs="prometheus"),
        "BW703": Code("error", "Prometheus does not take the query", needs="prometheus"),
        "BW704": Code("warning", "the query gives several series now", needs="prometheus"),
        "BW705": Code("warning", "the query is expensive", needs="prometheus"),
        "BW706": Code("error", "the metric's type is another", needs="prometheus"),
        "BW707": Code("error", "the threshold lies above the histogram's top bucket", needs="prometheus"),
        "BW708": Code("warning", "the query gives nothing for either colour", needs="prometheus"),
        "BW901": Code("warning", "an ignore that silences nothing", fixed=True),
        "BW902": Code("error", "an ignore of a code that there is not, or that cannot be ignored", fixed=True),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong or doubtful. Line and column count from 1. `rule` is `set/rule`, or empty."""

    file: str
    line: int
    column: int
    code: str
    problem: str
    cure: str
    rule: str = ""

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.severity}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """What is wrong with which rule, and what to write instead."""
        return f"{f'{self.rule}: ' if self.rule else ''}{self.problem}: {self.cure}"


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding whose place is still an offset into the query it was made on."""

    code: str
    start: int
    problem: str
    cure: str
