"""A declared secret reaches its one host, and is found nowhere else: not on disk, not in a process, not in a plan."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.runtime.gateway.upstream import Upstream, running
from tests.story.home import Home

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("story")]

CANARY = f"canary-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def api() -> Iterator[Upstream]:
    with running() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def talking(home: Home, api: Upstream) -> str:
    """The quickstart's agent thinking with a model behind an API, whose key is the canary; everything that was printed."""
    home.environment["CANARY"] = CANARY
    home.edit(
        "  models:\n",
        "  secrets: {canary: {from: env, name: CANARY, hosts: [127.0.0.1]}}\n"
        "  routing: {chat: [cloud, chat]}\n"
        "  models:\n"
        f"    cloud: {{task: chat, manage: external, url: {api.endpoint}, model: big, secret: canary}}\n",
    )
    said = [home.run("plan", "-o", "json"), home.run("apply", "--yes", "-o", "json"), home.run("plan", "-v")]
    said += [home.run("chat", "Hello"), home.run("status", "-o", "json"), home.run("logs"), home.run("history")]
    return "".join(one.stdout + one.stderr for one in said)


@pytest.mark.promise(23)
def test_the_secret_reaches_its_host(api: Upstream, talking: str) -> None:
    assert "Hello from the model" in talking
    assert api.of("/v1/chat/completions")[-1].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.promise(23)
def test_nothing_that_paictl_prints_holds_it(talking: str) -> None:
    assert CANARY not in talking


@pytest.mark.promise(23)
def test_no_file_holds_it_but_the_gateways_own_on_tmpfs(home: Home, talking: str) -> None:
    del talking
    files = [path for path in home.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 50
    holding = [path for path in files if "site-packages" not in path.parts and CANARY.encode() in _content(path)]
    assert [path.relative_to(home.folder).parts[0] for path in holding] == ["run"]
    assert holding[0].parts[-2:] == ("secrets", "canary")
    assert holding[0].stat().st_mode & 0o777 == 0o400


@pytest.mark.promise(23)
def test_no_process_has_it_in_its_environment_or_arguments(home: Home, talking: str) -> None:
    del talking
    processes = home.everything()
    assert len(processes) >= 5
    for process in processes:
        for name in ("environ", "cmdline"):
            assert CANARY.encode() not in _content(Path(f"/proc/{process.pid}/{name}")), (process, name)


@pytest.mark.promise(23)
def test_the_agents_memory_does_not_hold_it_and_the_gateways_does(home: Home, talking: str) -> None:
    del talking
    services = home.services()
    # The gateway is the counter-check: a search that finds nothing anywhere would prove nothing.
    assert _in_memory(services["gateway"], CANARY.encode())
    assert not _in_memory(services["agent"], CANARY.encode())


@pytest.mark.promise(23, 24)
def test_verify_looks_for_it_in_every_room_and_does_not_find_it(home: Home, talking: str) -> None:
    del talking
    checks = home.json("verify")["checks"]
    looked = [check for check in checks if check["tried"] == "secret canary"]
    assert {check["where"] for check in looked} == {"agent", "model-chat", "model-embed"}
    assert all(check["passed"] for check in looked)


def _content(path: Path) -> bytes:
    """What is in it; nothing once it is gone: databases let go of their side files, processes end."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _in_memory(process: psutil.Process, needle: bytes) -> bool:
    """Whether the process has it in any page that it can write to."""
    maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.MULTILINE):
            try:
                memory.seek(int(start, 16))
                if needle in memory.read(int(end, 16) - int(start, 16)):
                    return True
            except (OSError, OverflowError):
                continue
    return False
