"""The real `paictl`, killed and interrupted from outside while it changes a real agent on a real engine."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import pytest

from paictl.drivers.docker.naming import AGENT, HOLDS_DATA, KIND
from tests.docker import engine as engines
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.daemon import Engine
from tests.docker.home import DockerHome
from tests.story.home import PAICTL, Home
from tests.story.life import knows_the_sister
from tests.waiting import until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.xdist_group("crash-commandline"),
    pytest.mark.timeout(600),
]

_SEED = int(os.environ.get("PAICTL_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
_KILLS = 3


class _Home(DockerHome):
    """One whose applies may end at any moment."""

    def run(self, verb: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return Home.run(self, verb, *arguments, code=code)


@pytest.fixture(scope="module")
def own() -> Iterator[Engine]:
    """An engine of this module's own, since its power is cut and it is cleared."""
    if reason := engines.lacking_own():
        pytest.skip(reason)
    with engines.private() as made:
        yield made


@pytest.fixture(scope="module")
def home(own: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHome]:
    """The quickstart's agent, applied by nobody yet."""
    api = docker.APIClient(base_url=own.host, version="1.41", timeout=120)
    home = _Home(tmp_path_factory.mktemp("home"), reached=Reached(own.host, api))
    home.prepare()
    home.edit("{driver: native}", "{driver: docker}")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{stock.base(api)}'}}\n")
    yield home
    api.close()


@pytest.fixture
def inside(own: Engine) -> Iterator[None]:
    """Where the agent's port is."""
    with own.entered():
        yield


@contextmanager
def _typed(home: DockerHome, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is on its way; ended with the test."""
    with subprocess.Popen(
        [PAICTL, *words],
        cwd=home.manifest.parent,
        env=home.surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _until_said(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}:\n{''.join(said)}")


def _killed(home: DockerHome, chance: random.Random, *words: str, within: float) -> None:
    """Type a command and kill it after a time by chance; it may have ended before."""
    after = chance.uniform(0.3, within)
    sys.stderr.write(f"PAICTL_TEST_SEED={_SEED}: paictl {' '.join(words)} is killed after {after:.2f} s\n")
    with _typed(home, *words) as process:
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _doubled(home: DockerHome) -> list[str]:
    """Services of which more than one container stands, and what is there only while something is done."""
    standing = home.engine.api.containers(all=True, filters={"label": f"{AGENT}={home.agent}"})
    kinds = Counter((one["Labels"][KIND], one["Labels"].get("paictl.name")) for one in standing)
    return [str(kind) for kind, count in kinds.items() if count > 1 or kind[0] in {"upload", "lock"}]


def _whole(home: DockerHome) -> None:
    """All of it stands once, and nothing is left to do."""
    assert home.json("plan")["steps"] == []
    assert home.json("status")["ready"]
    assert set(home.running()) == {"agent", "gateway", "model-chat", "model-embed"}
    assert _doubled(home) == []


def _data(home: DockerHome) -> set[str]:
    volumes = home.engine.api.volumes(filters={"label": [f"{AGENT}={home.agent}", f"{HOLDS_DATA}=true"]})["Volumes"]
    return {one["Name"] for one in volumes or ()}


@pytest.mark.usefixtures("inside")
@pytest.mark.promise(16)
def test_of_two_applies_at_once_one_wins_and_whoever_is_killed_is_taken_over_from(home: DockerHome) -> None:
    with _typed(home, "apply", "--yes") as first:
        _until_said(first, "volume/keys: created")
        refused = home.run("apply", "--yes", code=4)
        assert "the lock is held by " in refused.stderr
        assert f"process {first.pid}, since " in refused.stderr
        # Another person at another machine knows nothing of this one's files: the engine tells.
        home.environment["XDG_STATE_HOME"] = str(home.folder / "elsewhere")
        assert f"process {first.pid}, since " in home.run("apply", "--yes", code=4).stderr
        first.kill()
        first.wait()
        with _typed(home, "apply", "--yes") as second:
            _until_said(second, f"process {first.pid}, since ")
            second.kill()
        del home.environment["XDG_STATE_HOME"]
        shutil.rmtree(home.folder / "elsewhere")


@pytest.mark.usefixtures("inside")
@pytest.mark.promise(10, 16)
def test_ctrl_c_lets_what_runs_end_tells_what_was_not_begun_and_lets_go_of_the_lock(home: DockerHome) -> None:
    with _typed(home, "apply", "--yes") as process:
        _until_said(process, "service/secrets: creating")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "no new steps begin" in said
    assert "service/secrets: created" in said
    assert re.search(r"\d+ steps done, .*\d+ not started", said), said
    assert "service/agent" not in home.running()
    assert _doubled(home) == []


@pytest.mark.usefixtures("inside")
@pytest.mark.promise(14, 15)
def test_an_apply_that_is_killed_at_any_moment_is_gone_on_from_by_the_next(home: DockerHome) -> None:
    chance = random.Random(_SEED)
    for _ in range(_KILLS):
        _killed(home, chance, "apply", "--yes", within=20)
    home.run("apply", "--yes")
    _whole(home)


def test_after_a_power_cut_the_agent_is_there_again_without_a_command_and_knows_what_it_was_told(
    own: Engine, home: DockerHome
) -> None:
    with own.entered():
        home.chat("My sister's name is Ines.")
    # Everything on that machine ends without a word: the daemon, what holds its containers, all their programs.
    own.start()
    with own.entered():
        until(lambda: bool(home.json("status")["ready"]), "everything is ready again", 120)
        assert knows_the_sister(home)
        _whole(home)


@pytest.mark.usefixtures("inside")
@pytest.mark.promise(12)
def test_clearing_the_engine_of_everything_unused_takes_nothing_that_the_next_apply_does_not_make_again(
    home: DockerHome,
) -> None:
    before = home.running()
    clear: Any = home.engine.api  # published without types
    base = clear.inspect_image(stock.base(clear))["Id"]
    clear.prune_containers()
    clear.prune_networks()
    clear.prune_volumes()
    clear.prune_images({"dangling": False})
    # Nobody could give this name back: no registry has the image.
    clear.tag(base, "paictl-test/base", "again")
    home.run("apply", "--yes", "--offline")
    _whole(home)
    assert home.running() == before
    assert knows_the_sister(home)


@pytest.mark.usefixtures("inside")
@pytest.mark.promise(14, 17)
def test_changes_rollbacks_and_removals_that_are_killed_keep_the_data_and_end_as_if_they_had_not_been(
    home: DockerHome,
) -> None:
    chance, data = random.Random(_SEED + 1), _data(home)
    assert data
    prompt = home.manifest.parent / "prompts" / "atlas.md"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "\nBe kind.\n", encoding="utf-8")
    _killed(home, chance, "apply", "--yes", within=6)
    home.run("apply", "--yes")
    _whole(home)
    _killed(home, chance, "rollback", "--yes", within=6)
    home.run("rollback", "1", "--yes")
    assert home.json("status")["ready"]
    assert _doubled(home) == []
    _killed(home, chance, "destroy", "--yes", within=4)
    home.run("destroy", "--yes")
    assert home.running() == {}
    assert _data(home) == data
    home.run("destroy", "--yes", *(word for address in home.kept() for word in ("--delete-data", address)))
    assert home.left() == []
