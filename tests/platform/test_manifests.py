"""The example platform's objects agree with each other, and its images with the faults there are."""

from __future__ import annotations

from typing import Any

import pytest

from watcher.demo.cluster.images import Images, UnknownImage
from watcher.demo.platform import manifests
from watcher.demo.platform.faults import FaultPlan


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {row["metadata"]["name"]: row for row in manifests.objects() if row["kind"] == kind}


def test_one_colour_is_live_and_the_other_is_previewed() -> None:
    services = of_kind("Service")
    colors = {name: services[name]["spec"]["selector"]["color"] for name in services}

    assert colors == {manifests.APPLICATION: "blue", manifests.PREVIEW: "green"}


def test_each_service_selects_the_pods_of_one_deployment_and_names_their_port() -> None:
    for service in of_kind("Service").values():
        selector = service["spec"]["selector"]
        pods = [row["spec"]["template"] for row in of_kind("Deployment").values()]
        (selected,) = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        ports = [port["name"] for port in selected["spec"]["containers"][0]["ports"]]
        assert service["spec"]["ports"][0]["targetPort"] in ports


def test_both_colours_differ_in_nothing_but_colour_and_size() -> None:
    blue, green = (of_kind("Deployment")[manifests.DEPLOYMENTS[color]] for color in ("blue", "green"))
    for deployment in (blue, green):
        assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]

    assert blue["spec"]["template"]["spec"] == green["spec"]["template"]["spec"]
    assert (blue["spec"]["replicas"], green["spec"]["replicas"]) == (2, 0)


def test_everything_lives_in_the_namespace_of_the_guide() -> None:
    assert list(of_kind("Namespace")) == [manifests.NAMESPACE]
    assert {row["metadata"].get("namespace", manifests.NAMESPACE) for row in manifests.objects()} == {
        manifests.NAMESPACE
    }


@pytest.mark.parametrize("version", manifests.BAD_VERSIONS.values())
def test_a_bad_version_has_an_image_with_faults_that_can_be_read(version: str) -> None:
    image = Images(manifests.IMAGES).pull(manifests.image(version))
    assert FaultPlan.parse(image.env["FAULTS"]) != FaultPlan()
    assert image.env["IMAGE_TAG"] == version


@pytest.mark.parametrize("version", [manifests.LIVE_VERSION, manifests.GOOD_VERSION, "9.9.9"])
def test_any_other_version_is_a_good_one(version: str) -> None:
    assert "FAULTS" not in Images(manifests.IMAGES).pull(manifests.image(version)).env


def test_another_image_does_not_exist() -> None:
    with pytest.raises(UnknownImage):
        Images(manifests.IMAGES).pull("chatt:2.4.0")
