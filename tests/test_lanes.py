"""How a lane ends: what fails once on a busy machine is tried again under CI and named, what fails twice is a failure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lanes import Lane, run

_ONCE = """
from pathlib import Path
def test_it():
    there = Path("{name}").exists()
    Path("{name}").touch()
    assert there
"""
_NEVER = "def test_it():\n    assert 1 == 2\n"


def _suite(folder: Path, **files: str) -> Lane:
    (folder / "tests").mkdir()
    for name, text in files.items():
        (folder / "tests" / f"test_{name}.py").write_text(text)
    (folder / "tests" / "test_fine.py").write_text("def test_it():\n    pass\n")
    return Lane("small", (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def test_what_passes_at_the_second_try_is_named_and_no_failure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run((_suite(folder, shaky=_ONCE.format(name="shaky")),))
    said = capsys.readouterr().out
    assert code == 0
    assert "lane small: passed, UNSTEADY (failed at first: tests/test_shaky.py::test_it), 1 failed, 1 passed," in said
    assert said.count("once more: tests/test_shaky.py\n") == 1


def test_what_fails_twice_fails_the_lane(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run((_suite(folder, shaky=_ONCE.format(name="shaky"), broken=_NEVER),))
    assert code == 1
    assert "lane small: FAILED (exit 1), 2 failed, 1 passed," in capsys.readouterr().out


def test_three_files_are_no_accident(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run((_suite(folder, **{name: _ONCE.format(name=name) for name in ("one", "two", "three")}),))
    assert code == 1
    assert "once more" not in capsys.readouterr().out


def test_a_person_sees_every_failure_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI")
    code = run((_suite(folder, shaky=_ONCE.format(name="shaky")),))
    assert code == 1
    assert "once more" not in capsys.readouterr().out
