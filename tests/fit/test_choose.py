"""What fits, and what is chosen."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paictl.fit.catalogue import shipped
from paictl.fit.choose import Choice, NoFit, Wish, budget, choose, fits, speed
from paictl.fit.hardware import Hardware
from paictl.fit.memory import need
from paictl.manifest.models import Select
from paictl.weights import gguf
from paictl.weights.sources import parse
from tests.weights import headers

_GIB = 1024**3
_LAPTOP = Hardware(cores=8, ram=16 * _GIB, ram_available=8 * _GIB, swap=0, disk_free=100 * _GIB, arch="x86_64")


def _wish(quality: str = "best-fit", context: str = "8k") -> Wish:
    return Wish("chat", Select.model_validate({"quality": quality, "context": context}))


def _choose(hardware: Hardware, wishes: Mapping[str, Wish] | None = None, taken: int = 0) -> Choice:
    return choose(wishes or {"chat": _wish()}, hardware, shipped(), taken)


def _model(**changes: object) -> gguf.Gguf:
    data = headers.gguf(
        {**headers.LLAMA, **{f"llama.{key.replace('__', '.')}": value for key, value in changes.items()}},
        headers.TENSORS,
    )
    return gguf.read(io.BytesIO(data), len(data))


def test_the_attention_cache_follows_llama_cpps_formula() -> None:
    # 2 blocks x 2 KV heads x (16 + 16) x 2 bytes x 4096 cells
    assert need(_model(), 4096).kv_cache == 2 * 2 * 32 * 2 * 4096
    assert need(_model(), 4096, parallel=3).kv_cache == 3 * need(_model(), 4096).kv_cache
    assert need(_model(), 4000).kv_cache == need(_model(), 4096).kv_cache
    assert need(_model(attention__head_count_kv=[2, 0]), 4096).kv_cache == need(_model(), 4096).kv_cache // 2


def test_a_sliding_window_counts_only_where_the_header_says_which_blocks_have_one() -> None:
    window = {"attention__sliding_window": 512}
    assert need(_model(**window), 8192).kv_cache == need(_model(), 8192).kv_cache
    pattern = _model(**window, attention__sliding_window_pattern=[True, False])
    assert need(pattern, 8192).kv_cache == 2 * 32 * 2 * (8192 + 1024)
    assert need(pattern, 256).kv_cache == need(_model(), 256).kv_cache


def test_the_catalogue_is_sound() -> None:
    entries = shipped()
    assert {entry.task for entry in entries} == {"chat", "embed", "transcribe"}
    for entry in entries:
        assert parse(entry.source).scheme == "hf"
        assert entry.active <= entry.size
        assert (entry.tokenizer is not None) == entry.source.endswith(".onnx")
        assert entry.task != "chat" or (entry.context and entry.kv_bytes_per_token and entry.vocabulary)
        # Between 2 and 9 bits a parameter, or the row is wrong.
        assert 0.25 < entry.size / entry.parameters < 2.1, entry.name


def test_more_memory_never_chooses_a_worse_model() -> None:
    chosen = [_choose(replace(_LAPTOP, ram=size * _GIB)).entries["chat"].quality for size in (2, 4, 8, 16, 32, 64, 128)]
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


def test_fast_is_faster_and_best_is_better() -> None:
    entries = [
        _choose(_LAPTOP, {"chat": _wish(quality)}).entries["chat"] for quality in ("fast", "balanced", "best-fit")
    ]
    assert [entry.quality for entry in entries] == sorted(entry.quality for entry in entries)
    assert speed(entries[0], _LAPTOP) >= 20


def test_a_pi_gets_a_model_that_it_can_also_run() -> None:
    pi = Hardware(4, 8 * _GIB, 7 * _GIB, 0, 30 * _GIB, "aarch64", "Raspberry Pi 5 Model B Rev 1.0")
    entry = _choose(pi).entries["chat"]
    assert speed(entry, pi) >= 3
    assert 1_000_000_000 <= entry.parameters <= 5_000_000_000


def test_the_whole_machine_is_shared() -> None:
    small = replace(_LAPTOP, ram=4 * _GIB)
    wishes = {"chat": _wish(), "embed": Wish("embed", Select()), "voice": Wish("transcribe", Select())}
    alone, together = _choose(small), _choose(small, wishes)
    assert set(together.entries) == set(wishes)
    assert together.fit.ok
    assert together.entries["chat"].quality <= alone.entries["chat"].quality
    assert _choose(small, taken=2 * _GIB).entries["chat"].quality < alone.entries["chat"].quality


def test_what_is_free_at_this_moment_does_not_change_the_choice() -> None:
    assert _choose(_LAPTOP) == _choose(replace(_LAPTOP, ram_available=1 * _GIB))


def test_nothing_fits_a_machine_without_memory() -> None:
    with pytest.raises(
        NoFit, match=r"no models fit this machine: it has 0 B for models, and 496 MB are needed \(chat at least"
    ) as caught:
        _choose(replace(_LAPTOP, ram=_GIB // 2))
    assert caught.value.exit_code == 4
    assert caught.value.help


def test_a_context_that_no_model_has_is_refused_with_the_longest() -> None:
    with pytest.raises(NoFit, match="context of 1024000 tokens") as caught:
        _choose(_LAPTOP, {"chat": _wish(context="1000k")})
    assert "131072" in caught.value.help
    assert _choose(_LAPTOP, {"chat": _wish(context="100k")}).entries["chat"].context >= 102_400


@given(
    st.integers(0, 256 * _GIB),
    st.integers(1, 64),
    st.sampled_from(["fast", "balanced", "best-fit"]),
    st.integers(0, 8 * _GIB),
)
def test_a_choice_always_fits_or_is_refused(ram: int, cores: int, quality: str, taken: int) -> None:
    hardware = replace(_LAPTOP, ram=ram, cores=cores)
    try:
        choice = _choose(hardware, {"chat": _wish(quality), "embed": Wish("embed", Select())}, taken)
    except NoFit:
        return
    total = taken + sum(choice.entries[name].need(8192).total for name in choice.entries)
    assert total == choice.fit.needed <= budget(hardware) == fits(0, hardware).budget
