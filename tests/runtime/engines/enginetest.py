"""A model server in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[3]


@dataclass
class Engine:
    """One program of paictl.runtime.engines with its root."""

    program: str
    root: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def log(self) -> str:
        return (self.root / f"{self.program}.log").read_text()

    def launch(self) -> subprocess.Popen[bytes]:
        self.root.mkdir(exist_ok=True)
        (self.root / f"{self.program}.json").write_text(json.dumps(self.config))
        command = [sys.executable, "-m", f"paictl.runtime.engines.{self.program}", "--root", str(self.root)]
        with (self.root / f"{self.program}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--config", f"{self.program}.json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
            )
        return self.process

    def client(self) -> httpx.Client:
        kind, _, where = self.config["listen"].partition(":")
        transport = httpx.HTTPTransport(uds=str(self.root / where)) if kind == "unix" else None
        base = "http://engine" if kind == "unix" else f"http://{where}"
        return httpx.Client(transport=transport, base_url=base, timeout=120, trust_env=False)

    def start(self) -> None:
        process = self.launch()
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            if self._listens():
                with self.client() as client:
                    if client.get("/health").status_code == 200:
                        return
            time.sleep(0.05)

    def _listens(self) -> bool:
        # httpx leaves a socket open when a Unix socket refuses, so that is found out without it.
        kind, _, where = self.config["listen"].partition(":")
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as probe:
            host, _, port = where.rpartition(":")
            return probe.connect_ex(str(self.root / where) if kind == "unix" else (host, int(port))) == 0

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def ends(self) -> tuple[int, str]:
        """How it ends when it can't start."""
        return self.launch().wait(60), self.log
