"""The job's summary: what was decided, why, on which numbers, what moved when, and what to do next.

What always holds: whatever comes from elsewhere stands in it as text, never as markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from action import view
from action.ends import Json

SAFE = frozenset(" .,;()/+-%'\"=")
MOST_OUTPUT = 20_000

NEXT = {
    "Completed": "Nothing. The previous colour stays up for its keep-time; until then {rollback} is a flip away.",
    "RolledBack": "Traffic is back. This version stays out: mend it and release another one, or release it again with "
    "the input force once the cause is known not to be the version. The rule's query above shows what it saw.",
    "Failed": "Traffic has not moved. Mend what is named above, and run the workflow again.",
    "Aborted": "Traffic has not moved, or is back. Run the workflow again when it is wanted.",
    "Superseded": "Somebody else moved the selector, and it was left there. Look at which colour serves, then run the "
    "workflow again.",
    "AwaitingApproval": "Tests have passed and traffic has not moved. Let a step with the command approve run, or "
    "{abort}; unapproved it ends by itself.",
    "": "The Release goes on without this job. Follow it with the command wait, or {show}.",
}
REFUSED = {
    "Quarantined": "These images were rolled back before. Release others, or say force.",
    "AnotherReleaseRunning": "Wait for the other Release, or let the Application queue (whileRunning: queue).",
    "UnknownApplication": "Look at the names, and at whether the daemon has the Application's file.",
    "UnknownContainer": "Look at the input images: its left sides are names of containers in the Deployment.",
    "NoImages": "Give the input images a line for each container that changes.",
}


def text(value: object) -> str:
    """Text that is no markup: all but letters, digits and harmless signs as numbers."""
    return "".join(c if c.isalnum() or c in SAFE else f"&#{ord(c)};" if c.isprintable() else " " for c in str(value))


def of(release: Json, headline: str) -> str:
    """The whole summary."""
    return "\n".join(_lines(release, headline)) + "\n"


def trouble(title: str, message: str, details: Sequence[str]) -> str:
    """The summary of a step that came to no Release."""
    return "\n".join([f"## {text(title)}", "", text(message), "", *(f"- {text(line)}" for line in details), ""])


def _lines(release: Json, headline: str) -> Iterator[str]:
    spec, told = release.get("spec") or {}, view.status(release)
    subject = " ".join(filter(None, (view.word(spec, "application"), view.word(spec, "version"))))
    yield f"## {text(subject)}: {text(headline)}"
    yield ""
    yield f"**{text(view.word(told, 'message') or 'Nothing is known of it yet.')}**"
    yield ""
    colors = view.colors(release)
    facts = [
        ("Release", view.full_name(release)),
        ("Verdict", view.word(told, "verdict")),
        ("Why", view.word(told, "reason")),
        ("Serves", view.live(release)),
        ("Served before", view.word(colors, "from")),
        ("Asked for by", view.word(spec, "requestedBy")),
    ]
    yield from table(("", ""), [row for row in facts if row[1]])
    yield from _rules(told)
    yield from _flips(told)
    yield from _checks(told)
    conditions = [
        (view.word(one, "type"), view.word(one, "message"))
        for one in view.items(told, "conditions")
        if one.get("status") == "True"
    ]
    if conditions:
        yield from ("### To know", "")
        yield from table(("condition", "says"), conditions)
    yield from ("### What to do next", "", _next(release), "")


def _rules(told: Json) -> Iterator[str]:
    rules = view.items(told, "rules")
    if not rules:
        return
    yield from ("### Rules", "")
    shown = [
        (
            view.word(r, "name"),
            view.word(r, "outcome"),
            view.value(r),
            view.word(r, "threshold"),
            view.word(r, "message"),
        )
        for r in rules
    ]
    yield from table(("rule", "outcome", "value", "breached when", "said"), shown)
    for rule in rules:
        if view.word(rule, "outcome") != "pass" and view.word(rule, "query"):
            yield f"<details><summary>The query of {text(view.word(rule, 'name'))}</summary>"
            yield from _verbatim(view.word(rule, "query"))
            yield from ("</details>", "")


def _flips(told: Json) -> Iterator[str]:
    flips = [
        (
            view.word(f, "at").replace("T", " ")[:23],
            *(view.word(f, name) for name in ("service", "from", "to", "reason")),
        )
        for f in view.items(told, "flips")
    ]
    if flips:
        yield from ("### Flips", "")
        yield from table(("when (UTC)", "Service", "from", "to", "why"), flips)


def _checks(told: Json) -> Iterator[str]:
    checks = view.items(told, "checks")
    if not checks:
        return
    yield from ("### Checks", "")
    shown = [(view.word(c, "id"), "passed" if c.get("ok") else "FAILED", view.word(c, "message")) for c in checks]
    yield from table(("check", "result", "said"), shown)
    for check in checks:
        if not check.get("ok") and view.word(check, "output"):
            yield f"What {text(view.word(check, 'id'))} printed:"
            yield from _verbatim(view.word(check, "output")[-MOST_OUTPUT:])


def _next(release: Json) -> str:
    told = view.status(release)
    reason, phase = view.word(told, "reason"), view.word(told, "phase")
    spec = release.get("spec") or {}
    namespace, name = view.word(release, "namespace"), view.word(release, "name")
    commands = {
        "rollback": f"watcher rollback {view.word(spec, 'application')} -n {namespace}",
        "abort": f"watcher release abort {name} -n {namespace}",
        "show": f"watcher release show {name} -n {namespace} --evidence",
    }
    advice = (REFUSED.get(reason) if phase == "Failed" else None) or NEXT.get(phase, NEXT[""])
    found = advice.format(**{verb: f"<code>{text(command)}</code>" for verb, command in commands.items()})
    return found if commands["show"] in found else f"{found} Its whole story: <code>{text(commands['show'])}</code>"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(text(cell) for cell in row)} |"
    yield ""


def _verbatim(lines: str) -> Iterator[str]:
    kept = "".join(c if c.isprintable() or c == "\n" else " " for c in lines)
    yield from ("", f"<pre>{html.escape(kept)}</pre>", "")
