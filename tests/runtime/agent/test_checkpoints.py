"""Whoever edits the agent's database runs no code in the agent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse, TextPart

from paictl.runtime.agent.checkpoints import CheckpointRefused, SealedJson, StepFailed, load_key
from tests.runtime.agent.conftest import Room
from tests.runtime.agent.gateway import until

SEAL = SealedJson(b"0123456789abcdef")


class _Touch:
    """What an attacker would leave in the database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.promise(30)
@pytest.mark.parametrize("column", ["inputs", "output"])
@pytest.mark.parametrize(
    "disguise", ["as pickle", "without a seal", "under a wrong seal", "under a stranger's key", "as plain json"]
)
def test_a_tampered_checkpoint_runs_no_code_and_is_refused_by_name(room: Room, disguise: str, column: str) -> None:
    room.gateway.before = lambda path: 30.0 if path == "/v1/chat/completions" else 0.0
    room.start()
    answer = room.gateway.chat("My sister's name is Ines.")
    until(lambda: room.gateway.count("/v1/chat/completions") == 1, "the turn is in its model step")
    room.kill()
    trap = room.root / "trap"
    evil = base64.b64encode(pickle.dumps(_Touch(trap))).decode()
    pickle.loads(base64.b64decode(evil))  # noqa: S301 - the trap must work for the test to mean anything
    assert trap.exists()
    trap.unlink()
    body = '{"args":[{"id":"w1","kind":"chat"}],"kwargs":{}}'
    text, kind = {
        "as pickle": (evil, "py_pickle"),
        "without a seal": (evil, None),
        "under a wrong seal": (f"{'0' * 64}.{evil}", None),
        "under a stranger's key": (f"{hmac.new(b'k', body.encode(), hashlib.sha256).hexdigest()}.{body}", None),
        "as plain json": ('{"positionalArgs":[{"id":"w1","kind":"chat"}],"namedArgs":{}}', "portable_json"),
    }[disguise]
    # DBOS keeps inputs in a table of their own, and each row's format in the workflow's or the step's.
    changes = {
        "inputs": [
            "UPDATE workflow_input SET inputs = :text",
            "UPDATE workflow_status SET serialization = coalesce(:kind, serialization)",
        ],
        "output": ["UPDATE operation_outputs SET output = :text, serialization = coalesce(:kind, serialization)"],
    }[column]
    with closing(sqlite3.connect(room.database)) as connection, connection:
        for change in changes:
            assert connection.execute(change, {"text": text, "kind": kind}).rowcount > 0
    room.gateway.before = lambda path: 0.0
    # The gateway is a new one and offers nothing again: what goes on does so from the database alone.
    room.gateway._given.clear()
    room.start()
    until(lambda: "checkpoint refused" in room.log, "the refusal is in the log")
    assert not trap.exists()
    assert room.gateway.count("/v1/chat/completions") == 1
    assert not answer.deltas
    # The rest of the agent works on.
    assert room.gateway.chat("Hello?", name="w2").ended.wait(20)
    assert not trap.exists()


def test_a_checkpoint_comes_back_as_it_was() -> None:
    response = ModelResponse(parts=[TextPart("Hello.")], timestamp=datetime(2026, 1, 2, tzinfo=UTC))
    for value in (
        None,
        True,
        3,
        0.5,
        "a.b",
        [1, [2]],
        {"$": 1, "value": {"$": "map"}},
        datetime(2026, 1, 2, tzinfo=UTC),
        response,
    ):
        assert SEAL.deserialize(SEAL.serialize(value)) == value
    failure = SEAL.deserialize(SEAL.serialize(OSError("gone")))
    assert isinstance(failure, StepFailed)
    assert str(failure) == "OSError: gone"


def test_every_single_changed_character_is_found() -> None:
    sealed = SEAL.serialize({"a": [1, "two"]})
    for place in range(len(sealed)):
        changed = sealed[:place] + ("x" if sealed[place] != "x" else "y") + sealed[place + 1 :]
        with pytest.raises(CheckpointRefused):
            SEAL.deserialize(changed)


def test_a_type_that_json_does_not_know_is_refused_when_written() -> None:
    with pytest.raises(TypeError, match="can't hold a set"):
        SEAL.serialize({"a": {1}})


def test_a_key_too_short_to_protect_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short\n")
    with pytest.raises(ValueError, match="at least 16"):
        load_key(tmp_path / "key")
