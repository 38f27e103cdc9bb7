"""A person's home of their own for one story, whose agent lives on a host of the tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from tests.hosts.found import State, differences, state
from tests.hosts.host import Host
from tests.story.home import PAICTL, Home
from tests.waiting import until

__all__ = ["HostHome"]

_END_SECONDS = 60
_OF_AN_ACCOUNT = ("user", "group", "password", "password of group")


@dataclass
class HostHome(Home):
    """``host`` is where the agent lives.

    ``found`` is what the host was like when a key let its owner in, and nothing else had been done.
    """

    host: Host | None = None
    found: State = field(default_factory=dict)

    @property
    def there(self) -> Host:
        assert self.host is not None
        return self.host

    @property
    def welcome(self) -> str:
        """An address on this machine ends with the command that leads there."""
        return "paictl chat"

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """Open for as long as somebody has `paictl open` running."""
        command = [PAICTL, "open", "-o", "json"]
        with subprocess.Popen(
            command, cwd=self.manifest.parent, env=self.surroundings(), stdout=subprocess.PIPE, text=True
        ) as opened:
            try:
                assert opened.stdout is not None
                text = ""
                while not text.rstrip().endswith("}"):
                    line = opened.stdout.readline()
                    assert line, text
                    text += line
                yield json.loads(text)["url"]
            finally:
                opened.terminate()

    def running(self) -> dict[str, str]:
        """The services by name; each start of one has an id of its own."""
        if not self.there.boots():
            return {}
        asked = ["--property=Id,InvocationID,ActiveState", f"paictl-{self.agent}-*.service"]
        found = {}
        for block in self.there.exec(["systemctl", "show", *asked]).strip().split("\n\n"):
            told = dict(line.split("=", 1) for line in block.splitlines())
            if told.get("ActiveState") in {"active", "activating"}:
                service = told["Id"].removeprefix(f"paictl-{self.agent}-").removesuffix(".service")
                found[service] = told["InvocationID"]
        return found

    def services(self) -> dict[str, psutil.Process]:
        raise NotImplementedError("its processes are the host's")

    def switch_off(self) -> None:
        """Nothing of it runs, and nothing is left of it in memory."""
        self.there.exec(["systemctl", "stop", f"paictl-{self.agent}-*", f"paictl-{self.agent}.target"])
        self.there.exec(["sh", "-c", f"rm -rf /run/paictl/{self.agent}/*"])
        until(lambda: self.running() == {}, "the end of every service", _END_SECONDS)

    def left(self) -> list[str]:
        """Everything of the agent's that its host still has."""
        places = f"/etc/paictl /opt/paictl /run/paictl /var/lib/paictl/{self.agent} /etc/systemd/system/paictl* /etc/tmpfiles.d/paictl*"
        files = self.there.exec(["sh", "-c", f"find {places} ! -type d 2>/dev/null || true"]).split()
        processes = self.there.exec(["sh", "-c", "pgrep -a -f '[/]opt/paictl' || true"]).splitlines()
        return [*files, *processes]

    def state(self) -> State:
        return state(self.there)

    def altered(self, *, kept: bool = False) -> list[str]:
        """What of the host is not as it was found; ``kept``: but for what belongs to data, its keys and the account that owns it."""
        ours = (
            ("file /etc/paictl", *(f"account {what} paictl-{self.agent}:" for what in _OF_AN_ACCOUNT)) if kept else ()
        )
        return [one for one in differences(self.found, self.state()) if not one.startswith(ours)]
