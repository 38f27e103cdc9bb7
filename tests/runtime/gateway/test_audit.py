from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from paictl.runtime.gateway.audit import AuditLog, Call
from paictl.runtime.gateway.chain import checkpoints_of, verify_chain
from paictl.runtime.gateway.identity import Identity, load_or_create, name, public_key
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.policy import Verdict
from tests.runtime.gateway.gatewayprocess import GatewayProcess
from tests.runtime.gateway.upstream import eventually

ASK = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path / "identity.key")


@pytest.fixture
def log(tmp_path: Path, identity: Identity) -> Path:
    """Ten records, five decisions with their effects, closed and so signed."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, identity, Metrics())
    for index in range(5):
        audit.decide(Call("alice", "chat", "atlas", {"n": index}), Verdict(True, "metadata.owner")).done("ok")
    audit.close()
    return path


def test_a_log_that_nobody_touched_is_whole(log: Path, identity: Identity) -> None:
    assert len(log.read_bytes().splitlines()) == 10
    assert verify_chain(log, identity.public()) == []
    inception = (log.parent / "identity.inception").read_bytes().strip()
    assert name(inception) == identity.id
    assert verify_chain(log, public_key(inception)) == []


def _flip(lines: list[bytes]) -> list[bytes]:
    return [
        line.replace(b'"allowed":true', b'"allowed":false') if index == 4 else line for index, line in enumerate(lines)
    ]


def _reseal(lines: list[bytes]) -> list[bytes]:
    """Alter a record and give it a hash that fits: the chain behind it breaks."""
    from paictl.runtime.gateway.chain import canonical, digest

    record = json.loads(lines[4])
    record["principal"] = "mallory"
    record["hash"] = digest(record)
    return [*lines[:4], canonical(record) + b"\n", *lines[5:]]


@pytest.mark.promise(29)
@pytest.mark.parametrize(
    ("tamper", "kind", "line", "said"),
    [
        (_flip, "altered", 5, "record 5 does not match its hash"),
        (_reseal, "altered", 6, "record 6 does not continue the record before it"),
        (lambda lines: lines[:4] + lines[5:], "missing", 5, "records 5 to 5 are not before record 6"),
        (lambda lines: lines[:4] + lines[7:], "missing", 5, "records 5 to 7 are not before record 8"),
        (lambda lines: lines[1:], "missing", 1, "records 1 to 1 are not before record 2"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], "reordered", 6, "record 5 stands after record 6"),
        (lambda lines: lines[:-1], "truncated", 0, "the log ends at record 9; record 10 was signed"),
        (lambda lines: [], "truncated", 0, "the log ends at record 0; record 10 was signed"),
        (lambda lines: [*lines[:4], b"garbage\n", *lines[4:]], "unreadable", 5, "not a record"),
    ],
)
def test_each_way_to_tamper_is_found_and_named(
    log: Path, identity: Identity, tamper: Callable[[list[bytes]], list[bytes]], kind: str, line: int, said: str
) -> None:
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    found = [(one.kind, one.line, one.detail) for one in verify_chain(log, identity.public())]
    assert (kind, line, said) in found


@pytest.mark.promise(29)
def test_a_log_that_is_rewritten_as_a_whole_is_not_the_one_that_was_signed(
    log: Path, identity: Identity, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    forged = AuditLog(other / "audit.jsonl", load_or_create(other / "identity.key"), Metrics())
    for _ in range(5):
        forged.decide(Call("alice", "chat", "atlas"), Verdict(True, "x")).done("ok")
    forged.close()
    log.write_bytes((other / "audit.jsonl").read_bytes())
    assert [one.detail for one in verify_chain(log, identity.public())] == ["record 10 is not the one that was signed"]
    checkpoints_of(log).write_bytes(checkpoints_of(other / "audit.jsonl").read_bytes())
    assert [one.kind for one in verify_chain(log, identity.public())] == ["bad-signature"]


@pytest.mark.promise(29)
def test_a_log_that_was_cut_is_not_continued(log: Path, identity: Identity) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(ValueError, match="ends at record 8, but record 10 was signed"):
        AuditLog(log, identity, Metrics())


def test_a_torn_last_line_is_dropped_and_the_chain_goes_on(log: Path, identity: Identity) -> None:
    with log.open("ab") as file:
        file.write(b'{"seq":11,"half')
    assert verify_chain(log, identity.public()) == []
    audit = AuditLog(log, identity, Metrics())
    audit.decide(Call("alice", "chat", "atlas"), Verdict(True, "x"))
    audit.close()
    assert len(log.read_bytes().splitlines()) == 11
    assert verify_chain(log, identity.public()) == []


def test_arguments_are_kept_as_macs_that_only_the_identity_can_make(log: Path) -> None:
    [first, *_] = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert set(first["arguments"]) == {"n"}
    assert len(first["arguments"]["n"]) == 64


@pytest.mark.promise(29)
def test_a_call_that_cannot_be_written_down_is_refused_and_not_done(gateway: GatewayProcess) -> None:
    from tests.runtime.gateway.gatewayprocess import ScriptedAgent, say

    assert gateway.process is not None
    chat = {"messages": [{"role": "user", "content": "x"}]}
    with ScriptedAgent(gateway, say("x")) as agent, gateway.person() as person, gateway.agent() as door:
        assert person.post("/v1/chat/completions", json=chat).status_code == 200
        before = (gateway.data / "audit.jsonl").read_bytes()
        limit = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
        # No file can grow: a full disk.
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (len(before) + 40, limit[1]))
        for refused in (
            person.post("/v1/chat/completions", json=chat),
            door.post("/v1/chat/completions", json=ASK),
            door.post("/memory/remember", json={"text": "x", "space": "work"}),
            person.delete("/v1/sessions/s1"),
        ):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "audit_unavailable")
        assert len(agent.work) == 1
        assert (gateway.data / "audit.jsonl").read_bytes() == before
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limit)
        assert person.post("/v1/chat/completions", json=chat).status_code == 200
        assert door.post("/memory/recall", json={"query": "x"}).json() == {"memories": []}
    gateway.stop()
    inception = (gateway.data / "identity.inception").read_bytes().strip()
    assert verify_chain(gateway.data / "audit.jsonl", public_key(inception)) == []


@pytest.mark.promise(29)
def test_after_a_kill_the_chain_goes_on_and_is_signed_within_moments(gateway: GatewayProcess) -> None:
    log = gateway.data / "audit.jsonl"
    with gateway.agent() as agent:
        for _ in range(3):
            agent.post("/memory/recall", json={"query": "x"})
        eventually(lambda: '"seq":6' in checkpoints_of(log).read_text())
    gateway.kill()
    gateway.start()
    with gateway.agent() as agent:
        agent.post("/memory/recall", json={"query": "x"})
    gateway.stop()
    inception = (gateway.data / "identity.inception").read_bytes().strip()
    assert verify_chain(log, public_key(inception)) == []
    assert [json.loads(line)["seq"] for line in log.read_text().splitlines()] == list(range(1, 9))
