"""What verbs share on the way to a target: the checked manifest, what it comes to, the driver. Made anew by each run."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from paictl import places
from paictl.cli.console.failure import diagnostic_lines
from paictl.cli.flags import Call
from paictl.events import Emit, ignore

if TYPE_CHECKING:
    from paictl.blueprint.types import Blueprint
    from paictl.cli.logins import Asked, Pinning
    from paictl.cli.resolution import Resolution
    from paictl.drivers.ansible.hosts import Hosts
    from paictl.engine.driver import Driver, Reach, Scope
    from paictl.engine.intent import Desired
    from paictl.engine.model import Plan
    from paictl.engine.reconcile import Gate
    from paictl.engine.reconciler import Reconciler
    from paictl.engine.review import Consent
    from paictl.manifest.load import Manifest

__all__ = ["Session", "load_manifest", "manifest_files", "open_session", "watched"]

_DEFAULT = "agent.yaml"


def manifest_files(call: Call) -> tuple[str, ...]:
    """The files that were named, or ``agent.yaml`` here; a directory means its ``agent.yaml``."""
    files = call.flags.files or (_DEFAULT,)
    return tuple(str(Path(file) / _DEFAULT) if file != "-" and Path(file).is_dir() else file for file in files)


def load_manifest(call: Call) -> Manifest:
    """The checked manifest; what is only a warning goes to stderr."""
    from paictl.blueprint.unavailable import left_idle
    from paictl.manifest.load import load

    manifest = load(manifest_files(call), target=call.flags.target, env=os.environ)
    idle = left_idle(manifest, call.flags.driver or manifest.target_spec.driver)
    manifest = replace(manifest, warnings=(*manifest.warnings, *idle))
    for warning in manifest.warnings:
        for line in diagnostic_lines(warning, call.terminal):
            call.terminal.note(line)
    return manifest


def open_session(call: Call) -> Session:
    """The way to the manifest's target; reaches nothing yet."""
    return Session(call, load_manifest(call))


@contextmanager
def watched(call: Call) -> Iterator[Emit]:
    """Somebody watches what happens in the block: a download while planning, say."""
    from paictl.cli.console.progress import listen

    with listen(call.terminal) as listener:
        yield listener


@dataclass
class Session:
    """One agent on one target, for one run of a verb. What is asked for first is made first."""

    call: Call
    manifest: Manifest
    _resolution: Resolution | None = field(default=None, init=False)

    @property
    def driver_name(self) -> str:
        """The target's driver, or the one that ``--driver`` names."""
        return self.call.flags.driver or self.manifest.target_spec.driver

    @cached_property
    def driver(self) -> Driver:
        """The driver itself."""
        from paictl.cli.drivers import Way, driver_of

        target = self.manifest.target_spec
        # A context of Kubernetes is none of Docker's.
        way = Way()
        if target.driver == self.driver_name:
            way = Way(target.context, target.namespace, lambda: self.hosts)
        return driver_of(self.driver_name, self.scope, way, offline=self.call.flags.offline)

    @cached_property
    def hosts(self) -> Hosts:
        """The hosts of a target of driver ansible."""
        from paictl.cli.logins import hosts_of

        return hosts_of(self.manifest, self.asked)

    @cached_property
    def asked(self) -> Asked:
        """The passwords that this run comes to know."""
        from paictl.cli.logins import Asked

        return Asked(self.call.terminal, self.manifest)

    def meet(self, pinning: Pinning | None = None) -> None:
        """Have a person asked what hosts want to know, before anything else is shown: whose key it is, and for sudo's password.

        With ``pinning``, hosts may be met for the first time.
        """
        if self.driver_name != "ansible" or self.manifest.target_spec.driver != "ansible":
            return
        from paictl.cli.logins import ask_before, pin

        if pinning is not None:
            pin(self.manifest, self.call.terminal, pinning)
        if self.call.terminal.can_ask:
            ask_before(self.hosts)

    def unpinned(self) -> list[str]:
        """The hosts whose keys nobody has agreed to yet."""
        if self.driver_name != "ansible":
            return []
        return [login.name for login in self.hosts.logins.values() if not login.local and not login.host_key]

    @cached_property
    def scope(self) -> Scope:
        """Which agent on which target."""
        from paictl.engine.driver import Scope

        return Scope(self.manifest.agent.metadata.name, self.manifest.target)

    def resolve(
        self,
        emit: Emit = ignore,
        *,
        download: bool = False,
        fresh: bool = False,
        secrets: bool = False,
        images: bool = False,
    ) -> Resolution:
        """What the manifest comes to here."""
        from paictl.cli.resolution import resolve
        from paictl.cli.rules import Rules

        flags = self.call.flags
        rules = Rules(flags.locked, flags.offline, download, fresh, secrets, images, self.driver_name)
        self._resolution = resolve(self.manifest, rules, emit)
        return self._resolution

    def blueprint(self) -> Blueprint:
        """What has to stand, for verbs that only look: nothing is fetched for it."""
        return (self._resolution or self.resolve()).blueprint

    def desired(self, emit: Emit = ignore, *, download: bool = False) -> Desired:
        """The resources that have to stand, compiled from the files as they are now."""
        from paictl.blueprint.unavailable import refuse_unavailable
        from paictl.cli.resolution import lock_digest
        from paictl.engine.intent import Declared, Desired

        if self.call.flags.lock_timeout and "-" not in self.call.flags.files:
            self.manifest = load_manifest(self.call)  # the wait for the lock may have been long
        refuse_unavailable(self.manifest, self.driver_name)
        if self.manifest.agent.spec.updates is not None:
            from paictl.cli.following import refuse_unsafe

            refuse_unsafe(self.manifest, manifest_files(self.call))
        resolution = self.resolve(emit, download=download, secrets=True, images=True)
        lock = lock_digest(resolution.after, self.scope.target)
        spec = self.manifest.agent.spec
        schedules = {name: workflow.schedule for name, workflow in spec.workflows.items() if workflow.schedule}
        declared = Declared(schedules, spec.permissions.digest())
        manifest = self.manifest.digest
        return Desired.of(self.driver, resolution.blueprint, manifest=manifest, lock=lock, declared=declared)

    def keep_lock(self) -> None:
        """Write ``agent.lock``, when something new was resolved."""
        if self._resolution is not None:
            self._resolution.keep()

    def reconciler(self, emit: Emit = ignore) -> Reconciler:
        """The engine, for this agent on this target."""
        from paictl.cli.origin import source_of
        from paictl.cli.resolution import read_secret
        from paictl.engine.reconciler import Reconciler

        return Reconciler(
            scope=self.scope,
            driver=self.driver,
            state_dir=places.state_home(),
            secrets=lambda name: read_secret(self.manifest, name),
            who=f"{getpass.getuser()}@{socket.gethostname()}",
            source=source_of(manifest_files(self.call)[0], self.manifest.agent.spec.updates),
            emit=emit,
            # Of the machine itself, each of its users has records, and root's timer.
            shared=self.driver_name == "ansible" and not self.manifest.target_spec.hosts,
            lock_timeout=self.call.flags.lock_timeout or 0.0,
        )

    def reach(self, port: int = 0) -> Reach:
        """Where the running gateway is, with the owner's token; ``port`` where a way to it begins that has to be opened."""
        return self.driver.reach(self.blueprint(), port=port)

    def services(self) -> list[str]:
        """The names of the agent's services."""
        return [service.name for service in self.blueprint().services]

    def guarded(self, emit: Emit, consent: Consent) -> tuple[Consent, Gate | None]:
        """The consent and the last gate of a change, with the manifest's continuity checks in them.

        What holds before the change is looked at once somebody agreed to it. The fake driver has no agent to ask.
        """
        from paictl.engine.continuity import Guard

        if self.driver_name == "fake":
            return consent, None
        spec = self.manifest.agent.spec
        lasting = frozenset(name for name, space in spec.memory.spaces.items() if space.retain == "forever")
        guard = Guard(spec.continuity, self.reach, lasting, emit)

        def agreed(plan: Plan) -> bool:
            agrees = consent(plan)
            guard.remember()
            return agrees

        return agreed, guard.check

    def url(self) -> str | None:
        """Where people reach the agent, also once this process has ended."""
        if self.driver_name == "fake":
            return None
        reach = self.reach()
        return None if reach.held else reach.url
