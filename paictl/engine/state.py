"""The state file: what is remembered, in one durable file and the same content on the target. Read and written by the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paictl.engine.durable import write_durably
from paictl.engine.formats import CURRENT, Damaged, decode, encode, upgrade
from paictl.engine.inventory import Inventory, address_from_text, record_from_json, record_to_json
from paictl.engine.ownership import source_from_json, source_to_json
from paictl.engine.points import OnPoint
from paictl.errors import Refused

__all__ = ["from_target", "is_state", "read_state", "to_target", "write_state"]


def read_state(path: Path, target: str, driver: str) -> Inventory | None:
    """What the file says; None when there is none. ``Damaged`` when it is not whole, ``Refused`` when it is not for us."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return _inventory(decode(data, str(path)), target, driver)


def write_state(path: Path, inventory: Inventory, driver: str, on_point: OnPoint) -> None:
    """Replace the file, durably."""
    write_durably(path, encode(_content(inventory, driver)), on_point)


def is_state(path: Path, inventory: Inventory, driver: str) -> bool:
    """Whether the file says just that already."""
    try:
        return path.read_bytes() == encode(_content(inventory, driver))
    except FileNotFoundError:
        return False


def to_target(inventory: Inventory, driver: str) -> Mapping[str, object]:
    """The same content, for ``Driver.save_inventory``."""
    return {"format": CURRENT, **_content(inventory, driver)}


def from_target(content: Mapping[str, object], target: str, driver: str) -> Inventory:
    """What ``Driver.load_inventory`` gave back; ``Damaged`` when it is not whole."""
    return _inventory(upgrade(dict(content), "the inventory on the target"), target, driver)


def _content(inventory: Inventory, driver: str) -> dict[str, object]:
    source = {"source": source_to_json(inventory.source)} if inventory.source else {}
    return {
        "driver": driver,
        **source,
        "release": inventory.release,
        "unsettled": sorted(str(address) for address in inventory.unsettled),
        "resources": {
            str(address): record_to_json(inventory.records[address]) for address in sorted(inventory.records)
        },
    }


def _inventory(content: Mapping[str, Any], target: str, driver: str) -> Inventory:
    try:
        if content["driver"] != driver:
            raise Refused(
                f"target {target} was made by driver {content['driver']}, and the manifest now says {driver}",
                help=f"Destroy it with the {content['driver']} driver first, or give the new target another name.",
            )
        return Inventory(
            release=int(content["release"]),
            records={
                address_from_text(text, target, driver): record_from_json(record, target, driver)
                for text, record in content["resources"].items()
            },
            unsettled=frozenset(address_from_text(text, target, driver) for text in content["unsettled"]),
            source=source_from_json(content.get("source")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(f"the state is incomplete: {error}") from error
