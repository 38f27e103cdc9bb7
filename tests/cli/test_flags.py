"""Flags are the same everywhere: flag over environment over project over user; near misses are named; no flag takes a secret."""

from __future__ import annotations

import json

import click
import pytest

from paictl.cli.early import leading_flags
from paictl.cli.program import program
from paictl.cli.verbs import VERBS
from tests.cli.conftest import World

COMMON = {
    "--file", "--target", "--driver", "--output", "--yes", "--locked", "--offline", "--state-dir", "--timeout",
    "--lock-timeout", "--no-color", "--verbose", "--quiet",
}  # fmt: skip


def command(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_every_common_flag_and_a_variable_for_each_of_its_flags(name: str) -> None:
    options = [param for param in command(name).params if isinstance(param, click.Option)]
    assert {opt for param in options for opt in param.opts} >= COMMON
    for param in options:
        long = next(opt for opt in param.opts if opt.startswith("--"))
        assert param.envvar == "PAICTL_" + long.removeprefix("--").upper().replace("-", "_")
        assert param.help


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_says_what_it_does(name: str) -> None:
    help_text = command(name).help or ""
    first = help_text.split("\n\n")[0].strip()
    assert first.endswith((".", ":"))
    assert VERBS[name].summary[0].isupper()


def test_no_flag_takes_the_value_of_a_secret() -> None:
    takers = {
        opt
        for name in VERBS
        for param in command(name).params
        if isinstance(param, click.Option) and not param.is_flag
        for opt in param.opts
        if any(word in opt for word in ("token", "secret", "password", "key", "credential"))
    }
    # What is public by its name may be typed.
    assert takers == {"--public-key"}


def targets(world: World) -> None:
    lines = "".join(f"    {name}: {{driver: fake}}\n" for name in ("env", "flag", "project", "user"))
    world.edit("    here: {driver: fake}\n", lines)
    world.edit("  targets:", "  deployment: {target: user}\n  targets:")


def test_flag_over_environment_over_project_over_user(world: World) -> None:
    targets(world)
    user = world.root / "config" / "paictl" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("target: user\noutput: json\n")
    assert '"target": "user"' in world.run("validate").stdout
    (world.folder / ".paictl.yaml").write_text("target: project\n")
    assert '"target": "project"' in world.run("validate").stdout
    assert '"target": "env"' in world.run("validate", PAICTL_TARGET="env").stdout
    assert '"target": "flag"' in world.run("validate", "-t", "flag", PAICTL_TARGET="env").stdout


def test_a_file_can_not_consent_for_the_person(world: World) -> None:
    (world.folder / ".paictl.yaml").write_text("yes: true\n")
    done = world.run("apply")
    assert done.returncode == 2
    assert ".paictl.yaml:1:1" in done.stderr


def test_a_typo_in_a_configuration_file_names_the_nearest_key(world: World) -> None:
    (world.folder / ".paictl.yaml").write_text("lock-timeuot: 5s\n")
    done = world.run("validate")
    assert done.returncode == 2
    assert "lock-timeout" in done.stderr
    assert "^" in done.stderr


def test_the_output_that_a_configuration_file_sets_holds_for_errors_too(world: World) -> None:
    (world.folder / ".paictl.yaml").write_text("output: json\n")
    done = world.run("valdate")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["-t", "pi", "status"], ["status", "-t", "pi"]),
        (["-q", "plan", "agent.yaml"], ["plan", "-q", "agent.yaml"]),
        (["-o", "json", "render", "-o", "out"], ["render", "--output", "json", "-o", "out"]),
        (["--target=pi", "status"], ["status", "--target=pi"]),
        (["--help"], ["--help"]),
        (["plan", "-t", "pi"], ["plan", "-t", "pi"]),
        ([], []),
    ],
)
def test_common_flags_may_stand_before_the_verb(typed: list[str], meant: list[str]) -> None:
    assert leading_flags(typed) == meant


def test_a_directory_means_its_manifest_and_files_merge_over_it(world: World) -> None:
    assert world.document("validate", str(world.folder))["agent"] == "atlas"
    (world.folder / "more.yaml").write_text("metadata: {name: bela}\n")
    assert world.document("validate", "-f", "agent.yaml", "-f", "more.yaml")["agent"] == "bela"
    assert world.document("validate", "agent.yaml", "-f", "more.yaml")["agent"] == "bela"


def test_state_dir_moves_the_records(world: World) -> None:
    elsewhere = world.root / "elsewhere"
    assert world.run("apply", "-y", "--state-dir", str(elsewhere)).returncode == 0
    assert (elsewhere / "atlas" / "here").is_dir()
    assert not world.state.exists()
    assert "nothing is applied yet" in world.run("status").stdout
    assert "ready" in world.run("status", PAICTL_STATE_DIR=str(elsewhere)).stdout


def test_every_shell_gets_its_completion(world: World) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = world.run("completion", shell)
        assert done.returncode == 0
        assert "_PAICTL_COMPLETE" in done.stdout
    completed = world.run(_PAICTL_COMPLETE="bash_complete", COMP_WORDS="paictl va", COMP_CWORD="1")
    assert completed.stdout.strip() == "plain,validate"


def test_diff_is_plan(world: World) -> None:
    assert world.run("diff").stdout == world.run("plan").stdout
