"""What a plan that finds nothing to do costs on a cluster, beside kubectl's diff of the same. Used by a story and by `make bench`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from bench.process import Command, Cost, in_turns
from paictl.drivers.kubernetes.documents import parse
from tests.kubernetes.home import KubernetesHome
from tests.story.home import PAICTL

__all__ = ["Costs", "compared"]

_EXAMPLES = (".example.yaml", "kustomization.yaml")


@dataclass(frozen=True)
class Costs:
    """``diff`` is plain `kubectl diff`, which merges on this side; ``server_diff`` leaves that to the server, as paictl does."""

    documents: int
    plan: Cost
    diff: Cost
    server_diff: Cost


def compared(home: KubernetesHome, *, runs: int) -> Costs:
    """Of an agent that stands as its manifest says."""
    folder = home.folder / "diffed"
    home.run("render", "-o", str(folder))
    count, path = _listed(folder)
    diff = home.access.command("diff", f"--filename={path}")
    plan, plain, server = in_turns(
        Command((PAICTL, "plan", "--detailed-exitcode"), home.manifest.parent, home.surroundings()),
        Command(diff, folder, os.environ),
        Command((*diff, "--server-side", "--field-manager=paictl-test"), folder, os.environ),
        runs=runs,
    )
    return Costs(count, plan, plain, server)


def _listed(folder: Path) -> tuple[int, Path]:
    """The rendered documents as one file, for kubectl as fast to read as can be."""
    files = (one for one in sorted(folder.glob("*.yaml")) if not one.name.endswith(_EXAMPLES))
    items = [document for file in files for document in parse(file.read_text(encoding="utf-8"))]
    path = folder / "all.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), encoding="utf-8")
    return len(items), path
