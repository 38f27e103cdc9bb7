"""The kind ``supervisor``: the one process that starts the services, keeps them up, and outlives the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.drivers.native.disk import remove_tree, write
from paictl.drivers.native.kind import HEALTHY, Act, Here, Seen
from paictl.drivers.native.records import Record
from paictl.drivers.native.supervision import look, shut_down, start
from paictl.engine.model import Health

__all__ = ["Supervisors"]

_GRACE_SECONDS = 30.0


class Supervisors:
    """It tells, when asked, the identity it was started with: the digest of its configuration and its runtime."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        path = here.layout.supervisor_config
        if not path.is_file() and not here.live:
            return None
        config = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        identity = here.live.identity if here.live else record.spec.get("identity")
        return Seen(
            {**record.spec, "config": config, "identity": identity},
            health=HEALTHY if here.live else Health("unhealthy", "it is not running"),
            handle=str(here.live.process) if here.live and here.live.process else "",
        )

    def make(self, act: Act) -> Mapping[str, object] | None:
        layout = act.layout
        write(layout.supervisor_config, act.text("config").encode())
        live = look(layout)
        if live and live.identity == act.text("identity"):
            return None
        # Whatever an earlier one left behind goes first: never two agents on one database.
        shut_down(layout, act.clock, _GRACE_SECONDS)
        start(layout, layout.venv(act.text("runtime")) / "bin" / "python", act.clock)
        return None

    def remove(self, act: Act) -> None:
        shut_down(act.layout, act.clock, _GRACE_SECONDS)
        remove_tree(act.layout.supervisor_config)
