"""What a manifest's `updates` comes to: the role's variables where paictl runs on the machine itself, a sentence everywhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.unavailable import unavailable
from paictl.cli.origin import source_of
from paictl.manifest.load import Manifest, load
from paictl.render.ansible import files
from paictl.render.periodic import periodic_hosts
from paictl.render.roles import role_vars, secret_hosts
from tests.blueprint.manifests import QUICKSTART, RESOLVED

_SIGNER = "alice@example.org ssh-ed25519 AAAAC3Nza"
_OPEN = f'git: "https://git.example.org/alice/agents.git", path: atlas/, signers: ["{_SIGNER}"]'
_PRIVATE = f'git: "git@git.example.org:alice/agents.git", key: reader, known-hosts: ["a b c"], signers: ["{_SIGNER}"]'
_PROGRAM = ("/opt/paictl/bin/python", "-I", "-m", "paictl")


def _manifest(folder: Path, updates: str, target: str = "driver: ansible, hosts: {}", secret: str = "") -> Manifest:
    secret = secret or "{from: file, file: /root/reader}"
    text = f"spec: {{targets: {{here: {{{target}}}}}, secrets: {{reader: {secret}}}, updates: {{{updates}}}}}\n"
    layer = folder / "more.yaml"
    layer.write_text(text, encoding="utf-8")
    return load([QUICKSTART, layer], target="here", env={})


def test_the_machine_itself_follows_with_the_very_paictl_that_was_typed(tmp_path: Path) -> None:
    blueprint = compile_blueprint(_manifest(tmp_path, f"{_OPEN}, every: 7m"), replace(RESOLVED, program=_PROGRAM))
    assert periodic_hosts(blueprint, "sync") == ("localhost",)
    told = role_vars(blueprint, "sync", "localhost")
    assert (told["sync_git"], told["sync_path"]) == ("https://git.example.org/alice/agents.git", "atlas")
    assert told["sync_apply"] == [*_PROGRAM, "apply", "--yes", "--target", "here", "--lock-timeout", "30m"]
    assert (told["sync_every_seconds"], told["sync_delay_seconds"]) == (420, 42)
    assert (told["sync_verify"], told["sync_signers"]) == ("signed-commits", [_SIGNER])
    assert told["sync_on_failure"] == "rollback"
    assert "sync_secret" not in told


def test_the_key_of_a_private_repository_is_a_secret_of_the_host_which_no_service_reads(tmp_path: Path) -> None:
    blueprint = compile_blueprint(_manifest(tmp_path, _PRIVATE), RESOLVED)
    told = role_vars(blueprint, "sync", "localhost")
    assert (told["sync_secret"], told["sync_known_hosts"]) == ("reader", "a b c")
    assert secret_hosts(blueprint, "reader") == ("localhost",)
    assert all("reader" not in one.secrets for one in blueprint.services)


def test_what_is_rendered_follows_too_and_holds_no_key(tmp_path: Path) -> None:
    rendered = files(compile_blueprint(_manifest(tmp_path, _PRIVATE), RESOLVED))
    assert "sync_git" in rendered["host_vars/localhost.yaml"]
    assert "role: sync" in rendered["playbook.yaml"]
    assert "roles/sync/files/follow.py" in rendered


def test_unsigned_commits_are_taken_only_where_the_manifest_says_so(tmp_path: Path) -> None:
    text = 'git: "https://git.example.org/a.git", verify: none, on-failure: stop'
    told = role_vars(compile_blueprint(_manifest(tmp_path, text), RESOLVED), "sync", "localhost")
    assert (told["sync_verify"], told["sync_signers"], told["sync_on_failure"]) == ("none", [], "stop")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("driver: native", "hosts: {}"),
        ("driver: docker", "hosts: {}"),
        ("driver: kubernetes", "Argo CD or Flux"),
        ("driver: ansible, hosts: {pi: {address: pi.lan}}", "where paictl runs on it"),
    ],
)
def test_every_other_target_refuses_it_and_says_what_to_do_there(tmp_path: Path, target: str, words: str) -> None:
    manifest = _manifest(tmp_path, _OPEN, target)
    driver = manifest.target_spec.driver
    (found,) = [one for one in unavailable(manifest, driver) if "git repository" in one.summary]
    assert found.span
    assert words in found.help
    assert compile_blueprint(manifest, RESOLVED).updates is None


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ('git: "https://git.example.org/a.git", path: atlas, verify: signed-commits', "without `signers`"),
        ('git: "git@git.example.org:a.git", verify: none', "without `key` and `known-hosts`"),
        ('git: "ssh://git@git.example.org/a.git", verify: none, key: reader', "without `key` and `known-hosts`"),
        ('git: "file:///srv/a.git", verify: none', "by file://"),
    ],
)
def test_what_is_wanting_to_follow_is_told_with_its_line(tmp_path: Path, updates: str, words: str) -> None:
    (found,) = unavailable(_manifest(tmp_path, updates), "ansible")
    assert words in found.summary
    assert found.span


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("{from: env, name: READER}", "from the environment"),
        ("{from: keyring, service: a, name: b}", "from a keyring"),
        ("{from: file, file: ~/reader}", "in a file of whoever types"),
        ("{from: age, file: secrets.age, key: reader}", "for an age identity of whoever types"),
    ],
)
def test_a_secret_that_a_timer_could_not_read_is_refused_with_its_line(tmp_path: Path, secret: str, words: str) -> None:
    (found,) = unavailable(_manifest(tmp_path, _PRIVATE, secret=secret), "ansible")
    assert words in found.summary
    assert found.span


@pytest.mark.parametrize(
    "secret",
    [
        "{from: file, file: /root/reader}",
        "{from: age, file: secrets.age, key: reader, identity: /root/age.key}",
        "{from: exec, command: [cat, /root/reader]}",
    ],
)
def test_one_that_it_can_read_is_not(tmp_path: Path, secret: str) -> None:
    assert unavailable(_manifest(tmp_path, _PRIVATE, secret=secret), "ansible") == []


def test_a_manifest_that_follows_is_the_same_in_every_folder(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, _OPEN)
    updates = manifest.agent.spec.updates
    known = [source_of(str(tmp_path / folder / "agent.yaml"), updates) for folder in ("home", "commits/abc")]
    assert known[0]
    assert known[1]
    assert known[0].is_same(known[1])
    assert known[0].repository == "git.example.org/alice/agents#atlas/agent.yaml"


def test_a_commit_as_it_is_checked_out_tells_of_which_repository_it_is(tmp_path: Path) -> None:
    commit = tmp_path / "commits" / "abc"
    (commit / ".git").mkdir(parents=True)
    (commit / ".git" / "config").write_text(
        '[remote "origin"]\n\turl = https://git.example.org/alice/agents.git\n', encoding="utf-8"
    )
    found = source_of(str(commit / "atlas" / "agent.yaml"))
    assert found
    assert found.repository == "git.example.org/alice/agents#atlas/agent.yaml"
