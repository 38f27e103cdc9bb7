"""The exit codes of design and documentation, each brought about for real."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from paictl.errors import ExitCode
from tests.cli.conftest import World


def _apply(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0


def _broken(world: World) -> None:
    world.edit("Be brief.", "[")


def _changed(world: World) -> None:
    _apply(world)
    world.edit("Be brief.", "Be kind.")


def _unreachable(world: World) -> None:
    world.fault(unreachable=True)


def _failing_first(world: World) -> None:
    world.fault(preflight="the fake has no room")


def _failing_midway(world: World) -> None:
    world.fault(terminal={"service/agent": "it crashed\nlast words"})


def _nothing(_: World) -> None:
    """Leave it as it is."""


CASES: list[tuple[ExitCode, str, Callable[[World], None], tuple[str, ...]]] = [
    (ExitCode.OK, "a valid manifest", _nothing, ("validate",)),
    (ExitCode.OK, "an apply", _nothing, ("apply", "-y")),
    (ExitCode.OK, "a plan with something to do", _nothing, ("plan",)),
    (ExitCode.OK, "no drift", _apply, ("drift",)),
    (ExitCode.OK, "help", _nothing, ("--help",)),
    (ExitCode.FAILED, "an unreachable target", _unreachable, ("plan",)),
    (ExitCode.FAILED, "an unreadable secret", _nothing, ("secrets", "check", "gone")),
    (ExitCode.FAILED, "a gateway that does not answer", _apply, ("chat", "hello")),
    (ExitCode.USAGE, "an unknown verb", _nothing, ("aply",)),
    (ExitCode.USAGE, "an unknown flag", _nothing, ("plan", "--dteailed-exitcode")),
    (ExitCode.USAGE, "an unknown driver", _nothing, ("plan", "--driver", "dokcer")),
    (ExitCode.USAGE, "an invalid manifest", _broken, ("validate",)),
    (ExitCode.USAGE, "no manifest", lambda world: world.manifest.unlink(), ("validate",)),
    (ExitCode.USAGE, "a bad duration", _nothing, ("plan", "--timeout", "soon")),
    (ExitCode.PENDING, "a plan with something to do, when asked", _nothing, ("plan", "--detailed-exitcode")),
    (ExitCode.PENDING, "a lock that would change", _nothing, ("lock", "--check")),
    (ExitCode.REFUSED, "nobody to consent", _nothing, ("apply",)),
    (ExitCode.REFUSED, "a plan of another hash", _changed, ("apply", "--plan-hash", "0123456789abcdef")),
    (ExitCode.REFUSED, "a preflight that fails", _failing_first, ("apply", "-y")),
    (ExitCode.USAGE, "a driver that is told no hosts", _nothing, ("plan", "--driver", "ansible")),
    (ExitCode.REFUSED, "no earlier release", _apply, ("rollback", "-y")),
    (ExitCode.REFUSED, "a manifest in the way of init", _nothing, ("init",)),
    (ExitCode.PARTLY, "a service that does not become healthy", _failing_midway, ("apply", "-y")),
]


@pytest.mark.parametrize(("code", "situation", "prepare", "args"), CASES, ids=[case[1] for case in CASES])
def test_every_situation_has_its_exit_code(
    world: World, code: ExitCode, situation: str, prepare: Callable[[World], None], args: tuple[str, ...]
) -> None:
    world.edit("  models:", "  gateway: {port: 9}\n  secrets: {gone: {from: env, name: NOT_SET}}\n  models:")
    prepare(world)
    done = world.run(*args)
    assert done.returncode == code, (situation, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    # The fake's own refusal is a test's text, and a table of secrets is a result.
    if code not in {ExitCode.OK, ExitCode.PENDING} and args[0] != "secrets" and prepare is not _failing_first:
        assert "error:" in done.stderr
        assert "help:" in done.stderr, "every error says what to do next"


def test_a_bug_exits_70_and_keeps_a_report_without_anything_private(world: World) -> None:
    # The fake driver reads its faults without checking them: a key that it does not know is a bug of ours, for once.
    world.fault(nonsense={"why": "hunter2-hunter2-hunter2-1"})
    done = world.run("plan", MY_API_KEY="canary-key-1234567890", PAICTL_TARGET="here")
    assert done.returncode == ExitCode.BUG
    assert "Traceback" not in done.stdout + done.stderr
    (report,) = (world.state / "reports").iterdir()
    assert str(report) in done.stderr
    text = report.read_text()
    assert "paictl/drivers/fake/faults.py" in text
    assert "TypeError" in text
    assert "hunter2" not in text
    assert "canary" not in text
    assert str(world.root) not in text
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_bug_is_told_as_json_too(world: World) -> None:
    world.fault(nonsense=1)
    done = world.run("plan", "-o", "json")
    assert done.returncode == ExitCode.BUG
    assert json.loads(done.stderr)["error"]["code"] == "bug"
