"""The runtime that is installed: what is in it, how it is built once, and what is said when it can't be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import paictl
from paictl import places
from paictl.blueprint import runtime as pins
from paictl.blueprint.runtime import runtime_code, runtime_pin
from paictl.drivers.native import venvs
from paictl.drivers.native.disk import clone
from paictl.errors import PaictlError, Refused
from paictl.events import Event, ignore
from tests.drivers.native.conftest import PIN


@pytest.mark.promise(3)
def test_a_release_that_changes_the_version_alone_keeps_the_pin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = runtime_pin()
    code = runtime_code()
    (tmp_path / "__init__.py").write_text('__version__ = "9.9.9"\n')
    monkeypatch.setattr(pins, "runtime_code", lambda: {**code, "__init__.py": tmp_path / "__init__.py"})
    monkeypatch.setattr(paictl, "__version__", "9.9.9")
    runtime_pin.cache_clear()
    try:
        assert (runtime_pin().digest, runtime_pin().version) == (before.digest, "9.9.9")
        (tmp_path / "x.py").write_text("changed = True\n")
        monkeypatch.setattr(pins, "runtime_code", lambda: {**code, "runtime/config.py": tmp_path / "x.py"})
        runtime_pin.cache_clear()
        assert runtime_pin().digest != before.digest
    finally:
        runtime_pin.cache_clear()


def test_what_is_in_the_cache_is_not_built_again(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime))
    monkeypatch.setattr(venvs, "make_environment", lambda *_: pytest.fail("it was built again"))
    assert venvs.build(PIN.digest, ignore, "venv/runtime") == venvs.cached(PIN.digest)


def test_a_clone_shares_its_files_and_outlives_the_original(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime))
    original = venvs.cached(PIN.digest)
    clone(original, tmp_path / "venv")
    marker = "room.cfg"
    assert (tmp_path / "venv" / marker).stat().st_ino == (original / marker).stat().st_ino
    command = [str(tmp_path / "venv/bin/python"), "-m", "paictl.runtime.boot", "--help"]
    assert subprocess.run(command, capture_output=True, check=False, cwd=tmp_path).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["venv"]


def test_where_no_links_can_be_made_a_clone_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("content")
    (tmp_path / "a" / "link").symlink_to("b/file")
    monkeypatch.setattr(os, "link", refuse)
    clone(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c" / "link").read_text() == "content"
    assert (tmp_path / "c" / "link").is_symlink()


def test_a_pin_that_nobody_carries_points_to_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Refused) as raised:
        venvs.build("dead" * 16, ignore, "venv/runtime")
    assert "deaddeaddead" in raised.value.summary
    assert "paictl lock" in raised.value.help


def test_without_a_package_index_it_says_what_would_help_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(PaictlError) as raised:
        venvs.build(runtime_pin().digest, ignore, "venv/runtime")
    assert "can't install the runtime's packages" in raised.value.summary
    assert "package index" in raised.value.help
    assert [one.name for one in (tmp_path / "paictl" / "venv").iterdir() if one.suffix != ".lock"] == []


def test_two_builds_at_once_build_once(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime))
    light = venvs.cached(PIN.digest)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    digest, built = runtime_pin().digest, []

    def make(path: Path, _: Path) -> None:
        built.append(path)
        clone(light, path)

    monkeypatch.setattr(venvs, "make_environment", make)
    threads = [threading.Thread(target=venvs.build, args=(digest, ignore, "venv/runtime")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    made = {one.name for one in (places.cache_home() / "venv").iterdir() if one.is_dir()}
    assert len(made) == 2
    assert venvs.cached(digest).name in made


def test_a_new_release_with_the_same_dependencies_installs_nothing(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime))
    light = venvs.cached(PIN.digest)
    built: list[Path] = []

    def make(path: Path, _: Path) -> None:
        built.append(path)
        clone(light, path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(venvs, "make_environment", make)
    monkeypatch.setattr(venvs, "available", lambda _: True)
    for digest in ("a" * 64, "b" * 64):
        path = venvs.build(digest, ignore, "venv/runtime")
        assert '"digest": "' + digest in (path / "paictl.json").read_text()
    assert len(built) == 1


@pytest.mark.slow
def test_the_real_runtime_is_built_and_runs_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    events: list[Event] = []
    path = venvs.build(runtime_pin().digest, events.append, "venv/runtime")
    site = next(path.glob("lib/python*/site-packages"))
    assert not (site / "pip").exists()
    assert not (site / "paictl" / "engine").exists()
    for module in ("paictl.runtime.gateway", "paictl.runtime.agent", "supervisor.supervisord"):
        command = [str(path / "bin" / "python"), "-P", "-m", module, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
        assert done.returncode == 0, done.stderr
    tried = [str(path / "bin" / "python"), "-c", "import paictl.engine"]
    assert subprocess.run(tried, capture_output=True, check=False, env={}, cwd="/").returncode == 1
    assert sys.prefix != str(path)
