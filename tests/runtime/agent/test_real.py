"""The whole chain with the real models, each program a process: what is told in one conversation is known in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.runtime.agent.gateway import until
from tests.runtime.conftest import Weights

REPOSITORY = Path(__file__).parents[3]
OWNER_TOKEN = "owner-token-0123456789"


@dataclass
class Chain:
    """Model servers, gateway and agent, as a driver would start them, without a sandbox."""

    root: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        for program in ("engines.llamacpp", "engines.onnx_embed", "gateway", "agent"):
            service = program.rpartition(".")[2]
            with (self.root / f"{service}.log").open("ab") as log:
                self.running[service] = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        f"paictl.runtime.{program}",
                        "--root",
                        str(self.root),
                        "--config",
                        f"config/{service}.json",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
                )
        until(self.ready, "everything is ready", 90)

    def ready(self) -> bool:
        for service, process in self.running.items():
            assert process.poll() is None, (self.root / f"{service}.log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, *, kill: bool = False) -> None:
        for process in self.running.values():
            process.kill() if kill else process.terminate()
        for process in self.running.values():
            process.wait(20)
        self.running.clear()

    def ask(self, text: str, session: str) -> str:
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            headers={"Authorization": f"Bearer {OWNER_TOKEN}", "X-Paictl-Session": session},
            json={"messages": [{"role": "user", "content": text}]},
            timeout=120,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def resident(self, service: str) -> int:
        """Megabytes."""
        status = Path(f"/proc/{self.running[service].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024


@pytest.fixture
def chain(weights: Weights) -> Iterator[Chain]:
    with tempfile.TemporaryDirectory(prefix="chain") as folder:
        root = Path(folder)
        for name in ("config", "data/agent", "data/gateway", "secrets", "run/gateway", "models"):
            (root / name).mkdir(parents=True)
        (root / "models/chat.gguf").symlink_to(weights.chat)
        (root / "models/embed.onnx").symlink_to(weights.embed)
        (root / "models/tokenizer.json").symlink_to(weights.tokenizer)
        for name, value in (("gateway-token", OWNER_TOKEN), ("agent-token", "a" * 32), ("checkpoint-key", "c" * 32)):
            (root / "secrets" / name).write_text(value)
        port = free_port()
        for service, config in _configurations(port).items():
            (root / "config" / f"{service}.json").write_text(json.dumps(config))
        chain = Chain(root, port)
        yield chain
        chain.stop(kill=True)


def _configurations(port: int) -> dict[str, dict[str, Any]]:
    spaces = {"long-term": {"retain": "forever"}, "session": {"retain": "session"}}
    chat, embed = "unix:run/chat.sock", "unix:run/embed.sock"
    return {
        "llamacpp": {"listen": chat, "model": "models/chat.gguf", "alias": "chat", "context": 2048, "max_tokens": 64},
        "onnx_embed": {
            "listen": embed,
            "model": "models/embed.onnx",
            "tokenizer": "models/tokenizer.json",
            "alias": "embed",
        },
        "gateway": {
            "agent": "atlas",
            "owner": "alice",
            "listen": f"tcp:127.0.0.1:{port}",
            "inner": "unix:run/gateway/inner.sock",
            "release": "r1",
            "models": {
                "chat": {"task": "chat", "endpoint": chat, "model": "chat", "local": True, "context": 2048},
                "embed": {
                    "task": "embed",
                    "endpoint": embed,
                    "model": "embed",
                    "local": True,
                    "dimension": 384,
                    "fingerprint": "minilm",
                },
            },
            "routing": {"chat": ["chat"], "embed": ["embed"]},
            "memory": {"embed": "embed", "spaces": spaces},
        },
        "agent": {
            "agent": "atlas",
            "owner": "alice",
            "gateway": "unix:run/gateway/inner.sock",
            "application_version": "one",
            "instructions": "You are Atlas, a personal agent. Answer in one short sentence.",
            "context": 2048,
        },
    }


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.promise(19)
def test_what_was_told_once_is_known_after_a_restart_of_everything_and_a_session_only_fact_is_not(chain: Chain) -> None:
    chain.start()
    assert chain.ask("My sister's name is Ines.", "first")
    assert chain.ask("For this conversation only: my codename is Falcon.", "first")
    assert "ines" in chain.ask("What is my sister's name?", "second").lower()
    chain.stop()
    chain.start()
    assert "ines" in chain.ask("What is my sister's name?", "third").lower()
    assert "falcon" not in chain.ask("What is my codename?", "fourth").lower()
    chain.stop(kill=True)
    chain.start()
    assert "ines" in chain.ask("What is my sister's name?", "fifth").lower()
    together = chain.resident("agent") + chain.resident("gateway")
    assert together <= 250, f"{chain.resident('agent')} + {chain.resident('gateway')} MB"


@pytest.mark.real
@pytest.mark.slow
def test_what_the_memory_holds_of_other_things_does_not_drown_the_answer(chain: Chain) -> None:
    chain.start()
    chain.ask(
        "My sister's name is Ines. My manager is Dana. I live in Lisbon. My dog is called Bruno. I work at a bakery.",
        "a",
    )
    begun = time.monotonic()
    assert "ines" in chain.ask("What is my sister's name?", "b").lower()
    assert time.monotonic() - begun < 60
    assert "dana" in chain.ask("Who is my manager?", "c").lower()
    assert chain.ask("Forget about my sister.", "d")
    assert "ines" not in chain.ask("What is my sister's name?", "e").lower()
