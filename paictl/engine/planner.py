"""The pure heart: from what is desired, what stands and what is remembered to the ordered steps between, each with its cause.

Called by ``reconcile`` for every verb. Decides everything that the executor carries out; no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from paictl.engine import causes
from paictl.engine.case import Case, holds_data, instance_name, step_id
from paictl.engine.differ import NO_DIFFERENCE, Difference, compare
from paictl.engine.digest import plan_hash
from paictl.engine.driver import Scope
from paictl.engine.fingerprint import fingerprint
from paictl.engine.guards import Hazards, check
from paictl.engine.intent import Options
from paictl.engine.inventory import Inventory
from paictl.engine.model import Action, Address, DataEffect, Observation, Observed, Plan, Resource, Step
from paictl.engine.order import in_order
from paictl.engine.removal import Removal, prune, retire
from paictl.errors import PaictlError

__all__ = ["Question", "plan", "survey"]


@dataclass(frozen=True, slots=True)
class Question:
    """What the planner is asked: what is desired, what stands, what is remembered.

    ``removal`` is the cause told for what goes; destroy has its own.
    """

    scope: Scope
    desired: Sequence[Resource]
    observation: Observation
    inventory: Inventory
    removal: str = causes.UNWANTED


def plan(question: Question, options: Options) -> Plan:
    """The steps from observed to desired; raises ``Refused`` and ``ProtectedData`` for what must not be done unasked."""
    made, hazards = _Planner(question, options).run()
    check(hazards, options)
    return made


def survey(question: Question) -> Plan:
    """The same steps, refusing nothing: for showing drift, never for carrying out."""
    made, _ = _Planner(question, Options()).run()
    return made


@dataclass
class _Planner:
    """Gathers steps for one plan; every method looks at one resource."""

    question: Question
    options: Options
    steps: list[Step] = field(default_factory=list)
    unchanged: int = 0
    kept: list[Address] = field(default_factory=list)
    unseen: list[Address] = field(default_factory=list)
    foreign: list[Observed] = field(default_factory=list)
    destroyed: list[Step] = field(default_factory=list)
    # For each desired address, the steps that whatever depends on it has to wait for.
    awaited: dict[Address, frozenset[str]] = field(default_factory=dict)
    retired: list[tuple[Address, Observed]] = field(default_factory=list)

    def run(self) -> tuple[Plan, Hazards]:
        desired = {resource.address: resource for resource in self.question.desired}
        standing: dict[Address, list[Observed]] = {}
        for observed in self.question.observation.resources:
            standing.setdefault(observed.address, []).append(observed)
        _whole(desired)
        order = in_order({address: resource.depends_on for address, resource in desired.items()})
        for address in order:
            before = len(self.steps)
            if self._away(desired[address]):
                self.unseen.append(address)
            else:
                self._settle(desired[address], standing.get(address, []))
            made = frozenset(step.id for step in self.steps[before:])
            self.awaited[address] = made or self._needs(desired[address])
        self._take(retire(self.retired, desired, self.steps))
        mine = [observed for group in standing.values() for observed in group if observed.owner == "mine"]
        unwanted = [observed for observed in mine if observed.address not in desired]
        question = self.question
        self._take(prune(unwanted, question.inventory.records, question.removal, self.options.delete_data))
        return self._plan(), Hazards(
            foreign=tuple(self.foreign),
            destroyed=tuple(self.destroyed),
            standing=len({observed.address for observed in mine}),
            deleted=sum(1 for step in self.steps if step.phase == 1),
            emptied=not desired,
        )

    def _plan(self) -> Plan:
        scope, kept = self.question.scope, tuple(sorted(set(self.kept)))
        steps = tuple(self.steps)
        away, unseen = self.question.observation.away, tuple(sorted(self.unseen))
        made = Plan(scope.agent, scope.target, steps, self.unchanged, hash="", kept=kept, away=away, unseen=unseen)
        return replace(made, hash=plan_hash(made))

    def _away(self, resource: Resource) -> bool:
        """Whether what is there can't be known: its place was not reached, or the one that it would move away from."""
        before = self.question.inventory.before.get(resource.address)
        away = self.question.observation.away
        return resource.place in away or (before is not None and before.place in away)

    def _take(self, removal: Removal) -> None:
        self.steps += removal.steps
        self.kept += removal.kept
        self.destroyed += removal.destroyed

    def _needs(self, resource: Resource) -> frozenset[str]:
        return frozenset().union(*(self.awaited.get(need, frozenset()) for need in resource.depends_on))

    def _settle(self, resource: Resource, group: Sequence[Observed]) -> None:
        """What has to be done at one desired address."""
        mine = tuple(observed for observed in group if observed.owner == "mine" and not observed.remnant)
        if any(observed.owner != "mine" for observed in group) and not mine:
            self.foreign.append(next(observed for observed in group if observed.owner != "mine"))
            return
        record = self.question.inventory.records.get(resource.address)
        case = Case(resource, fingerprint(resource.spec), mine, record)
        if resource.one_shot:
            self._run(case)
        elif not mine:
            instance = instance_name(case.label, None) if case.beside else ""
            self._add(case, "create", causes.GONE if record is not None else causes.ABSENT, instance=instance)
        else:
            self._mend(case, self._keep_one(case))

    def _run(self, case: Case) -> None:
        """A one-shot: once per spec. What is remembered counts even when the target has cleaned it away."""
        last = self._keep_one(case) if case.mine else None
        fits = last is not None and case.fits(last.fingerprint)
        remembered = case.record is not None and case.fits(case.record.fingerprint)
        if remembered or (fits and last is not None and last.health.state == "healthy"):
            self.unchanged += 1
        elif fits:
            self._add(case, "run", causes.UNDONE, last)
        else:
            anew = last is not None or case.record is not None
            self._add(case, "run", causes.RUN_ANEW if anew else causes.NOT_RUN, last)

    def _keep_one(self, case: Case) -> Observed:
        """Of several that stand at one address, the one to go on with; the others are to be removed."""
        current = case.current()
        self.retired.extend((case.resource.address, observed) for observed in case.mine if observed is not current)
        return current

    def _mend(self, case: Case, current: Observed) -> None:
        """Something of ours stands there: leave it, change it in place, or replace it."""
        before = self.question.inventory.before.get(case.resource.address)
        difference = compare(case.resource, case.label, current, before.spec if before is not None else None)
        if difference.keys & case.resource.replace_on:
            self._replace(case, current, difference)
        elif difference.changes:
            self._add(case, "update", causes.changed(difference), current, difference)
        elif unwell := self._unwell(case.resource, current):
            self._add(case, "update", unwell, current)
        else:
            self.unchanged += 1

    def _unwell(self, resource: Resource, current: Observed) -> str:
        """Why something that is as it should be has to be made to run; empty when it hasn't."""
        if current.health.state == "unhealthy":
            return causes.NOT_RUNNING
        if current.health.state == "starting" and resource.probe is not None:
            return causes.STARTING
        return causes.UNFINISHED if resource.address in self.question.inventory.unsettled else ""

    def _replace(self, case: Case, current: Observed, difference: Difference) -> None:
        cause = causes.changed(difference) + causes.IN_PLACE
        data = case.resource.holds_data or holds_data(current, case.record)
        if case.beside and not data:
            self._add(case, "create", cause, None, difference, instance_name(case.label, current))
            self.retired.append((case.resource.address, current))
            return
        self._add(case, "replace", cause, current, difference)
        # What is probed serves somebody: between the old and the new one it doesn't.
        step = replace(self.steps[-1], downtime=case.resource.downtime or case.resource.probe is not None)
        if data:
            step = replace(step, effect=replace(step.effect or DataEffect(), destroys=True))
            self.destroyed.append(step)
        self.steps[-1] = step

    def _add(
        self,
        case: Case,
        action: Action,
        cause: str,
        observed: Observed | None = None,
        difference: Difference = NO_DIFFERENCE,
        instance: str = "",
    ) -> None:
        resource, touched = case.resource, bool(difference.changes) or action != "update"
        if action == "update" and observed is not None and holds_data(observed, case.record):
            # The protection stays on the resource, even when the manifest no longer says that it holds data.
            resource = replace(resource, holds_data=True)
        self.steps.append(
            Step(
                id=step_id(action, resource.address, instance),
                address=resource.address,
                action=action,
                cause=causes.at(cause, resource),
                changes=difference.changes,
                needs=tuple(sorted(self._needs(resource))),
                expects=observed.token if observed is not None else "",
                downtime=action == "update" and touched and resource.downtime,
                effect=resource.effect if touched else None,
                resource=resource,
                observed=observed,
                fingerprint=case.label,
                instance=observed.instance if observed is not None else instance,
            )
        )


def _whole(desired: Mapping[Address, Resource]) -> None:
    for resource in desired.values():
        for need in resource.depends_on:
            if need not in desired:
                raise PaictlError(
                    f"{resource.address} needs {need}, which nothing makes",
                    help="This is a bug in the driver; please report it.",
                )
