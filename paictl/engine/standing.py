"""Looks that write nothing: what stands against the last release, and which releases there are. Called by ``reconciler``."""

from __future__ import annotations

from paictl.engine.inventory import Inventory
from paictl.engine.lock import working
from paictl.engine.model import Address, Health, Observation, Observed, Resource
from paictl.engine.outcome import Release, ResourceStatus, Standing, Status
from paictl.engine.recollection import Place, failures
from paictl.errors import Refused

__all__ = ["earlier", "standing_release", "status"]


def earlier(place: Place, inventory: Inventory, number: int | None) -> Release:
    """The release of that number, or the one before the one that stands; ``Refused`` when there is none."""
    if number is not None:
        return place.releases.read(number)
    before = [one for one in place.releases.numbers() if not inventory.release or one < inventory.release]
    if not before:
        raise Refused("there is no earlier release to go back to", help="See `paictl history`.")
    return place.releases.read(before[-1])


def standing_release(place: Place, inventory: Inventory) -> Release:
    """The release that stands; ``Refused`` when nothing was applied yet."""
    if not inventory.release:
        raise Refused(
            f"nothing of {place.scope.agent} has been applied to {place.scope.target} yet",
            help="Begin with `paictl apply`.",
        )
    return place.releases.read(inventory.release)


def status(place: Place, inventory: Inventory, observation: Observation) -> Status:
    """Everything of the last release, and what of ours stands beside it."""
    found: dict[Address, list[Observed]] = {}
    for observed in observation.resources:
        found.setdefault(observed.address, []).append(observed)
    mine = [observed for observed in observation.resources if observed.owner == "mine"]
    # Whatever is not data stands there because somebody wants it: a release whose file was lost, or an apply on its way to the first.
    begun = not inventory.release and (bool(inventory.unsettled) or any(not _data(one, inventory) for one in mine))
    unknown = begun or (inventory.release > 0 and not inventory.before)
    rows = [
        _unseen(resource, observation.away[resource.place])
        if resource.place in observation.away
        else _wanted(resource, found.get(address, []), inventory)
        for address, resource in sorted(inventory.before.items())
    ]
    rows += [
        _made(observed) if unknown else _unwanted(observed, inventory)
        for address, group in sorted(found.items())
        if address not in inventory.before
        for observed in group
        if observed.owner == "mine"
    ]
    good = {"running", "done", "kept"}
    ready = bool(inventory.release) and not inventory.unsettled and all(row.state in good for row in rows)
    return Status(
        inventory.release,
        ready,
        tuple(rows),
        tuple(sorted(inventory.unsettled)),
        failures(place),
        begun=begun,
        working=working(place.directory),
    )


def _unseen(resource: Resource, why: str) -> ResourceStatus:
    health = Health("unknown", f"{resource.place} was not reached: {why}")
    return ResourceStatus(resource.address, "away", service=resource.probe is not None, health=health)


def _wanted(resource: Resource, group: list[Observed], inventory: Inventory) -> ResourceStatus:
    service = resource.probe is not None
    mine = [observed for observed in group if observed.owner == "mine"]
    if resource.one_shot and (record := inventory.records.get(resource.address)) is not None and record.fingerprint:
        return ResourceStatus(resource.address, "done", service=service, health=Health("healthy"))
    if not mine:
        state = Health("unknown", "it does not exist")
        return ResourceStatus(resource.address, "foreign" if group else "missing", service=service, health=state)
    record = inventory.records.get(resource.address)
    current = min(mine, key=lambda one: (record is None or one.instance != record.instance, one.instance))
    return _row(current, service=service, state="running")


def _unwanted(observed: Observed, inventory: Inventory) -> ResourceStatus:
    return _row(observed, service=False, state="kept" if _data(observed, inventory) else "leftover")


def _made(observed: Observed) -> ResourceStatus:
    return _row(observed, service=bool(observed.since) or observed.address.kind == "service", state="running")


def _data(observed: Observed, inventory: Inventory) -> bool:
    record = inventory.records.get(observed.address)
    return observed.holds_data or (record is not None and record.holds_data)


def _row(observed: Observed, *, service: bool, state: Standing) -> ResourceStatus:
    health = observed.health
    if state == "running" and health.state in ("starting", "unhealthy"):
        state = "starting" if health.state == "starting" else "unhealthy"
    return ResourceStatus(observed.address, state, service, health, observed.since, observed.url, observed.handle)
