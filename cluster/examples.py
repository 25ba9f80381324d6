"""The project's image and those of the example platform in one file: `python -m cluster.examples ARCHIVE INTO`.

Every version that the embedded cluster knows, good and bad, is here a variant of the project's own image: the same
file (images.yaml) says what runs in it and which faults it has, so that both clusters run the same versions.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ruamel.yaml import YAML

from cluster.archives import Variant, write_variants
from watcher.demo.platform import manifests


def variants() -> list[Variant]:
    """One for each version; a pattern stands for the versions that are live and good."""
    rows = YAML(typ="safe", pure=True).load(manifests.IMAGES.read_text("utf-8"))
    found = []
    for name, row in rows.items():
        image, _, known = name.partition(":")
        tags = (manifests.LIVE_VERSION, manifests.GOOD_VERSION) if known == "*" else (known,)
        for tag in tags:
            command = [word.replace("{python}", "python3") for word in row["command"]]
            environment = {"IMAGE_TAG": tag} | (row.get("env") or {})
            found.append(Variant(f"docker.io/library/{image}:{tag}", command, environment))
    return found


if __name__ == "__main__":
    write_variants(Path(sys.argv[1]), variants(), Path(sys.argv[2]))
