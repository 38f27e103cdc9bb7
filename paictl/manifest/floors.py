"""Holds later layers to the floors that profiles mark: policy may be tightened, never widened past them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from paictl.manifest.findings import Findings, TreePath, dotted
from paictl.manifest.merge import Origins
from paictl.manifest.profiles import Floor
from paictl.manifest.tree import matching

__all__ = ["check_floors"]


def check_floors(tree: Mapping[str, Any], origins: Origins, floors: Iterable[Floor], findings: Findings) -> None:
    """Report every value that allows more than a floor, naming both places."""
    for floor in floors:
        for path, value in matching(tree, floor.path):
            for item_path, item in _items(path, value):
                # What is no valid value at all has been told already.
                if not findings.says(origins.find(item_path)) and not any(
                    fnmatchcase(str(item), allowed) for allowed in floor.allowed
                ):
                    findings.add(
                        "floor",
                        f"{dotted(path)} allows `{item}`, which {floor.place.value.file}:{floor.place.value.line} rules out",
                        origins.find(item_path),
                        advice=_advice(floor),
                    )


def _advice(floor: Floor) -> str:
    allowed = ", ".join(floor.allowed[:3]) + (", …" if len(floor.allowed) > 3 else "")
    return f"the profile allows {allowed or 'nothing'}; remove it here, or choose another deployment model"


def _items(path: TreePath, value: Any) -> Iterator[tuple[TreePath, Any]]:
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
    else:
        yield path, value
