"""One durable step at the door: written down when done, with a key that makes its repetition harmless.

``turns`` and the tools of ``mind`` do everything that reaches the gateway through here, model requests excepted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from dbos import DBOS

from paictl.runtime.agent.door import Call, DoorError

__all__ = ["keyed", "step"]

T = TypeVar("T")


async def step(name: str, do: Callable[[], Awaitable[T]]) -> T:
    """Do it, or give what it gave before the crash. While the gateway passes through a restart it is tried for 15 seconds."""

    async def run() -> T:
        return await do()

    return await DBOS.run_step_async(
        {"name": name, "retries_allowed": True, "max_attempts": 6, "interval_seconds": 0.5, "should_retry": _passing},
        run,
    )


def keyed(call: Call) -> Call:
    """The same call with the running step's key: the step may run twice, its effect happens once."""
    return Call(call.run, call.session, f"{DBOS.workflow_id}:{DBOS.step_id}")


def _passing(problem: BaseException) -> bool:
    return isinstance(problem, DoorError) and problem.passing
