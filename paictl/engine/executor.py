"""Carries out a plan, step by step, and decides nothing: order, causes and refusals all stand in the plan. Called by ``reconcile``.

One thread coordinates and alone writes the journal; a few workers act and wait. What ends and what becomes ready at the
same time is committed together: ends are durable before dependents start, begins before their effects. A failure stops what
has not begun at its place; other machines of the target go on, but nothing is pruned any more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from paictl.clock import Clock
from paictl.engine import journal
from paictl.engine.driver import Driver, SecretReader
from paictl.engine.health import HealthGate
from paictl.engine.model import Plan, Step
from paictl.engine.outcome import Failure, Outcome
from paictl.engine.points import OnPoint
from paictl.engine.signals import told
from paictl.errors import PaictlError
from paictl.events import Emit, Event

__all__ = ["PARALLEL", "Crew", "execute"]

PARALLEL = 8
_WAKE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Crew:
    """What an execution works with. ``commit`` makes journal entries durable."""

    driver: Driver
    secrets: SecretReader
    commit: Callable[[Sequence[journal.Entry]], None]
    emit: Emit
    clock: Clock
    on_point: OnPoint


def execute(plan: Plan, crew: Crew) -> Outcome:
    """Carry out every step, or as many as go well; raises nothing for a step that fails."""
    return _Execution(plan, crew).run()


@dataclass(frozen=True, slots=True)
class _Ended:
    step: Step
    reason: str = ""
    error: Exception | None = None


@dataclass
class _Execution:
    plan: Plan
    crew: Crew
    tasks: SimpleQueue[Step | None] = field(default_factory=SimpleQueue)
    # A signal's number, or how a step ended.
    news: SimpleQueue[int | _Ended] = field(default_factory=SimpleQueue)
    ready: deque[Step] = field(default_factory=deque)
    waiting: dict[str, set[str]] = field(default_factory=dict)
    followers: dict[str, list[Step]] = field(default_factory=dict)
    running: dict[str, Step] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    done: list[Step] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    signal: int = 0
    trouble: PaictlError | None = None
    hurry: threading.Event = field(default_factory=threading.Event)
    speaking: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Outcome:
        workers = min(PARALLEL, len(self.plan.steps))
        for _ in range(workers):
            # Daemons: after a second signal nobody waits for them, and the process can end.
            threading.Thread(target=self._work, daemon=True).start()
        with told(self.news.put):
            for phase in sorted({step.phase for step in self.plan.steps}):
                self._run_phase([step for step in self.plan.steps if step.phase == phase])
                if self._stopped:
                    break
        for _ in range(workers):
            self.tasks.put(None)
        return self._outcome()

    @property
    def _stopped(self) -> bool:
        return bool(self.failed or self.signal or self.trouble)

    def _run_phase(self, steps: Sequence[Step]) -> None:
        ids = {step.id for step in steps}
        for step in steps:
            needs = ids.intersection(step.needs)
            if not needs:
                self.ready.append(step)
                continue
            self.waiting[step.id] = needs
            for need in needs:
                self.followers.setdefault(need, []).append(step)
        ended: list[_Ended] = []
        while True:
            self._turn(ended)
            if not self.running or self.hurry.is_set():
                return
            ended = self._listen()

    def _turn(self, ended: Sequence[_Ended]) -> None:
        """Write down what ended and what begins, with one fsync; then let it begin."""
        for one in ended:
            self._account(one)
        starting = self._startable()
        for step in starting:
            self.crew.on_point("before-begin", step.id)
        entries = [journal.failed(one.step, one.reason) if one.reason else journal.end(one.step) for one in ended]
        entries += [journal.begin(step) for step in starting]
        try:
            if entries:
                self.crew.commit(entries)
        except PaictlError as error:
            # Nothing begins that is not written down. What ended has had its effect; the next observation tells.
            self.trouble = error
            return
        for one in ended:
            self.crew.on_point("after-end", one.step.id)
        for step in starting:
            self.running[step.id], self.begun[step.id] = step, self.crew.clock.monotonic()
            self._say("step-begin", step, {"cause": step.cause})
            self.tasks.put(step)

    def _startable(self) -> list[Step]:
        if self.signal or self.trouble:
            return []
        closed = {failure.step.place for failure in self.failed}
        # What stands at no place of its own may depend on any.
        if "" in closed:
            return []
        self.ready = deque(step for step in self.ready if step.place not in closed and (step.place or not closed))
        return [self.ready.popleft() for _ in range(min(PARALLEL - len(self.running), len(self.ready)))]

    def _account(self, one: _Ended) -> None:
        del self.running[one.step.id]
        seconds = round(self.crew.clock.monotonic() - self.begun[one.step.id], 3)
        if one.reason:
            self.failed.append(Failure(one.step, one.reason, one.error))
            self._say("step-end", one.step, {"ok": False, "reason": one.reason, "seconds": seconds})
            return
        self.done.append(one.step)
        self._say("step-end", one.step, {"ok": True, "seconds": seconds})
        for follower in self.followers.get(one.step.id, ()):
            needs = self.waiting[follower.id]
            needs.discard(one.step.id)
            if not needs:
                self.ready.append(follower)

    def _listen(self) -> list[_Ended]:
        """Wait for news, and take all there are."""
        ended: list[_Ended] = []
        while not ended and not self.hurry.is_set():
            # The kernel may hand a signal to a worker's thread; Python tells the main thread only once that wakes up.
            with suppress(Empty):
                self._take(self.news.get(timeout=_WAKE_SECONDS), ended)
        while not self.news.empty():
            self._take(self.news.get(), ended)
        return ended

    def _take(self, news: int | _Ended, ended: list[_Ended]) -> None:
        if isinstance(news, _Ended):
            ended.append(news)
        elif self.signal:
            self.hurry.set()
        else:
            self.signal = news
            text = "no new steps begin; those that run are let end (a second signal does not wait for them)"
            self._emit(Event("warning", data={"code": "interrupted", "text": text}))

    def _outcome(self) -> Outcome:
        """What was done, what failed, what was not started: told to whoever listens, and returned."""
        left = [
            Failure(step, "interrupted; whether it had its effect, the next plan tells")
            for step in self.running.values()
        ]
        ended = {step.id for step in self.done} | {failure.step.id for failure in (*self.failed, *left)}
        untouched = tuple(step for step in self.plan.steps if step.id not in ended)
        outcome = Outcome(tuple(self.done), (*self.failed, *left), untouched, self.signal, self.trouble)
        data = {
            "done": [step.id for step in outcome.done],
            "failed": [failure.step.id for failure in outcome.failed],
            "not_started": [step.id for step in outcome.not_started],
        }
        self._emit(Event("outcome", data=data))
        return outcome

    def _work(self) -> None:
        while (step := self.tasks.get()) is not None:
            try:
                reason = self._carry_out(step)
                self.news.put(_Ended(step, reason))
            except PaictlError as error:
                help_ = error.help[:1].upper() + error.help[1:]
                self.news.put(_Ended(step, f"{error.summary}. {help_}".rstrip(". "), error))
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                self.news.put(_Ended(step, f"{where}{error.strerror or error}", error))
            except Exception as error:  # noqa: BLE001 - a bug in a driver must not leave the others' ends unwritten
                self.news.put(_Ended(step, f"{type(error).__name__}: {error}", error))

    def _carry_out(self, step: Step) -> str:
        crew = self.crew
        crew.on_point("after-begin", step.id)
        crew.driver.act(step, secrets=crew.secrets, emit=self._emit)
        crew.on_point("after-effect", step.id)
        if step.resource is None or step.resource.probe is None or step.action == "run":
            return ""
        crew.on_point("during-wait", step.id)
        gate = HealthGate(crew.driver.probe, crew.clock, self._emit, self.hurry.is_set)
        return gate.wait(step.resource, step.resource.probe)

    def _say(self, kind: str, step: Step, data: dict[str, object]) -> None:
        self._emit(Event(kind, str(step.address), {"step": step.id, "action": step.action, **data}))

    def _emit(self, event: Event) -> None:
        """Listeners are written for one thread."""
        with self.speaking:
            self.crew.emit(event)
