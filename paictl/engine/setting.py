"""Whom a run is for and what it works with: made once by the command line, passed along by ``reconcile``. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paictl.clock import Clock, SystemClock
from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.executor import Crew
from paictl.engine.ledger import Ledger, Stamp
from paictl.engine.lock import Patience, hold, myself
from paictl.engine.ownership import Source
from paictl.engine.points import OnPoint, pass_by
from paictl.engine.recollection import Place
from paictl.errors import PaictlError
from paictl.events import Emit, ignore

__all__ = ["Setting"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One agent on one target, through one driver.

    ``state_dir`` is the folder above all agents (``places.state_home()`` or ``--state-dir``); ``who`` is told to whoever
    finds the lock held, and is written into releases. ``source`` is the manifest that asks, when it is a file. ``shared``:
    others with records of their own apply the same agent, so that what the target remembers counts before what is kept here.
    """

    scope: Scope
    driver: Driver
    state_dir: Path
    secrets: SecretReader
    who: str
    source: Source | None = None
    emit: Emit = ignore
    clock: Clock = field(default_factory=SystemClock)
    lock_timeout: float = 0.0
    shared: bool = False
    on_point: OnPoint = pass_by

    @property
    def place(self) -> Place:
        """Where the ledger is."""
        return Place(self.scope, self.driver, self.state_dir / self.scope.agent / self.scope.target, self.shared)

    @contextmanager
    def hold_lock(self, verb: str) -> Iterator[Ledger]:
        """The lock, and the ledger that it guards; opening it settles what a crash left in the journal."""
        directory = self.place.directory
        try:
            for folder in (self.state_dir, directory.parent, directory):
                # One by one: with ``parents`` the mode is the last folder's alone.
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PaictlError(
                f"can't make the state directory {directory}: {error.strerror}",
                help="Choose another one with --state-dir.",
            ) from error
        holder = myself(self.who, verb, self.clock)
        patience = Patience(self.clock, self.lock_timeout)
        with hold(directory, self.driver, self.scope, holder, patience, self.emit):
            ledger = Ledger(self.place, self.emit, self.on_point)
            try:
                yield ledger
            finally:
                ledger.close()
            self.on_point("before-unlock", verb)

    def crew(self, ledger: Ledger) -> Crew:
        """What an execution works with."""
        return Crew(self.driver, self.secrets, ledger.commit, self.emit, self.clock, self.on_point)

    def stamp(self, verb: str) -> Stamp:
        """What a release says of its making."""
        return Stamp(self.who, verb, self.clock.now().isoformat(timespec="seconds"), self.source)
