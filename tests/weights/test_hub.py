"""``hf://`` through the real huggingface_hub client, against a server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.clock import ManualClock
from paictl.weights.cache import Cache
from paictl.weights.failures import NotCached, SourceUnreachable, WrongHash
from paictl.weights.fetch import fetch, obtain
from paictl.weights.resolve import resolve
from paictl.weights.sources import parse
from tests.weights.servers import Site, serve

_MODEL = random.Random(3).randbytes(2_000_000)
_SHA256 = hashlib.sha256(_MODEL).hexdigest()
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def store() -> Iterator[Site]:
    """Where the hub keeps large files: another origin, reached by a signed address."""
    with serve() as running:
        running.add(f"/{_SHA256}", _MODEL)
        yield running


@pytest.fixture
def hub(site: Site, store: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    site.hub = {"ines/tiny": _COMMIT}
    site.large = store.url
    site.add("/ines/tiny/q4/model.gguf", _MODEL)
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return site


def test_a_hub_file_is_pinned_to_its_commit_and_known_by_its_hash_before_it_is_fetched(hub: Site, store: Site) -> None:
    resolved = resolve(parse("hf://ines/tiny/q4/model.gguf"))
    assert resolved.url == f"{hub.url}/ines/tiny/resolve/{_COMMIT}/q4/model.gguf"
    assert resolved.source.text == f"hf://ines/tiny@{_COMMIT}/q4/model.gguf"
    assert (resolved.size, resolved.sha256) == (len(_MODEL), _SHA256)
    assert not store.requests


def test_a_hub_file_arrives_and_the_token_never_leaves_the_hub(
    hub: Site, store: Site, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_canary"
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    path = obtain(parse("hf://ines/tiny/q4/model.gguf"), None, cache)
    assert path.read_bytes() == _MODEL
    assert set(hub.authorizations) == {"Bearer hf_canary"}
    assert set(store.authorizations) == {""}


def test_a_locked_hub_file_is_resolved_again_to_the_same(hub: Site, cache: Cache) -> None:
    first = resolve(parse("hf://ines/tiny/q4/model.gguf"))
    again = resolve(first.source, first.sha256)
    assert again == first
    assert fetch(again, cache).name == _SHA256


def test_a_hub_download_resumes(hub: Site, store: Site, cache: Cache, clock: ManualClock) -> None:
    store.cuts = [1_000_000]
    assert fetch(resolve(parse("hf://ines/tiny/q4/model.gguf")), cache, clock=clock).read_bytes() == _MODEL
    assert store.served[f"/{_SHA256}"] < len(_MODEL) * 1.4


def test_a_small_file_kept_in_git_has_no_hash_until_it_is_here(hub: Site, cache: Cache) -> None:
    hub.large = ""
    hub.add("/ines/tiny/tokenizer.json", b"{}")
    resolved = resolve(parse("hf://ines/tiny@main/tokenizer.json"))
    assert resolved.sha256 is None
    path = fetch(resolved, cache)
    assert (path.name, path.read_bytes()) == (hashlib.sha256(b"{}").hexdigest(), b"{}")


def test_a_file_that_was_changed_on_the_hub_is_refused_before_it_travels(hub: Site, store: Site) -> None:
    with pytest.raises(WrongHash) as caught:
        resolve(parse("hf://ines/tiny/q4/model.gguf"), "0" * 64)
    assert _SHA256 in caught.value.summary
    assert not store.requests


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf://ines/tiny/nothing.gguf", "no such file"),
        ("hf://ines/other/model.gguf", "no such repository"),
        ("hf://ines/tiny@v9/q4/model.gguf", "no revision v9"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub: Site, source: str, reason: str) -> None:
    with pytest.raises(SourceUnreachable, match=reason):
        resolve(parse(source))


def test_a_gated_repository_says_what_to_do(hub: Site) -> None:
    hub.token = "hf_canary"
    with pytest.raises(SourceUnreachable, match="licence accepted") as caught:
        resolve(parse("hf://ines/tiny/q4/model.gguf"))
    assert "HF_TOKEN" in caught.value.help


def test_a_hub_in_trouble_is_asked_again(hub: Site, clock: ManualClock) -> None:
    hub.failures = [503, 500]
    assert resolve(parse("hf://ines/tiny/q4/model.gguf"), clock=clock).sha256 == _SHA256
    assert clock.seconds == 1.5


def test_no_hub_at_all_ends_in_a_sentence(hub: Site, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceUnreachable, match=r"hf://ines/tiny/q4/model\.gguf could not be read"):
        resolve(parse("hf://ines/tiny/q4/model.gguf"), clock=clock)
    assert clock.seconds == 0.5 + 1 + 2 + 4 + 8


def test_something_else_than_a_hub_is_recognised(hub: Site, site: Site, clock: ManualClock) -> None:
    site.hub = {}
    site.add("/ines/tiny/resolve/main/q4/model.gguf", _MODEL)
    with pytest.raises(SourceUnreachable, match="does not speak the hub's protocol"):
        resolve(parse("hf://ines/tiny/q4/model.gguf"), clock=clock)


def test_offline_asks_no_hub(hub: Site, cache: Cache) -> None:
    with pytest.raises(NotCached, match="--offline"):
        obtain(parse("hf://ines/tiny/q4/model.gguf"), None, cache, offline=True)
    assert not hub.requests
