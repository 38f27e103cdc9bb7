"""What the driver made, written down beside it after the fact: one small file a resource, below ``records/``.

A record tells that a thing is ours and what it was made from. What it is *now* is always read from the thing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from paictl.drivers.native.disk import read_json, write_json
from paictl.drivers.native.layout import Layout
from paictl.engine.model import Address, Step

__all__ = ["DRIVER", "Record", "begin", "erase", "keep", "read", "read_all"]

DRIVER = "native"


@dataclass(frozen=True, slots=True)
class Record:
    """One resource as it was made.

    ``label`` is the engine's fingerprint; ``begun`` says that a crash may have come between; ``note`` is for the kind's use.
    """

    address: Address
    spec: Mapping[str, object]
    label: str = ""
    instance: str = ""
    depends_on: tuple[Address, ...] = ()
    holds_data: bool = False
    begun: bool = False
    note: Mapping[str, object] = field(default_factory=dict)


def begin(layout: Layout, step: Step) -> None:
    """Write down that the step's resource is about to be made where nothing was: without a label, since nothing fits yet."""
    _write(layout, replace(step, fingerprint=""), begun=True, note={})


def keep(layout: Layout, step: Step, note: Mapping[str, object] | None = None) -> None:
    """Write down that the step's resource stands now."""
    _write(layout, step, begun=False, note=note or {})


def _write(layout: Layout, step: Step, *, begun: bool, note: Mapping[str, object]) -> None:
    resource = step.resource
    if resource is None:
        message = f"{step.id} has no resource"
        raise ValueError(message)
    write_json(
        _path(layout, step.address, step.instance),
        {
            "format": 1,
            "kind": step.address.kind,
            "name": step.address.name,
            "instance": step.instance,
            "label": step.fingerprint,
            "spec": dict(resource.spec),
            "depends_on": [str(one) for one in resource.depends_on],
            "holds_data": resource.holds_data,
            "begun": begun,
            "note": dict(note),
        },
    )


def read(layout: Layout, address: Address, instance: str = "") -> Record | None:
    """The record of one resource."""
    content = read_json(_path(layout, address, instance))
    return _record(content, address.target) if content else None


def read_all(layout: Layout, target: str) -> Iterator[Record]:
    """Every record; a damaged one counts as none, and what it told of is made again."""
    for folder in _entries(layout.root / "records"):
        for path in _entries(folder):
            if path.suffix == ".json" and (content := read_json(path)):
                yield _record(content, target)


def erase(layout: Layout, address: Address, instance: str = "") -> None:
    """Forget it."""
    _path(layout, address, instance).unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    # Not glob: it takes a directory that can't be read for an empty one.
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _path(layout: Layout, address: Address, instance: str) -> Path:
    name = quote(f"{address.name}@{instance}" if instance else address.name, safe="@")
    return layout.root / "records" / address.kind / f"{name}.json"


def _record(content: Mapping[str, object], target: str) -> Record:
    spec, depends_on, note = content.get("spec"), content.get("depends_on"), content.get("note")
    split = (str(one).partition("/") for one in depends_on) if isinstance(depends_on, list) else ()
    return Record(
        address=Address(target, DRIVER, str(content["kind"]), str(content["name"])),
        spec=spec if isinstance(spec, dict) else {},
        label=str(content.get("label", "")),
        instance=str(content.get("instance", "")),
        depends_on=tuple(Address(target, DRIVER, kind, name) for kind, _, name in split),
        holds_data=bool(content.get("holds_data")),
        begun=bool(content.get("begun")),
        note=note if isinstance(note, dict) else {},
    )
