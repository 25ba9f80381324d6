"""The cluster that scripts/test-cluster brings up, the daemon in it, and a Prometheus and a receiver beside it.

What always holds: the tests run in the cluster's network; each scenario has a namespace of its own, and those that hurt
the daemon have one of their own, so that all may run at once, in several processes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.alertmanager import Alertmanager, shipped_alerts
from tests.cluster.daemon import DAEMON, Daemon
from tests.cluster.prometheus import Prometheus
from tests.cluster.receiver import Receiver
from tests.cluster.scene import Scene
from tests.cluster.seen import Seen
from tests.cluster.setting import setting_of, settings_of
from tests.cluster.stage import Platform
from tests.cluster.story import Story
from tests.cluster.together import together
from tests.cluster.waiting import kubectl, make_namespace, until
from tests.packaging.rendered import ROOT
from watcher.adapters.kubernetes.connection import Connection
from watcher.core.release import GROUP, PLURAL

NODE_ADDRESS = os.environ.get("CLUSTER_NODE_ADDRESS", "10.244.255.1")
"""Where pods reach what runs on the node."""
LONGEST = 420
"""Seconds for one test, its waiting for others included."""
FIGURE = "figure"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(setting): a story in a namespace of its own")
    config.addinivalue_line("markers", "node: needs the cluster's node to be this machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: they run beside the others then, and not after them."""
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.timeout(LONGEST))
    mine.sort(key=lambda item: item.get_closest_marker("slow") is None)
    items[:] = [*mine, *(item for item in items if item not in mine)]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The administrator's."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        pytest.fail("tests/cluster needs a cluster: run scripts/test-cluster", pytrace=False)
    return Path(given)


@pytest.fixture(scope="session")
def connection(kubeconfig: Path) -> Iterator[Connection]:
    found = Connection(kubeconfig)
    yield found
    found.close()


@pytest.fixture(scope="session")
def custom_resource(kubeconfig: Path) -> str:
    """The Release kind as it is here, whichever test comes first; its name for kubectl."""
    name = f"crd/{PLURAL}.{GROUP}"
    # Several workers may be the first at once: to apply is to look and then to create.
    file = str(ROOT / "deploy/crd.yaml")
    until(lambda: bool(kubectl("apply", "--filename", file, check=False)), "the custom resource to be taken")
    kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    return name


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of the tests have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def surroundings(kubeconfig: Path, common: Path) -> Iterator[dict[str, str]]:
    """Prometheus, and the receiver of notifications: one of each for all processes."""

    def begin(stack: ExitStack) -> dict[str, str]:
        told = common / "notifications.jsonl"
        receiver = Receiver(NODE_ADDRESS, told).start()
        stack.callback(receiver.close)
        prometheus = _prometheus(stack, kubeconfig, common)
        return {"prometheus": prometheus.url, "receiver": receiver.url, "told": str(told)}

    with together(common, "surroundings", begin) as found:
        yield found


@pytest.fixture(scope="session")
def daemon(
    request: pytest.FixtureRequest, connection: Connection, surroundings: dict[str, str], common: Path
) -> Iterator[Daemon]:
    """The image that was built, with the manifests that are shipped; it serves all scenarios that do not hurt it."""
    shared = [setting for setting in settings_of(request.session.items) if not setting.own_daemon]

    def begin(stack: ExitStack) -> dict[str, str]:
        make_namespace(DAEMON)
        stack.callback(_remove)
        found = Daemon.for_all(connection, shared, surroundings["prometheus"], surroundings["receiver"])
        found.wait()
        return {}

    with together(common, "daemon", begin):
        yield Daemon(connection, DAEMON)


@pytest.fixture
def story(
    request: pytest.FixtureRequest,
    kubeconfig: Path,
    custom_resource: str,
    connection: Connection,
    surroundings: dict[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> Iterator[Story]:
    """A scenario, in the setting that its marker gives. All that the daemon did there was allowed."""
    setting = setting_of(request.node)
    assert setting is not None, "a story needs the marker of a scenario"
    with ExitStack() as stack:
        seen = Seen(kubeconfig, setting.namespace)
        platform = Platform(setting, connection, seen)
        make_namespace(setting.namespace)
        stack.callback(platform.remove)
        stack.enter_context(seen)
        platform.create()
        alerts = _alertmanager(stack, tmp_path, surroundings["receiver"]) if setting.alerts else ""
        own = None
        if setting.own_prometheus:
            own = _prometheus(stack, kubeconfig, tmp_path, setting.namespace, alerts=alerts)
        if setting.own_daemon:
            url = own.url if own else surroundings["prometheus"]
            daemon = Daemon.for_one(connection, setting, url, surroundings["receiver"])
            daemon.wait()
            if own:
                own.scrape_daemon(daemon.pods())
        else:
            daemon = request.getfixturevalue("daemon")
        platform.wait()

        def note(text: str) -> None:
            record_property(FIGURE, f"{setting.name}: {text}")

        scene = Scene(platform, seen, daemon, Path(surroundings["told"]), note, own)
        stack.enter_context(scene.undo)
        yield Story(scene)
        assert daemon.refusals(setting.namespace) == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that were measured."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == FIGURE and report.when == "call":
                    terminalreporter.write_line(str(value))


def _remove() -> None:
    """What the daemon that serves many has in the cluster, all but the custom resource: other tests know it too."""
    label = f"--selector=app.kubernetes.io/name={DAEMON}"
    kubectl("delete", "clusterroles,clusterrolebindings", label, "--ignore-not-found")
    kubectl("delete", "namespace", DAEMON, "--ignore-not-found", "--wait=false")


def _prometheus(stack: ExitStack, kubeconfig: Path, directory: Path, *namespaces: str, alerts: str = "") -> Prometheus:
    """One that scrapes the pods of these namespaces, or of all; with the shipped alerts where it can tell them."""
    data = directory / "prometheus"
    data.mkdir()
    rules = shipped_alerts() if alerts else None
    found = Prometheus(data, kubeconfig, namespaces, _free_address(), alerts=rules, tells=alerts)
    stack.callback(found.close)
    return found.start()


def _alertmanager(stack: ExitStack, directory: Path, notify: str) -> str:
    """The address of one that tells the receiver."""
    found = Alertmanager(directory, _free_address(), notify)
    stack.callback(found.close)
    return found.start().address


def _free_address() -> str:
    with socket.socket() as free:
        free.bind((NODE_ADDRESS, 0))
        return f"{NODE_ADDRESS}:{free.getsockname()[1]}"
