"""What a Release keeps of the alerts that are reported: `hear(release, report, by, now) -> (status, done)`.

What always holds: the same report heard again changes nothing; only what the Application meant when the Release began
is kept, and only what began after the flip; what is resolved stays so, unless it begins anew; what finds no room counts
as left out. What follows from it the step decides (lifecycle/alerted.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from watcher.core.alerts import (
    STRENGTH,
    Action,
    Alert,
    AlertUse,
    Heard,
    Incomplete,
    Report,
    action_for,
    labels_of,
    may_hide,
)
from watcher.core.release import Phase, Release, Status

MOST = 100
"""How many alerts a Release keeps."""
MOST_GROUPS = 20
"""How many groups that are incomplete."""
MORE = "more"
"""In the place of a group: what found no room here."""
RENEWED = timedelta(seconds=60)
"""How often it is written again that a group is still incomplete."""


def hear(release: Release, report: Report, by: str, now: datetime) -> tuple[Status, list[tuple[Alert, Action]]]:
    """The status with what the report adds to it, and which alerts were heard that were not known."""
    uses, since = meant_by(release), counted_from(release)
    if not uses or since is None:
        return release.status, []
    status, known, lost = release.status, list(release.status.alerts), 0
    done: list[tuple[Alert, Action]] = []
    about = (release.namespace, release.spec.application)
    meant = [(alert, action) for alert in report.alerts if alert.about(*about) and (action := action_for(uses, alert))]
    for alert, action in sorted(meant, key=lambda found: STRENGTH.index(found[1])):
        if alert.status == "resolved":
            new = _resolved(known, alert, now)
        elif not _counts(known, alert, since):
            continue
        else:
            new, without = _with(known, _heard(uses, alert, action, by, report.group, now))
            lost += without
        if new != known:
            known = new
            done.append((alert, action))
    incomplete = status.incomplete_alerts
    if report.group:
        left_out = report.left_out if may_hide(uses, report) else 0
        was = any(one.group == report.group for one in incomplete)
        incomplete = _incomplete(incomplete, report.group, left_out, by, now)
        if was and not left_out:
            named = {alert.known_by for alert in report.alerts}
            known = [
                _gone(one, now) if one.group == report.group and one.fingerprint not in named else one for one in known
            ]
    if lost:
        incomplete = _incomplete(incomplete, MORE, lost, by, now)
    return status.model_copy(update={"alerts": tuple(known), "incomplete_alerts": incomplete}), done


def meant_by(release: Release) -> Sequence[AlertUse]:
    """Which alerts count: those that the Application named when the Release began."""
    return release.status.pinned.application.spec.alerts if release.status.pinned else ()


def counted_from(release: Release) -> datetime | None:
    """What began after this may count. While the flip is asked for and not seen yet, it may be after it: the step,
    which knows then, decides. None where no traffic has moved, or it goes back already."""
    status = release.status
    if release.phase in (Phase.VERIFYING, Phase.WATCHING):
        return status.switched_at
    if release.phase is not Phase.SWITCHING:
        return None
    begun = status.flips[0] if status.flips else status.intent
    return begun.at if begun else None


def _counts(known: Sequence[Heard], alert: Alert, since: datetime) -> bool:
    began = alert.began
    if began is None or began <= since:
        return False
    same = [one for one in known if one.fingerprint == alert.known_by]
    return all(one.over is not None and began > one.over for one in same)


def _heard(uses: Sequence[AlertUse], alert: Alert, action: Action, by: str, group: str, now: datetime) -> Heard:
    began = alert.began
    assert began is not None
    return Heard(
        name=alert.name,
        state="firing",
        action=action,
        fingerprint=alert.known_by,
        starts_at=began,
        heard_at=now,
        labels=labels_of(uses, alert),
        summary=alert.summary,
        by=by,
        group=group,
    )


def _resolved(known: Sequence[Heard], alert: Alert, now: datetime) -> list[Heard]:
    began = alert.began
    return [
        one.model_copy(update={"state": "resolved", "over": began, "resolved_at": now})
        if one.state == "firing" and one.fingerprint == alert.known_by and began and began >= one.starts_at
        else one
        for one in known
    ]


def _gone(one: Heard, now: datetime) -> Heard:
    """One that a group, now that it is complete again, does not name any more."""
    if one.state == "resolved":
        return one
    return one.model_copy(update={"state": "resolved", "over": one.starts_at, "resolved_at": now})


def _with(known: Sequence[Heard], new: Heard) -> tuple[list[Heard], int]:
    """With one more; and how many found no room. What is over makes room first, then what only tells, the newest first:
    so a storm is not written again and again."""
    room = [*known, new]
    if len(room) <= MOST:
        return room, 0
    least = max(reversed(room), key=_least)
    return [one for one in room if one is not least], 0 if least.state == "resolved" else 1


def _least(one: Heard) -> tuple[bool, int]:
    return one.state == "resolved" and one.action != "rollback", STRENGTH.index(one.action)


def _incomplete(
    known: tuple[Incomplete, ...], group: str, left_out: int, by: str, now: datetime
) -> tuple[Incomplete, ...]:
    if group not in {one.group for one in known} and len(known) >= MOST_GROUPS - 1 and left_out:
        group = MORE
    before = next((one for one in known if one.group == group), None)
    others = tuple(one for one in known if one is not before)
    if not left_out:
        return others
    if before is None:
        return (*others, Incomplete(group=group, left_out=left_out, since=now, at=now, by=by))
    if now - before.at < RENEWED and (group == MORE or before.left_out == left_out):
        return known
    return (*others, before.model_copy(update={"left_out": left_out, "at": now, "by": by}))
