"""The chart's own files, without Helm: values are documented, the schema knows each of them, and nothing is a copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.packaging.chart import CHART, Value, at, defaults, documented
from tests.packaging.rendered import ROOT, parse, rules_of

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))

LINKED = {
    "api.yaml": "deploy/components/api/roles.yaml",
    "cluster-role.yaml": "deploy/cluster-role.yaml",
    "crd.yaml": "deploy/crd.yaml",
    "dashboard.json": "deploy/components/monitoring/dashboard.json",
    "lease.yaml": "deploy/base/lease.yaml",
    "people.yaml": "deploy/people.yaml",
    "prometheus-rule.yaml": "deploy/components/monitoring/prometheus-rule.yaml",
    "rules": "rules",
    "service-monitor.yaml": "deploy/components/monitoring/service-monitor.yaml",
}


def leaves(
    values: dict[str, Any], known: set[tuple[str, ...]], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of values down to those that are documented as a whole."""
    for key, value in values.items():
        inner = (*path, key)
        if isinstance(value, dict) and inner not in known:
            yield from leaves(value, known, inner)
        else:
            yield inner


def of_schema(path: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA
    for key in path:
        found = found["properties"][key]
    return found


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the schema that has keys of its own."""
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from objects(inner, f"{path}.{name}")


def test_every_value_is_documented_where_it_stands() -> None:
    known = {value.path for value in documented()}

    assert len(known) > 15
    assert set(leaves(defaults(), known)) == known


def test_the_table_of_the_readme_is_the_one_of_the_values() -> None:
    text = (CHART / "README.md").read_text("utf-8")
    table = text.partition("| value | default | meaning |\n| --- | --- | --- |\n")[2]

    assert table.rstrip("\n").splitlines() == [value.row for value in documented()]


@pytest.mark.parametrize("value", documented(), ids=lambda value: ".".join(value.path))
def test_the_schema_has_every_value_with_its_meaning_and_its_default_fits(value: Value) -> None:
    schema = of_schema(value.path)
    types = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}

    assert schema["description"] == value.meaning
    assert isinstance(value.default, types[schema["type"]] if "type" in schema else str)
    assert "enum" not in schema or value.default in schema["enum"]


def test_the_schema_knows_no_value_that_there_is_not_and_refuses_all_others() -> None:
    for path, schema in objects(SCHEMA):
        keys = tuple(key for key in path.split(".") if key)
        if keys == ("resources",) or keys[:1] == ("env",):
            continue
        assert schema["additionalProperties"] is False, path
        assert set(schema["properties"]) - {"global"} == set(at(defaults(), keys)), path


@pytest.mark.parametrize("name", sorted(LINKED))
def test_what_kustomize_reads_too_is_linked_and_not_copied(name: str) -> None:
    file = CHART / "files" / name

    assert file.is_symlink()
    assert not file.readlink().is_absolute()
    assert file.resolve() == ROOT / LINKED[name]


def test_there_are_no_other_files_that_could_drift() -> None:
    assert {file.name for file in (CHART / "files").iterdir()} == set(LINKED)
    assert [f.name for f in CHART.rglob("*.yaml") if "kind: CustomResourceDefinition" in f.read_text("utf-8")] == [
        "crd.yaml"
    ]


def test_version_and_rule_packs_are_those_of_the_project() -> None:
    (chart,) = parse((CHART / "Chart.yaml").read_text("utf-8"))
    version = next(line for line in (ROOT / "pyproject.toml").read_text("utf-8").splitlines() if "version = " in line)
    packs = parse((ROOT / "rules/Kustomization").read_text("utf-8"))

    assert f'"{chart["appVersion"]}"' in version
    assert [f"{name}.yaml" for name in defaults()["rulePacks"]] == next(packs)["configMapGenerator"][0]["files"]


def test_the_rules_of_every_role_are_found_under_the_names_that_the_templates_use() -> None:
    """Templates take a role's rules by file and name; here stands that the names exist, where no Helm is at hand."""
    roles = {
        one["metadata"]["name"]: rules_of(one)
        for name in ("cluster-role.yaml", "lease.yaml")
        for one in parse((CHART / "files" / name).read_text("utf-8"))
        if one["kind"].endswith("Role")
    }

    assert set(roles) == {"bluegreen-watcher", "bluegreen-watcher-jobs", "bluegreen-watcher-lease"}
    assert all(roles.values())
