"""What a person sees after a mistake or a mishap: what is wrong, where, and what to do next. On the fake driver."""

from __future__ import annotations

import json
import os
import socket

from tests.cli.conftest import World


def test_a_first_apply_that_failed_is_told_as_unfinished_with_what_failed(world: World) -> None:
    world.fault(fail={"create:service/agent": 1})
    assert world.run("apply", "-y").returncode == 5
    said = world.run("status").stdout
    assert "not ready, the first apply is unfinished" in said
    assert "The last run failed at service/agent: the fake was told to fail create:service/agent." in said
    assert "`paictl apply` goes on from there." in said
    assert "leftover" not in said
    status = world.document("status")
    assert (status["ready"], status["release"], status["unfinished"]) == (False, 0, ["service/agent"])
    assert "service/agent" in status["failures"]
    assert {service["name"]: service["state"] for service in status["services"]}["gateway"] == "running"
    world.fault()
    assert world.run("apply", "-y").returncode == 0
    status = world.document("status")
    assert (status["ready"], status["unfinished"], status["failures"]) == (True, [], {})


def test_status_names_who_is_at_work(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    assert world.document("status")["working"] is None
    holder = {"who": "bob", "host": socket.gethostname(), "pid": os.getpid(), "since": "2026-01-02", "verb": "apply"}
    lock = world.state / "atlas" / "here" / "lock"
    lock.write_text(json.dumps(holder))
    assert f"bob on {holder['host']}, process {os.getpid()}" in world.run("status").stdout
    lock.write_text(json.dumps({**holder, "pid": 2**22 + 1}))  # beyond any pid: whoever it was is dead
    assert world.document("status")["working"] is None


def test_a_release_whose_record_is_damaged_takes_nothing_from_what_stands(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    record = world.state / "atlas" / "here" / "releases" / "0001.json"
    record.write_text("gar")
    said = world.run("status")
    assert "ready, release 1" in said.stdout
    assert "leftover" not in said.stdout
    assert "release 1 stands, but its record is lost" in world.run("history").stdout
    drift = world.run("drift")
    assert drift.returncode == 4
    assert f"the record of release 1 is damaged: {record}" in drift.stderr
    assert world.run("apply", "-y").returncode == 0
    assert world.run("drift").returncode == 0


def test_a_damaged_lock_is_refused_with_how_to_have_it_anew(world: World) -> None:
    lock = world.manifest.with_suffix(".lock")
    for damage in ("", "{", "targets: [", "lockVersion: 1\ntargets: {here: {runtime: {version: [1], digest: x}}}"):
        lock.write_text(damage)
        done = world.run("plan")
        assert done.returncode == 2, done.stderr
        assert "agent.lock" in done.stderr
        assert "delete it and run `paictl lock`" in done.stderr
        assert "paictl init" not in done.stderr
    lock.unlink()
    assert world.run("plan").returncode == 0
