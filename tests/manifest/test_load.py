from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path

import pytest

from paictl.assets import asset
from paictl.errors import ExitCode, ManifestError
from paictl.manifest.load import load
from tests.manifest.conftest import SMALL, Folder


def _port(folder: Folder, *files: str, target: str | None = None) -> tuple[int, str]:
    manifest = folder.load(*files, target=target)
    span = manifest.origins.find(("spec", "gateway", "port"))
    return manifest.agent.spec.gateway.port, f"{Path(span.file).name}:{span.line}"


def test_the_layers_lie_over_each_other_in_the_order_of_the_design(folder: Folder) -> None:
    assert folder.load().agent.spec.gateway.port == 8700
    folder.write("agent.yaml", SMALL + "  gateway: {port: 1}\n")
    assert _port(folder) == (1, "agent.yaml:11")
    folder.write("agent.yaml", SMALL + "  gateway: {port: 1}\noverlays: {laptop: {spec: {gateway: {port: 2}}}}\n")
    assert _port(folder) == (2, "agent.yaml:12")
    folder.write("agent.laptop.yaml", "spec: {gateway: {port: 3}}\n")
    assert _port(folder) == (3, "agent.laptop.yaml:1")
    folder.write("more.yaml", "spec: {gateway: {port: 4}}\n")
    assert _port(folder, "agent.yaml", "more.yaml") == (4, "more.yaml:1")
    folder.write("last.yaml", "spec: {gateway: {port: 5}}\n")
    assert _port(folder, "agent.yaml", "more.yaml", "last.yaml") == (5, "last.yaml:1")
    assert _port(folder, target="desk") == (1, "agent.yaml:11")


def test_the_profiles_lie_below_the_manifest(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL.replace("driver: native", "driver: native, profile: raspberry-pi-5"))
    manifest = folder.load()
    assert manifest.agent.spec.models["chat"].threads == 3
    assert manifest.origins.find(("spec", "models", "chat", "threads")).file == "profiles/raspberry-pi-5.yaml"
    assert manifest.origins.find(("spec", "gateway", "bind")).file == "profiles/edge.yaml"
    folder.write("agent.laptop.yaml", "spec: {models: {chat: {threads: 1}}}\n")
    assert folder.load().agent.spec.models["chat"].threads == 1
    assert folder.load(target="desk").agent.spec.models["chat"].threads is None


def test_null_deletes(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "    extra: {task: chat, select: {}}\n")
    assert set(folder.load().agent.spec.models) == {"chat", "extra"}
    folder.write("agent.laptop.yaml", "spec: {models: {extra: null}}\n")
    assert set(folder.load().agent.spec.models) == {"chat"}


def test_the_only_target_is_the_target(folder: Folder) -> None:
    one = SMALL.replace("    desk: {driver: docker}\n", "").replace("  deployment: {target: laptop}\n", "")
    folder.write("agent.yaml", one)
    manifest = folder.load()
    assert (manifest.target, manifest.target_spec.driver) == ("laptop", "native")


def test_a_target_that_was_asked_for_must_exist(folder: Folder) -> None:
    (error,) = folder.errors(target="dsk")
    assert (error.code, error.help) == ("unknown-reference", "did you mean `desk`?")


def test_the_target_that_the_manifest_chooses_must_exist_even_when_another_is_asked_for(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL.replace("target: laptop", "target: latpop"))
    (error,) = folder.errors(target="desk")
    assert error.span is not None
    assert (error.code, error.span.line) == ("unknown-reference", 5)


def test_words_that_merely_contain_the_start_of_a_key_are_no_secrets(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "  instructions: See task-management-and-planning-notes, ghp and AKIA.\n")
    assert folder.load().warnings == ()


def test_standard_input_is_a_dash(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO((SMALL + "  instructions: {file: here.md}\n").encode())

    folder.write("here.md", "Hello.")
    monkeypatch.setattr(sys, "stdin", Stdin())
    manifest = folder.load("-")
    assert manifest.files == ("<stdin>",)
    assert manifest.text(manifest.agent.spec.instructions) == "Hello."


@pytest.mark.parametrize(
    ("make", "code", "advice"),
    [
        (lambda path: None, "not-found", "paictl init"),
        (lambda path: path.mkdir(), "not-a-file", "name the file"),
        (lambda path: (path.mkdir(), (path / "agent.yaml").write_text("")), "not-a-file", "did you mean"),
        (lambda path: path.write_text("# " + "x" * 1024 * 1024), "too-large", "{file: …}"),
    ],
)
def test_a_file_that_is_none_is_told_with_what_to_do(folder: Folder, make: object, code: str, advice: str) -> None:
    assert callable(make)
    make(folder.path / "other.yaml")
    (error,) = folder.errors("other.yaml")
    assert error.code == code
    assert advice in error.help


def test_a_file_that_can_not_be_read_is_told(folder: Folder) -> None:
    (error,) = folder.errors("agent.yaml/below.yaml")
    assert error.code == "not-readable"


def test_the_errors_of_all_files_are_told_at_once(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "  modles: {}\n")
    folder.write("more.yaml", "spec: {gateway: {port: x}}\n")
    folder.write("last.yaml", "spec: {a: 1, a: 2}\n")
    errors = folder.errors("agent.yaml", "more.yaml", "last.yaml")
    assert {Path(e.span.file).name for e in errors if e.span} == {"agent.yaml", "more.yaml", "last.yaml"}


def test_an_included_file_is_text_and_hash(folder: Folder) -> None:
    folder.write("prompts/a.md", "Be brief.\n")
    folder.write(
        "agent.yaml", SMALL + "  instructions: {file: prompts/a.md}\n  skills: {s: inline, t: {file: ./prompts/a.md}}\n"
    )
    manifest = folder.load()
    included = manifest.includes["spec", "instructions", "file"]
    assert included.text == "Be brief.\n"
    assert included.sha256 == hashlib.sha256(b"Be brief.\n").hexdigest()
    assert manifest.text(manifest.agent.spec.skills["s"]) == "inline"
    assert manifest.text(manifest.agent.spec.skills["t"]) == "Be brief.\n"


def test_an_included_file_is_relative_to_the_file_that_names_it(folder: Folder) -> None:
    folder.write("a.md", "mine")
    folder.write("shared/a.md", "shared")
    folder.write("shared/more.yaml", "spec: {skills: {s: {file: a.md}}, secrets: {k: {from: file, file: k.txt}}}\n")
    folder.write("agent.yaml", SMALL + "  instructions: {file: a.md}\n")
    manifest = folder.load("agent.yaml", "shared/more.yaml")
    assert manifest.text(manifest.agent.spec.instructions) == "mine"
    assert manifest.text(manifest.agent.spec.skills["s"]) == "shared"
    assert manifest.agent.spec.secrets["k"].file == "shared/k.txt"


def test_a_symbolic_link_leads_no_included_file_out_of_the_folder(folder: Folder) -> None:
    home = folder.path / "agents"
    (home / "inside").mkdir(parents=True)
    folder.write("secret.txt", "private")
    folder.write("agents/inside/real.md", "fine")
    (home / "out.md").symlink_to(folder.path / "secret.txt")
    (home / "in.md").symlink_to(home / "inside" / "real.md")
    (home / "updir").symlink_to(folder.path)
    folder.write(
        "agents/agent.yaml", SMALL + "  skills: {a: {file: out.md}, b: {file: in.md}, c: {file: updir/secret.txt}}\n"
    )
    errors = folder.errors("agents/agent.yaml")
    assert [e.summary.split(" ")[0] for e in errors] == ["out.md", "updir/secret.txt"]


def test_an_included_file_is_bounded_and_text(folder: Folder) -> None:
    folder.write("big.md", "x" * (1024 * 1024 + 1))
    (folder.path / "binary.md").write_bytes(b"\xff\xfe")
    os.mkfifo(folder.path / "pipe")
    folder.write("agent.yaml", SMALL + "  skills: {a: {file: big.md}, b: {file: binary.md}, c: {file: pipe}}\n")
    assert [e.code for e in folder.errors()] == ["include"] * 3


def _digest(folder: Folder, text: str, **env: str) -> str:
    folder.write("agent.yaml", text)
    return folder.load(env=env).digest


def test_the_digest_changes_with_what_matters_and_with_nothing_else(folder: Folder) -> None:
    folder.write("a.md", "one")
    text = SMALL + "  instructions: {file: a.md}\n  gateway: {port: 8701}\n"
    digest = _digest(folder, text)
    assert digest == _digest(folder, "# a comment\n" + text)
    assert digest == _digest(
        folder, SMALL + "  gateway:\n    port: 8701\n    bind: 127.0.0.1\n  instructions: {file: a.md}\n"
    )
    assert digest == _digest(folder, text + "  x-note: hello\n")
    assert digest != _digest(folder, text.replace("8701", "8702"))
    folder.write("a.md", "two")
    assert digest != _digest(folder, text)


def test_the_digest_stays_what_it_was_in_earlier_releases(folder: Folder) -> None:
    # A later release may add fields with defaults; an old manifest must not look changed for that.
    assert folder.load().digest == "a6c1cb0ca3899835d6b11e4d93ea2b87831216dd8a808e6e3bbfed2746d624e6"


def test_a_variable_is_part_of_the_digest(folder: Folder) -> None:
    text = SMALL + "  instructions: Hello ${WHO:-you}\n"
    assert _digest(folder, text) == _digest(folder, text, WHO="you") != _digest(folder, text, WHO="Ines")


def test_variables_are_replaced_in_strings(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "  skills:\n    a: ${A}, ${B:-b}, ${C:?c}, ${D:-}.\n    b: $$A $A $${A} 5$\n")
    skills = folder.load(env={"A": "1", "B": "", "C": "3"}).agent.spec.skills
    assert skills == {"a": "1, b, 3, .", "b": "$A $A ${A} 5$"}


def test_a_variables_value_is_not_looked_through_again(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "  instructions: ${A}\n")
    assert folder.load(env={"A": "${B} $$ *x"}).agent.spec.instructions == "${B} $$ *x"


def test_a_password_that_comes_from_a_variable_is_refused_too(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + "  memory: {store: {engine: pgvector, manage: external, url: '${DB}'}}\n")
    folder.env = {"DB": "postgres://atlas:hunter2@db/x"}
    found = folder.errors()
    assert [error.code for error in found] == ["store-unused", "literal-secret"]
    assert "hunter2" not in repr(found)


def test_every_target_of_the_full_example_is_valid() -> None:
    full = asset("examples", "full")
    first = load([full / "agent.yaml"], env={}, target="laptop")
    assert set(first.agent.spec.targets) == {"laptop", "desk", "pi", "vps", "home"}
    for target in first.agent.spec.targets:
        manifest = load([full / "agent.yaml"], env={}, target=target)
        assert manifest.target_spec == manifest.agent.spec.targets[target]
        assert manifest.warnings == ()
    assert "voice" not in load([full / "agent.yaml"], env={}, target="vps").agent.spec.models


def test_an_invalid_manifest_is_wrong_usage(folder: Folder) -> None:
    folder.write("agent.yaml", "a: 1\n")
    with pytest.raises(ManifestError) as raised:
        folder.load()
    assert raised.value.exit_code == ExitCode.USAGE
    assert raised.value.summary.startswith("agent.yaml has ")


def test_an_agent_with_nothing_to_think_with_is_a_warning(tmp_path: Path) -> None:
    text = "apiVersion: pai/v1alpha1\nkind: Agent\nmetadata: {name: a, owner: b}\nspec: {targets: {here: {driver: native}}}\n"
    (tmp_path / "agent.yaml").write_text(text, encoding="utf-8")
    (warning,) = load(["agent.yaml"], env={}, cwd=tmp_path).warnings
    assert (warning.code, warning.severity) == ("no-chat-model", "warning")
