"""Every command that the documentation tells a person to type is typed here: one that fails is a mistake in the page."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.story.conftest import home
from tests.story.home import PAICTL, Home

__all__ = ["home"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  targets: {here: {driver: fake}}
  models: {chat: {task: chat, manage: external, url: "http://127.0.0.1:9/v1", model: m}}
"""
# These ask a running agent, which the fake driver has none of; the stories type them.
OF_AN_AGENT = {"paictl chat", 'paictl chat "Hello"', "paictl verify", "paictl exec agent -- python -c …"}
# The pages beside README and CONTRIBUTING that lead through commands in blocks.
GUIDES = {"ansible.md", "kubernetes.md"}
# And these a target with a VPN; tests/vpn types them.
OF_A_VPN = {"paictl vpn", "paictl vpn add", "paictl vpn add phone"}
# And this one hosts; tests/hosts types it.
OF_HOSTS = {"paictl bootstrap"}
# What stands for a value of the reader's own in a page.
PLACEHOLDERS = {"FIELD": "spec.memory", "DIR": "out", "agent.yaml": "agent.yaml"}


def _fenced(page: Path) -> list[str]:
    """The lines of code blocks that are commands, without the remark behind them."""
    blocks = page.read_text(encoding="utf-8").split("```")[1::2]
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(paictl|make) ", line)]


def _inline(page: Path) -> list[str]:
    prose = "".join(page.read_text(encoding="utf-8").split("```")[::2])
    return re.findall(r"`((?:paictl|make) [^`]+)`", prose)


INLINE = sorted(
    {
        command
        for page in PAGES
        for command in [*_inline(page), *(_fenced(page) if page.name in GUIDES else ())]
        if command.startswith("paictl ")
    }
)
TARGETS = sorted(
    {
        command.split()[1]
        for page in PAGES
        for command in [*_fenced(page), *_inline(page)]
        if command.startswith("make ")
    }
)


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with a manifest whose agent stands on the fake driver."""
    desk = Home(tmp_path_factory.mktemp("desk"), environment={"PAICTL_YES": "1", "PAICTL_DRIVER": "fake"})
    desk.manifest.parent.mkdir()
    desk.manifest.write_text(MANIFEST, encoding="utf-8")
    desk.run("apply")
    desk.edit("alice", "bob")
    desk.run("apply")
    return desk


@pytest.mark.parametrize("command", [command for command in INLINE if command not in OF_AN_AGENT | OF_A_VPN | OF_HOSTS])
def test_a_command_in_the_text_works(command: str, desk: Home, tmp_path: Path) -> None:
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:]]
    if words == ["init"]:
        words.append(str(tmp_path / "new"))
    if words[0] == "render":
        # The fake driver has no files; a bare `paictl render` is the verb's name, not a whole command.
        words += ["--driver", "docker", *([] if "-o" in words else ["-o", str(tmp_path / "out")])]
    desk.run(words[0], *words[1:])
    if words[0] == "destroy":
        # Whoever comes next is to find an agent.
        desk.run("apply")


@pytest.mark.real
def test_the_readmes_commands_work_one_after_another(home: Home) -> None:
    commands = [command for command in _fenced(ROOT / "README.md") if command.startswith("paictl ")]
    assert len(commands) > 4
    home.environment["PAICTL_YES"] = "1"
    home.run("apply")
    said = {command: home.run(*shlex.split(command)[1:]).stdout for command in commands}
    assert "ines" in said["""paictl chat "What is my sister's name?\""""].lower()


def test_no_other_page_has_commands_in_blocks() -> None:
    # Nobody would run them there; a command stands in the text.
    told = {page.name for page in PAGES[2:] if any(line.startswith("paictl ") for line in _fenced(page))}
    assert told == GUIDES


def test_help_lists_every_verb_that_the_pages_name() -> None:
    verbs = {verb for command in INLINE if not (verb := command.split()[1]).startswith("-")}
    listed = subprocess.run([PAICTL, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(re.search(rf"^  {verb}\s", listed, re.MULTILINE) for verb in verbs)
