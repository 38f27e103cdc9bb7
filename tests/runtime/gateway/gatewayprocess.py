"""A real gateway in a process of its own, and the two who talk to it: a person with a token, an agent with a script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tests.ports import free_port
from tests.runtime.gateway.upstream import DIMENSION, eventually

OWNER_TOKEN = "owner-token-0123456789abcdef"
AGENT_TOKEN = "agent-token-0123456789abcdef"

SPACES: dict[str, Any] = {
    "work": {"class": "private", "retain": "forever"},
    "home": {"class": "internal", "retain": "365d"},
    "session": {"class": "private", "retain": "session"},
}


def local_model(endpoint: str, task: str = "chat", **more: Any) -> dict[str, Any]:
    route = {"task": task, "endpoint": endpoint, "model": f"the-{task}", "local": True}
    return route | ({"dimension": DIMENSION, "fingerprint": "one"} if task == "embed" else {}) | more


@dataclass
class GatewayProcess:
    """One gateway: its root, its configuration, its process."""

    root: Path
    config: dict[str, Any]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.root / "data" / "gateway"

    @property
    def log(self) -> str:
        return (self.root / "gateway.log").read_text()

    def launch(self) -> None:
        (self.root / "config" / "gateway.json").write_text(json.dumps(self.config))
        with (self.root / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "paictl.runtime.gateway",
                    "--root",
                    str(self.root),
                    "--config",
                    "config/gateway.json",
                ],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])} | self.environment,
            )

    def start(self) -> None:
        self.launch()
        eventually(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            # Another test's process was faster to the free port.
            assert "Address already in use" in self.log, self.log
            self.port = free_port()
            self.config["listen"] = f"tcp:127.0.0.1:{self.port}"
            self.launch()
        try:
            response = httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False)
        except httpx.HTTPError:
            return False
        return response.status_code == 200 and response.json()["release"] == self.config["release"]

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)
        self.process = None

    def person(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {OWNER_TOKEN}"} | headers, timeout=20, trust_env=False
        )

    def agent(self, **headers: str) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.root / "run" / "inner.sock"))
        return httpx.Client(
            base_url="http://gateway",
            transport=transport,
            headers={"Authorization": f"Bearer {AGENT_TOKEN}"} | headers,
            timeout=20,
            trust_env=False,
        )


def new_gateway(**config: Any) -> GatewayProcess:
    """A root with tokens and a configuration, not started. Its path is short: a Unix socket's may have 108 bytes."""
    root = Path(tempfile.mkdtemp(prefix="gw-"))
    for name in ("config", "secrets", "run"):
        (root / name).mkdir(mode=0o700)
    for name, token in (("gateway-token", OWNER_TOKEN), ("agent-token", AGENT_TOKEN)):
        (root / "secrets" / name).write_text(token)
        (root / "secrets" / name).chmod(0o400)
    port = free_port()
    base = {
        "agent": "atlas",
        "owner": "alice",
        "listen": f"tcp:127.0.0.1:{port}",
        "inner": "unix:run/inner.sock",
        "memory": {"spaces": SPACES},
        "release": f"release-of-{root.name}",
    }
    return GatewayProcess(root, base | config, port)


def discard(gateway: GatewayProcess) -> None:
    gateway.stop()
    shutil.rmtree(gateway.root)


Script = Callable[[dict[str, Any], httpx.Client], Iterator[dict[str, Any]]]


class ScriptedAgent:
    """Says hello, polls, and answers each piece of chat work with the events of its script."""

    def __init__(self, gateway: GatewayProcess, script: Script, **hello: Any) -> None:
        self._client = gateway.agent()
        self._script = script
        self._hello = {"schedules": {}} | hello
        self._stopping = threading.Event()
        self.work: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        assert self._client.post("/agent/hello", json=self._hello).status_code == 200
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            response = self._client.get("/agent/work", params={"wait": "0.3"})
            if response.status_code == 200:
                self._answer(response.json())

    def _answer(self, work: dict[str, Any]) -> None:
        self.work.append(work)
        if work["kind"] == "chat":
            events = (json.dumps(event).encode() + b"\n" for event in self._script(work, self._client))
            try:
                self.statuses.append(self._client.post(f"/agent/work/{work['id']}/reply", content=events).status_code)
            except httpx.TransportError:
                self.statuses.append(410)


def say(*words: str) -> Script:
    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        for word in words:
            yield {"delta": word}
        yield {"done": True, "usage": {"prompt_tokens": 3, "completion_tokens": len(words)}}

    return script


def events_of(text: str) -> list[Any]:
    """The events of an SSE body."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]
