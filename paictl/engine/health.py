"""The gate behind a step: asks the driver until what was made is healthy and stays so. Called by the executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paictl.clock import Clock
from paictl.engine.model import Health, Probe, Resource
from paictl.errors import PaictlError
from paictl.events import Emit, Event

__all__ = ["HealthGate"]

_FIRST_SECONDS, _LONGEST_SECONDS, _SLOWER = 0.02, 0.5, 1.6


@dataclass(frozen=True, slots=True)
class HealthGate:
    """Waits on one driver. ``hurry`` says that a second signal came, and nobody waits any more."""

    probe: Callable[[Resource], Health]
    clock: Clock
    emit: Emit
    hurry: Callable[[], bool]

    def wait(self, resource: Resource, probe: Probe) -> str:
        """Empty when it is healthy and stable; else why it isn't, ending with its last log lines where it gave up for good."""
        begun = self.clock.monotonic()
        healthy_since: float | None = None
        pause, told = _FIRST_SECONDS, ""
        while True:
            health = self._ask(resource)
            now = self.clock.monotonic()
            if health.state != told:
                told = health.state
                data = {"state": health.state, "detail": health.detail}
                self.emit(Event("health", str(resource.address), data))
            if health.terminal:
                return f"it can't become healthy: {health.detail}"
            if health.state != "healthy":
                healthy_since = None
            elif healthy_since is None:
                healthy_since, pause = now, _FIRST_SECONDS
            if healthy_since is not None and now - healthy_since >= probe.stable_seconds:
                return ""
            if self.hurry():
                return "interrupted while it was becoming healthy"
            if now - begun >= probe.timeout_seconds + (probe.stable_seconds if healthy_since is not None else 0.0):
                return f"it was not healthy and stable after {probe.timeout_seconds:g} s ({health.state}): {health.detail}".rstrip(
                    ": "
                )
            self.clock.sleep(pause)
            pause = min(pause * _SLOWER, _LONGEST_SECONDS)

    def _ask(self, resource: Resource) -> Health:
        try:
            return self.probe(resource)
        except PaictlError as error:
            if not error.retry_helps:
                raise
            return Health("unknown", error.summary)
