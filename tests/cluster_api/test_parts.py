"""The parts of the API that are pure functions, and the store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from watcher.demo.cluster import jsonpath
from watcher.demo.cluster.errors import ApiError
from watcher.demo.cluster.patch import json_patch, merge_patch, same
from watcher.demo.cluster.pod_table import pod_status
from watcher.demo.cluster.resources import CONFIG_MAP, SECRET
from watcher.demo.cluster.selectors import label_selector, labels_match
from watcher.demo.cluster.store import HISTORY, Conflict, Gone, Store
from watcher.demo.cluster.strategic import strategic_merge
from watcher.demo.cluster.times import duration


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a/b": 1, "m~n": 2}, [{"op": "replace", "path": "/a~1b", "value": 3}], {"a/b": 3, "m~n": 2}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}),
        ({}, [{"op": "test", "path": "/a", "value": None}], {}),
    ],
)
def test_json_patch(before: Any, operations: list[Any], after: Any) -> None:
    kept = str(before)
    assert json_patch(before, operations) == after
    assert str(before) == kept


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "replace", "path": "/l/-", "value": 1},
        {"op": "remove", "path": ""},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/b"},
        {"op": "move", "from": "/l", "path": "/l/0"},
        {"op": "frobnicate", "path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_apply(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refusal:
        json_patch({"a": 1, "l": [1]}, [operation])
    assert refusal.value.code == 422


@pytest.mark.parametrize(
    ("target", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_as_in_the_rfc(target: Any, patch: Any, after: Any) -> None:
    assert merge_patch(target, patch) == after


def test_true_is_not_one() -> None:
    assert not same(True, 1)
    assert same({"a": [1]}, {"a": [1.0]})


@pytest.mark.parametrize(
    ("target", "patch", "after"),
    [
        (
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "a", "image": "x"}],
            },
            {"containers": [{"name": "b"}, {"name": "a", "image": "x"}]},
        ),
        (
            {"containers": [{"name": "a"}, {"name": "theirs"}]},
            {
                "$setElementOrder/containers": [{"name": "new"}, {"name": "a"}],
                "containers": [{"name": "new", "image": "x"}],
            },
            {"containers": [{"name": "new", "image": "x"}, {"name": "a"}, {"name": "theirs"}]},
        ),
        (
            {"metadata": {"finalizers": ["x", "y"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]}},
            {"metadata": {"finalizers": ["y", "z"]}},
        ),
        ({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}),
        ({"env": [{"name": "A"}]}, {"env": [{"$patch": "replace"}, {"name": "B"}]}, {"env": [{"name": "B"}]}),
        ({"emptyDir": {}, "a": 1}, {"emptyDir": {"$patch": "delete"}}, {"a": 1}),
        ({"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, {"ports": [{"port": 2}]}),
    ],
)
def test_strategic_merge(target: Any, patch: Any, after: Any) -> None:
    assert strategic_merge(target, patch) == after


def test_a_strategic_patch_needs_the_merge_key() -> None:
    with pytest.raises(ApiError) as refusal:
        strategic_merge({"containers": []}, {"containers": [{"image": "x"}]})
    assert refusal.value.code == 500


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        (".a.none", []),
        (".l[0].n", ["x"]),
        (".l[-1].n", ["y"]),
        (".l[*].n", ["x", "y"]),
        ('.l[?(@.n=="y")].v', [2]),
        (".l[?(@.n!='y')].v", [1]),
        (r".k\.dot", ["dotted"]),
        ("['k.dot']", ["dotted"]),
    ],
)
def test_json_path(path: str, found: list[Any]) -> None:
    document = {"a": {"b": 1}, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "k.dot": "dotted"}
    assert jsonpath.valid(path)
    assert jsonpath.find(document, path) == found


@pytest.mark.parametrize("path", ["", "a.b", ".a[", ".a[?(@.b)]"])
def test_what_is_no_json_path(path: str) -> None:
    assert not jsonpath.valid(path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (660, "11m"),
        (3 * 3600, "3h"),
        (4 * 3600 + 300, "4h5m"),
        (30 * 3600, "30h"),
        (50 * 3600, "2d2h"),
        (20 * 86400, "20d"),
        (800 * 86400, "2y70d"),
        (-100, "<invalid>"),
    ],
)
def test_durations_as_kubectl_prints_them(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Running", "containerStatuses": [{"ready": True, "state": {"running": {}}}]}, "Running"),
        (
            {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
            },
            "OOMKilled",
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ExitCode:3"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({}, "Pending"),
    ],
)
def test_the_status_word_of_a_pod(status: dict[str, Any], word: str) -> None:
    pod: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}, "status": status}
    assert pod_status(pod) == word
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pod_status(pod) == "Terminating"


def test_a_selector_object_selects_like_its_written_form() -> None:
    selector = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["2"]}]}
    for labels in ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "3"}, {"a": "1", "b": "3"}):
        written = all(match(labels) for match in label_selector("a=1,b notin (2)"))
        assert labels_match(selector, labels) is written
    assert not labels_match(None, {})


@pytest.fixture
def store() -> Store:
    made = Store()
    made.register(CONFIG_MAP)
    made.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "n"}})
    return made


def test_nobody_outside_holds_an_object_of_the_store(store: Store) -> None:
    store.get(CONFIG_MAP, "n", "a")["metadata"]["name"] = "spoiled"
    store.objects(CONFIG_MAP)[0]["metadata"]["name"] = "spoiled"
    store.since(1)[0].object["metadata"]["name"] = "spoiled"
    assert store.get(CONFIG_MAP, "n", "a")["metadata"]["name"] == "a"


def test_what_stands_in_two_places_is_copied_twice(store: Store) -> None:
    labels = {"app": "web"}
    body = {"metadata": {"name": "b", "namespace": "n", "labels": labels, "annotations": labels}}
    made = store.create(CONFIG_MAP, body)
    made["metadata"]["labels"]["app"] = "changed"
    assert made["metadata"]["annotations"] == {"app": "web"}


def test_a_stale_write_is_refused_and_a_same_one_makes_no_change(store: Store) -> None:
    stale = store.get(CONFIG_MAP, "n", "a")
    assert store.replace(CONFIG_MAP, stale)["metadata"]["resourceVersion"] == stale["metadata"]["resourceVersion"]
    store.replace(CONFIG_MAP, {**stale, "data": {"x": "1"}})
    with pytest.raises(Conflict):
        store.replace(CONFIG_MAP, {**stale, "data": {"x": "2"}})


def test_the_last_finalizer_carries_the_deletion_out(store: Store) -> None:
    store.update(CONFIG_MAP, "n", "a", lambda found: found["metadata"].update(finalizers=["one", "two"]))
    store.delete(CONFIG_MAP, "n", "a")
    store.update(CONFIG_MAP, "n", "a", lambda found: found["metadata"].update(finalizers=["two"]))
    assert store.find(CONFIG_MAP, "n", "a") is not None
    store.update(CONFIG_MAP, "n", "a", lambda found: found["metadata"].update(finalizers=[]))
    assert store.find(CONFIG_MAP, "n", "a") is None
    assert [change.type for change in store.since(1)] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]


def test_a_dry_run_leaves_no_trace(store: Store) -> None:
    version = store.version
    store.create(CONFIG_MAP, {"metadata": {"name": "b", "namespace": "n"}}, dry_run=True)
    store.replace(CONFIG_MAP, {**store.get(CONFIG_MAP, "n", "a"), "data": {"x": "1"}}, dry_run=True)
    assert (store.version, store.find(CONFIG_MAP, "n", "b")) == (version, None)


def test_the_history_has_an_end_and_no_future(store: Store) -> None:
    start = store.version
    for number in range(HISTORY):
        store.update(CONFIG_MAP, "n", "a", lambda found, number=number: found.update(data={"n": str(number)}))  # type: ignore[misc]
    assert len(store.since(start)) == HISTORY
    for version in (start - 1, store.version + 1):
        with pytest.raises(Gone):
            store.since(version)


def test_waiting_ends_with_the_next_change(store: Store) -> None:
    async def scenario() -> None:
        waiting = asyncio.ensure_future(store.wait(store.version))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.delete(CONFIG_MAP, "n", "a")
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scenario())


def test_a_listener_is_woken_by_what_concerns_it_and_by_nothing_else(store: Store) -> None:
    store.register(SECRET)

    async def scenario() -> None:
        with store.listening(CONFIG_MAP, "n") as near, store.listening(CONFIG_MAP) as everywhere:
            waiting = [asyncio.ensure_future(listener.wait()) for listener in (near, everywhere)]
            store.create(SECRET, {"metadata": {"name": "a", "namespace": "n"}})
            await asyncio.sleep(0)
            assert [one.done() for one in waiting] == [False, False]

            store.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "elsewhere"}})
            elsewhere = store.version
            await asyncio.wait_for(waiting[1], 5)
            assert not waiting[0].done()

            store.delete(CONFIG_MAP, "n", "a")
            await asyncio.wait_for(waiting[0], 5)
            assert (near.take(), everywhere.take()) == (store.version, elsewhere), "the first that it has not taken"
            assert (near.take(), everywhere.take()) == (None, None)

            waiting = [asyncio.ensure_future(listener.wait()) for listener in (near, everywhere)]
            store.unregister(CONFIG_MAP)
            await asyncio.wait_for(asyncio.gather(*waiting), 5)
            assert (near.take(), everywhere.take()) == (None, None)

    asyncio.run(scenario())
