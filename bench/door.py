"""What the door costs: streaming through the gateway against the model server itself, resident memory, the first answer.

Applies the quickstart in a scratch home with real rooms and the real model, and takes it down again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.table import Row
from tests.story.home import PAICTL, Home

__all__ = ["run"]

_PAIRS = 5
_TOKENS = 160
_QUESTION = "Count from one to one hundred in words."


def run() -> list[Row]:
    """The rows about a running agent."""
    with _applied() as (home, applied_seconds):
        first = _first_words(home)
        resident = sum(home.services()[name].memory_info().rss for name in ("agent", "gateway")) / 1e6
        ratios = [
            _tokens_per_second(home, through_gateway=True) / _tokens_per_second(home, through_gateway=False)
            for _ in range(_PAIRS)
        ]
        by_hand = _by_hand(home)
    return [
        Row(
            "model streaming through the gateway, of the server's own tokens/s",
            statistics.median(ratios),
            "",
            0.97,
            at_least=True,
        ),
        Row("agent + gateway resident, idle", resident, "MB", 250),
        Row(
            "first words of `paictl chat` after apply, of starting the server by hand and asking it",
            first / by_hand,
            "",
            1.2,
        ),
        Row("apply of the quickstart on a warm cache, wall", applied_seconds, "s"),
    ]


@contextmanager
def _applied() -> Iterator[tuple[Home, float]]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        (home.folder / "run").mkdir(mode=0o700)
        home.prepare()
        try:
            # The first fills the cache; what is timed is what a second person on this machine would see.
            home.run("apply", "--yes")
            home.run("destroy", "--yes")
            begun = time.monotonic()
            home.run("apply", "--yes")
            yield home, time.monotonic() - begun
        finally:
            home.switch_off()


def _first_words(home: Home) -> float:
    """Seconds from typing ``paictl chat`` to the first words on the terminal: answers differ in length, so not to their end."""
    begun = time.monotonic()
    command = [PAICTL, "chat", "Say hello."]
    with subprocess.Popen(
        command, cwd=home.manifest.parent, env=home.surroundings(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as chat:
        assert chat.stdout is not None
        if not chat.stdout.read(1):
            raise RuntimeError("the agent said nothing")
        seconds = time.monotonic() - begun
        chat.stdout.read()
    return seconds


def _tokens_per_second(home: Home, *, through_gateway: bool) -> float:
    """One streamed completion; pieces after the first, over the time from the first to the last."""
    socket = home.root / "run" / ("gateway/inner.sock" if through_gateway else "model-chat/http.sock")
    headers = {}
    if through_gateway:
        token = next((home.folder / "run" / "paictl").glob("*/secrets/agent-token")).read_text(encoding="ascii").strip()
        headers["Authorization"] = f"Bearer {token}"
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://model", headers=headers
    ) as client:
        return _streamed(client)


def _streamed(client: httpx.Client) -> float:
    asked = {
        "model": "chat",
        "stream": True,
        "temperature": 0,
        "max_tokens": _TOKENS,
        "messages": [{"role": "user", "content": _QUESTION}],
    }
    stamps: list[float] = []
    with client.stream("POST", "/v1/chat/completions", json=asked, timeout=300) as answer:
        answer.raise_for_status()
        stamps.extend(time.monotonic() for line in answer.iter_lines() if _says_something(line))
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])


def _says_something(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    return any(choice["delta"].get("content") for choice in json.loads(line.removeprefix("data: "))["choices"])


def _by_hand(home: Home) -> float:
    """Seconds from starting llama.cpp's server on the same file to the first words of its answer."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = json.loads((home.root / "config/model-chat/model-chat.json").read_text(encoding="utf-8"))
        config |= {"listen": "unix:http.sock", "model": str(home.root / config["model"])}
        (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
        begun = time.monotonic()
        module = "paictl.runtime.engines.llamacpp"
        command = [sys.executable, "-m", module, "--root", folder, "--config", "config.json"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                _ask(root / "http.sock")
                return time.monotonic() - begun
            finally:
                server.terminate()


def _ask(socket: Path) -> None:
    asked = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}
    deadline = time.monotonic() + 60
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://model", timeout=120) as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/health").status_code == 200:
                    with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
                        next(line for line in answer.iter_lines() if _says_something(line))
                    return
            except httpx.TransportError:
                time.sleep(0.02)
    raise TimeoutError("the server did not come up")
