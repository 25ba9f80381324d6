"""The image's recipe and the wheel in it: what the Dockerfile copies is enough, and works outside of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.packaging.rendered import ROOT, WHOLE_CLUSTER, container, mounted

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of a kind, lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """What comes from the build context, in the order of the Dockerfile."""
    return [source.rstrip("/") for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]]


def final_stage() -> str:
    return DOCKERFILE.rpartition("\nFROM ")[2]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but what the Dockerfile copies."""
    into = tmp_path_factory.mktemp("context")
    for name in copied():
        source, target = ROOT / name, into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return into


@pytest.fixture(scope="module")
def wheel(context: Path) -> Path:
    """The wheel, built by the project's build backend as pip would."""
    return Path(next(iter(WheelBuilder(str(context)).build(directory=str(context / "dist"), versions=["standard"]))))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return into


def run(
    installed: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The installed package's command, far away from the checkout."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WATCHER_")}
    return subprocess.run(
        [sys.executable, "-m", "watcher", *arguments],
        cwd=installed.parent,
        env=plain | {"PYTHONPATH": str(installed)} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_base_can_be_replaced_and_has_a_public_default() -> None:
    assert instructions("ARG")[0] == "BASE=python:3.11-slim"
    assert instructions("FROM")[-1] == "${BASE}"


def test_the_process_is_a_numbered_user_other_than_root_and_runs_the_daemon() -> None:
    (user,) = instructions("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert instructions("ENTRYPOINT") == ['["watcher"]']
    assert instructions("CMD") == ['["run"]']
    assert instructions("HEALTHCHECK") == []


def test_the_manifests_run_the_image_as_the_user_that_it_names() -> None:
    (user,) = instructions("USER")
    (exposed,) = instructions("EXPOSE")
    (port,) = container(WHOLE_CLUSTER)["ports"]

    text = (ROOT / "deploy/base/deployment.yaml").read_text("utf-8")
    assert f"runAsUser: {user.split(':')[0]}" in text
    assert int(exposed) == port["containerPort"]


def test_everything_that_is_installed_is_locked_and_hashed() -> None:
    installs = [part for run_ in instructions("RUN") for part in run_.split("&&") if " install " in part]
    own = [part for part in installs if "dist/*.whl" in part]

    assert len(own) == 1
    assert "--no-deps --no-index" in own[0]
    assert all("--require-hashes" in part for part in installs if part not in own)


def test_what_builds_the_wheel_is_the_same_as_in_development() -> None:
    def locked(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text("utf-8")
        return set(re.findall(r"^([a-z0-9-]+==[^ ]+)", text, re.MULTILINE))

    assert any(package.startswith("hatchling==") for package in locked("build.txt"))
    assert locked("build.txt") <= locked("dev.txt")
    assert locked("run.txt") <= locked("dev.txt")


def test_nothing_is_installed_in_the_final_stage() -> None:
    assert " install " not in final_stage()
    assert [line for line in final_stage().splitlines() if line.startswith("COPY")] == [
        "COPY --from=build /opt/watcher /opt/watcher"
    ]


def test_what_the_dockerfile_copies_is_in_the_context_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}

    assert "*" in lines
    assert kept == set(copied())


def wheel_names(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        yield from archive.namelist()


def test_the_wheel_has_the_rule_packs_the_crd_and_every_file_of_the_package(wheel: Path, context: Path) -> None:
    names = set(wheel_names(wheel))
    package = {
        str(file.relative_to(context))
        for file in (context / "watcher").rglob("*")
        if file.is_file() and not fnmatch(str(file), "*__pycache__*")
    }

    assert package - names == set()
    assert {f"watcher/data/rules/{pack.name}" for pack in (context / "rules").glob("*.yaml")} <= names
    assert "watcher/data/crd.yaml" in names


def test_the_installed_package_is_the_one_that_runs_and_finds_its_own_files(installed: Path) -> None:
    code = (
        "import watcher; from watcher.demo.files import shipped, demo_config\n"
        "print(watcher.__file__, shipped('rules'), shipped('deploy/crd.yaml'), demo_config(), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    found = [Path(line) for line in done.stdout.split()]
    assert all(path.is_relative_to(installed) and path.exists() for path in found), done.stdout


@pytest.mark.parametrize("arguments", [(), ("run",), ("demo",), ("release",), ("release", "create"), ("status",)])
def test_the_installed_command_explains_itself(installed: Path, arguments: tuple[str, ...]) -> None:
    done = run(installed, *arguments, "--help")

    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_the_installed_daemon_reads_the_mounted_files_and_then_asks_for_credentials(
    installed: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, text in mounted(WHOLE_CLUSTER).items():
        (files / name).write_text(text, "utf-8")
    variables = {row["name"]: row["value"] for row in container(WHOLE_CLUSTER)["env"]}
    missing = tmp_path / "nowhere"
    done = run(installed, "run", "--config", str(files), "--kubeconfig", str(missing), environment=variables)

    assert done.returncode == 2
    assert f"no usable credentials for Kubernetes in {missing}" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_what_is_left_out_of_the_image_is_imported_by_nothing_else() -> None:
    (trimming,) = [line for line in instructions("RUN") if " uninstall " in line and "kubernetes/aio" in line]
    left_out = set(re.findall(r"[a-z-]+", trimming.partition("--yes")[2].partition("&&")[0]))
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/run.txt").read_text("utf-8"), re.MULTILINE)
    code = (
        "import sys, kubernetes.client, kubernetes.config, watcher.cli.run, watcher.engine.daemon\n"
        "print(*sorted({name.partition('.')[0].replace('_', '-') for name in sys.modules}))\n"
        "print(*(name for name in sys.modules if name.startswith('kubernetes.aio')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported, asynchronous = done.stdout.split("\n")[:2]

    assert left_out <= set(locked)
    assert not left_out & set(imported.split())
    assert asynchronous == ""
