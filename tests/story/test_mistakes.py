"""What a new user meets: mistakes, mishaps and impatience, on real services. Nothing is lost, and the next apply converges."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.story.home import PAICTL, Home, kill
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("story")]

SERVICES = ["agent", "gateway", "model-chat", "model-embed"]


def begin(home: Home, verb: str, *arguments: str) -> subprocess.Popen[str]:
    """Type a command and don't wait for its end."""
    return subprocess.Popen(
        [PAICTL, verb, *arguments],
        cwd=home.manifest.parent,
        env=home.surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def supervisors(home: Home) -> list[psutil.Process]:
    """One, or none; a child that it has just forked looks like it until it becomes a service, and is not counted."""
    config = str(home.root / "supervisor" / "supervisord.conf")
    found = [one for one in psutil.process_iter(["cmdline", "ppid"]) if config in (one.info["cmdline"] or [])]
    pids = {one.pid for one in found}
    return [one for one in found if one.info["ppid"] not in pids]


def converges(home: Home) -> None:
    """The next apply goes on from whatever there is: nothing left to do, one of each, and an answer."""
    home.run("apply", "--yes", "--lock-timeout", "30s")
    assert home.json("plan")["steps"] == []
    assert sorted(home.programs()) == SERVICES
    assert len(supervisors(home)) == 1
    assert home.chat("Hello").strip()
    assert home.json("status")["ready"] is True


def test_before_anything_is_applied_each_verb_says_so(home: Home) -> None:
    for verb, *arguments in (["chat", "Hello"], ["logs"], ["exec", "agent", "--", "true"], ["verify"]):
        done = home.run(verb, *arguments, code=1)
        assert "atlas is not set up here" in done.stderr
        assert "Run `paictl apply` first." in done.stderr


def test_a_taken_port_is_named_with_its_process_before_anything_starts(home: Home) -> None:
    with socket.create_server(("127.0.0.1", home.port)):
        done = home.run("apply", "--yes", code=4)
    assert f"port {home.port} on 127.0.0.1 is taken by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert not home.root.exists()
    assert not (home.manifest.parent / "agent.lock").exists()


@pytest.mark.promise(10, 16)
def test_impatience_in_the_first_apply_is_told_and_the_next_one_goes_on(home: Home) -> None:
    first = begin(home, "apply", "--yes")
    until(lambda: bool(supervisors(home)), "the supervisor runs", 60)
    # Held in its middle, so that it doesn't get to its end while the others are being typed.
    first.send_signal(signal.SIGSTOP)
    second = home.run("apply", "--yes", code=4)
    assert f"process {first.pid}, since" in second.stderr
    assert f"process {first.pid}, since" in home.run("status").stdout
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert "Traceback" not in said
    status = home.json("status")
    assert (status["ready"], status["release"], status["working"]) == (False, 0, None)
    assert "the first apply is unfinished" in home.run("status").stdout
    converges(home)


def test_without_network_what_is_cached_works_and_what_is_not_is_named_before_anything_changes(home: Home) -> None:
    home.run("destroy", "--yes")
    home.environment["XDG_CACHE_HOME"] = str(home.folder / "cold")
    done = home.run("apply", "--yes", "--offline", code=4)
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in done.stderr
    assert "the runtime's packages" in done.stderr
    assert "--offline forbids to fetch" in done.stderr
    assert not supervisors(home)
    del home.environment["XDG_CACHE_HOME"]
    home.run("apply", "--yes", "--offline")
    assert home.json("status")["ready"] is True


def test_a_model_file_that_was_altered_is_told_and_put_right(home: Home) -> None:
    (model,) = home.root.glob("models/chat/*.gguf")
    whole = model.read_bytes()
    # A copy of its own: the file itself is linked to the cache of whoever runs the tests.
    altered = model.with_name("altered")
    altered.write_bytes(b"x" + whole[1:])
    altered.replace(model)
    said = home.run("status").stdout
    assert "weights/chat: the file was altered: its sha256 is" in said
    assert home.json("status")["ready"] is False
    steps = {step["address"] for step in home.json("plan")["steps"]}
    # What is mapped from it into memory is altered, too.
    assert steps == {"weights/chat", "service/model-chat"}
    converges(home)
    assert model.read_bytes() == whole


def test_a_supervisor_that_is_killed_is_named_and_started_again(home: Home) -> None:
    (supervisor,) = supervisors(home)
    kill(supervisor)
    psutil.wait_procs([supervisor], timeout=10)
    said = home.run("status").stdout
    assert "agent, gateway, model-chat, model-embed: its supervisor is not running" in said
    converges(home)


@pytest.mark.promise(8, 10)
def test_a_supervisor_killed_during_apply_fails_it_at_once_and_the_next_one_goes_on(home: Home) -> None:
    home.run("destroy", "--yes")
    run = begin(home, "apply", "--yes")
    until((home.root / "records" / "service" / "gateway.json").exists, "the gateway is being started", 60)
    for supervisor in supervisors(home):
        kill(supervisor)
    said, _ = run.communicate(timeout=45)  # less than a service is waited for
    assert run.returncode == 5, said
    assert "supervisor" in said
    assert "the next apply goes on from there" in said
    assert "Traceback" not in said
    converges(home)


def test_after_a_power_cut_one_is_told_to_apply_again_even_with_the_state_lost(home: Home) -> None:
    home.switch_off()
    shutil.rmtree(home.folder / "state")
    done = home.run("chat", "Hello", code=1)
    assert "atlas is not running" in done.stderr
    assert "`paictl apply` starts it" in done.stderr
    converges(home)


def test_a_disk_that_fills_up_is_told_in_one_sentence(home: Home, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small disk of one's own takes root")
    home.run("destroy", "--yes")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(small)], check=True)
    home.environment["XDG_DATA_HOME"] = str(small)
    try:
        done = home.run("apply", "--yes", code=4)
        assert "MiB are needed there" in done.stderr
        assert not any(path.is_file() and path.suffix != ".lock" for path in small.rglob("*"))
    finally:
        del home.environment["XDG_DATA_HOME"]
        subprocess.run(["umount", str(small)], check=True)


def kill_at_random_moments(home: Home, moments: int, seed: int) -> None:
    """``kill -9`` of paictl at a random moment of apply, destroy or rollback, and each time the next apply converges."""
    chance = random.Random(seed)
    for number in range(moments):
        verb = ("apply", "destroy", "apply", "rollback")[number % 4]
        if verb == "apply":
            home.run("destroy", "--yes")
        elif verb == "rollback":
            text = home.manifest.read_text(encoding="utf-8")
            home.manifest.write_text(text.replace("sentence about", "line about"), encoding="utf-8")
            home.run("apply", "--yes")
            home.manifest.write_text(text, encoding="utf-8")
        moment = chance.uniform(0.3, 4.0 if verb == "apply" else 2.0)
        run = begin(home, verb, "--yes")
        time.sleep(moment)
        run.kill()
        said, _ = run.communicate(timeout=60)
        try:
            converges(home)
        except AssertionError as error:
            error.add_note(f"killed {verb} after {moment:.2f} s (seed {seed}, moment {number}); it had said:\n{said}")
            raise


@pytest.mark.promise(14)
@pytest.mark.slow
def test_paictl_killed_at_a_random_moment_loses_nothing_and_doubles_nothing(home: Home) -> None:
    kill_at_random_moments(home, 5, seed=random.SystemRandom().randrange(10**6))


@pytest.mark.promise(14)
@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_paictl_killed_at_twenty_random_moments_loses_nothing_and_doubles_nothing(home: Home) -> None:
    kill_at_random_moments(home, 20, seed=random.SystemRandom().randrange(10**6))
