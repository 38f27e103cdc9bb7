"""The verbs of one agent on one target, as the command line calls them; each is a few lines around the one story."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from paictl.engine import causes, ownership, standing
from paictl.engine.intent import NOTHING_ALLOWED, Desired, Options
from paictl.engine.inventory import Inventory
from paictl.engine.model import Address, Observed, Plan
from paictl.engine.outcome import Applied, Release, Status
from paictl.engine.planner import Question, plan, survey
from paictl.engine.preview import Preview, Previewing
from paictl.engine.recollection import recall
from paictl.engine.reconcile import Errand, Gate, reconcile
from paictl.engine.review import Consent
from paictl.engine.setting import Setting
from paictl.engine.undo import desired_by
from paictl.errors import Refused

__all__ = ["Compile", "Consent", "Gate", "Reconciler"]

Compile = Callable[[], Desired]
"""Makes the desired resources."""


@dataclass(frozen=True, kw_only=True)
class Reconciler(Setting):
    """Every verb that touches a target. What changes holds the lock; what only looks writes nothing and takes none."""

    def plan(self, compile_: Compile, options: Options = NOTHING_ALLOWED) -> Plan:
        """What apply would do now."""
        return plan(self._question(compile_()), options)

    def foresee(self, compile_: Compile, options: Options = NOTHING_ALLOWED) -> tuple[Plan, tuple[Refused, ...]]:
        """What apply would do now, and for what it would refuse to do any of it."""
        desired = compile_()
        question = self._question(desired)
        made = plan(question, options)
        known, refusals = question.inventory.source, []
        try:
            ownership.check(self.scope, known, self.source, take_over=options.take_over)
        except Refused as refusal:
            refusals.append(refusal)
        try:
            if desired.blueprint is not None and not made.empty:
                self.driver.preflight(desired.blueprint, question.observation)
        except Refused as refusal:
            refusals.append(refusal)
        return made, tuple(refusals)

    def preview(self, made: Plan) -> Mapping[Address, Preview] | None:
        """What the steps of a plan would change, task by task; None where a driver's plans show everything already."""
        if not isinstance(self.driver, Previewing):
            return None
        return self.driver.preview(made.steps, self.emit)

    def apply(
        self,
        compile_: Compile,
        options: Options = NOTHING_ALLOWED,
        *,
        consent: Consent | None = None,
        gate: Gate | None = None,
    ) -> Applied:
        """Make it so. Raises ``Refused`` and its kind before any change, ``PartlyApplied`` or ``Interrupted`` after."""
        return reconcile(self, Errand("apply", lambda _: compile_(), options, consent, gate))

    def plan_destroy(self, options: Options = NOTHING_ALLOWED) -> Plan:
        """What destroy would do now."""
        question = replace(self._question(Desired(())), removal=causes.DESTROYED)
        return plan(question, replace(options, allow_destroy=True))

    def destroy(self, options: Options = NOTHING_ALLOWED, *, consent: Consent | None = None) -> Applied:
        """Remove everything of ours in the reverse order; data stays unless its address is in ``options.delete_data``."""
        allowed = replace(options, allow_destroy=True)
        return reconcile(self, Errand("destroy", lambda _: Desired(()), allowed, consent, removal=causes.DESTROYED))

    def plan_rollback(self, number: int | None = None, options: Options = NOTHING_ALLOWED) -> Plan:
        """What rollback would do now."""
        release = standing.earlier(self.place, recall(self.place, self.emit), number)
        return plan(self._question(desired_by(release)), options)

    def rollback(
        self,
        number: int | None = None,
        options: Options = NOTHING_ALLOWED,
        *,
        consent: Consent | None = None,
        gate: Gate | None = None,
    ) -> Applied:
        """Go to an earlier release (the one before the current one by default) by an ordinary plan; it becomes a new release."""

        def compile_(inventory: Inventory) -> Desired:
            return desired_by(standing.earlier(self.place, inventory, number))

        return reconcile(self, Errand("rollback", compile_, options, consent, gate))

    def drift(self) -> Plan:
        """What would bring the target back to the last release; empty when nothing differs. Refuses no step, writes nothing."""
        inventory = recall(self.place, self.emit)
        return survey(self._question(desired_by(standing.standing_release(self.place, inventory))))

    def adoptable(self, compile_: Compile) -> tuple[Observed, ...]:
        """What stands at desired addresses and is not ours."""
        wanted = {resource.address for resource in compile_().resources}
        resources = self.driver.observe(self.scope).resources
        ours = {observed.address for observed in resources if observed.owner == "mine" and not observed.remnant}
        return tuple(one for one in resources if one.owner != "mine" and one.address in wanted - ours)

    def adopt(
        self,
        compile_: Compile,
        addresses: Sequence[str],
        *,
        consent: Callable[[Sequence[Observed]], bool] | None = None,
    ) -> tuple[Observed, ...]:
        """Mark what stands at these addresses (short form) as ours; shown first, and nothing else is changed."""
        with self.hold_lock("adopt"):
            there = self.adoptable(compile_)
            chosen = tuple(one for one in there if str(one.address) in addresses)
            missing = sorted(set(addresses) - {str(one.address) for one in chosen})
            if missing:
                names = ", ".join(sorted({str(one.address) for one in there})) or "nothing"
                raise Refused(
                    f"there is nothing to adopt at {', '.join(missing)}", help=f"What can be adopted: {names}."
                )
            if consent is not None and not consent(chosen):
                raise Refused("not confirmed; nothing was changed")
            self.driver.adopt(self.scope, [one.address for one in chosen])
            return chosen

    def status(self) -> Status:
        """What stands now, against the last release."""
        return standing.status(self.place, recall(self.place, self.emit), self.driver.observe(self.scope))

    def history(self) -> tuple[Release, ...]:
        """The kept releases, the oldest first."""
        releases = self.place.releases
        found = (releases.find(number) for number in releases.numbers())
        return tuple(release for release in found if release is not None)

    def _question(self, desired: Desired) -> Question:
        observation = self.driver.observe(self.scope)
        return Question(self.scope, desired.resources, observation, recall(self.place, self.emit))
