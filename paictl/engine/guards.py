"""What a plan must never do unasked: touch what isn't ours, destroy data, remove most of what stands. Called by the planner; pure."""

from __future__ import annotations

from dataclasses import dataclass

from paictl.engine.intent import Options
from paictl.engine.model import Observed, Step
from paictl.errors import ProtectedData, Refused

__all__ = ["Hazards", "check"]

_FEW = 2  # deleting one or two things is never "most of what stands"


@dataclass(frozen=True, slots=True)
class Hazards:
    """What a plan came across. ``destroyed`` are the steps that destroy data; ``emptied``: nothing at all is desired."""

    foreign: tuple[Observed, ...] = ()
    destroyed: tuple[Step, ...] = ()
    standing: int = 0
    deleted: int = 0
    emptied: bool = False


def check(hazards: Hazards, options: Options) -> None:
    """Raise ``Refused`` or ``ProtectedData`` for the first hazard that the options don't allow."""
    _not_ours(hazards)
    _data(hazards, options)
    _most(hazards, options)


def _not_ours(hazards: Hazards) -> None:
    if not hazards.foreign:
        return
    names = sorted(str(observed.address) for observed in hazards.foreign)
    verb = "exists and is" if len(names) == 1 else "exist and are"
    raise Refused(
        f"{', '.join(names)} already {verb} not paictl's",
        help=f"Have paictl take it over with `paictl adopt {' '.join(names)}`, or rename one of the two.",
    )


def _data(hazards: Hazards, options: Options) -> None:
    unasked = [step for step in hazards.destroyed if str(step.address) not in options.delete_data]
    if not unasked:
        return
    lines = ", ".join(f"{step.address} ({step.cause})" for step in unasked)
    flags = " ".join(f"--delete-data {step.address}" for step in unasked)
    raise ProtectedData(
        f"this would destroy the data in {lines}",
        help=f"Undo that change, or, if the data may go, add {flags}.",
    )


def _most(hazards: Hazards, options: Options) -> None:
    if options.allow_destroy or not hazards.deleted:
        return
    most = hazards.deleted * 2 > hazards.standing and hazards.deleted > _FEW
    if hazards.emptied or most:
        raise ProtectedData(
            f"this would delete {hazards.deleted} of the {hazards.standing} resources that stand",
            help="Is this the right manifest? If they should go, add --allow-destroy, or use `paictl destroy`.",
        )
