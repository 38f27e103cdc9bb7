"""Models are chosen and refused for the machine that runs them, not for the one where paictl is."""

from __future__ import annotations

from pathlib import Path

import pytest

from paictl.errors import UsageError
from paictl.fit.choose import NoFit
from paictl.fit.hardware import Hardware
from paictl.fit.machines import shares, threads
from paictl.fit.resolve import Supply, lock_models
from paictl.manifest.load import Manifest, load
from paictl.weights.cache import Cache
from tests.weights.headers import LLAMA, TENSORS, gguf

_GIB = 1 << 30
_HERE = Hardware(32, 256 * _GIB, 200 * _GIB, 0, 10**12, "x86_64")
_MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  targets:
    home: {driver: DRIVER, hosts: HOSTS}
  models:
    chat: {task: chat, CHAT}
    embed: {task: embed, select: {}}
"""


def _manifest(folder: Path, driver: str, hosts: str, chat: str = "select: {}") -> Manifest:
    text = _MANIFEST.replace("DRIVER", driver).replace("HOSTS", hosts).replace("CHAT", chat)
    (folder / "agent.yaml").write_text(text, encoding="utf-8")
    return load(["agent.yaml"], env={}, cwd=folder)


def _hardware(manifest: Manifest, driver: str = "ansible") -> dict[str, Hardware | None]:
    found = shares(manifest.agent.spec.models, manifest.target_spec, driver, here=lambda: _HERE)
    return {name: share.hardware for share in found for name in share.models}


def _file(folder: Path, blocks: int = 2) -> str:
    """A model file whose header tells of that many blocks, each with attention to remember."""
    header = {**LLAMA, "llama.block_count": blocks, "llama.attention.key_length": 512}
    (folder / "chat.gguf").write_bytes(gguf(header, TENSORS, content=100))
    return "source: 'file://chat.gguf'"


def test_a_pi_4_of_4_gib_refuses_what_can_not_fit_and_names_what_would(tmp_path: Path) -> None:
    manifest = _manifest(
        tmp_path, "ansible, profile: raspberry-pi-4", "{pi: {address: pi.lan}}", f"{_file(tmp_path, 1100)}, context: 2k"
    )
    hardware = _hardware(manifest)["chat"]
    assert hardware is not None
    assert (hardware.ram, hardware.cores, hardware.arch, hardware.is_pi) == (4 * _GIB, 4, "aarch64", True)
    supply = Supply(base=tmp_path, cache=Cache(tmp_path / "cache"))
    chat = {"chat": manifest.agent.spec.models["chat"]}
    assert 4 * _GIB < lock_models(chat, _HERE, supply)["chat"].memory < 8 * _GIB
    with pytest.raises(NoFit) as refused:
        lock_models(chat, hardware, supply)
    assert refused.value.summary.endswith("but pi has 3.5 GB for them")
    assert "for chat, " in (refused.value.help or "")
    assert " would fit (" in (refused.value.help or "")


def test_what_is_chosen_for_a_pi_fits_it_however_large_this_machine_is(tmp_path: Path) -> None:
    chosen = {}
    for memory in ("4GiB", "16GiB"):
        hosts = f"{{pi: {{address: pi.lan}}}}, machine: {{memory: {memory}}}"
        manifest = _manifest(tmp_path, "ansible, profile: raspberry-pi-5", hosts)
        hardware = _hardware(manifest)["chat"]
        assert hardware is not None
        chosen[memory] = hardware
    assert chosen["4GiB"].ram * 4 == chosen["16GiB"].ram
    assert threads(shares(manifest.agent.spec.models, manifest.target_spec, "ansible", here=lambda: _HERE)) == 3


def test_each_host_counts_for_the_models_that_it_runs(tmp_path: Path) -> None:
    hosts = (
        "{pi: {address: pi.lan}, desk: {address: desk.lan, runs: [chat], machine: {memory: 64GiB, cores: 16}}}, "
        "profile: raspberry-pi-4"
    )
    found = _hardware(_manifest(tmp_path, "ansible", hosts))
    assert found["chat"] is not None
    assert found["embed"] is not None
    assert (found["chat"].name, found["chat"].ram) == ("desk", 64 * _GIB)
    assert (found["embed"].name, found["embed"].ram) == ("pi", 4 * _GIB)


def test_nothing_is_chosen_for_a_host_of_which_nobody_said_what_it_has(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "ansible", "{box: {address: box.lan}}")
    assert _hardware(manifest) == {"chat": None, "embed": None}
    supply = Supply(base=tmp_path, cache=Cache(tmp_path / "cache"))
    with pytest.raises(UsageError, match="nobody has said what the host has") as told:
        lock_models(manifest.agent.spec.models, None, supply)
    assert "machine: {memory: 8GiB, cores: 4}" in (told.value.help or "")
    # An exact model is the person's own choice; whether it fits, the host's own memory says before anything begins.
    exact = _manifest(tmp_path, "ansible", "{box: {address: box.lan}}", _file(tmp_path)).agent.spec.models["chat"]
    assert lock_models({"chat": exact}, None, supply)


@pytest.mark.parametrize(("driver", "hosts"), [("ansible", "{}"), ("fake", "{a: {address: a}}")])
def test_a_target_that_is_this_machine_has_what_it_has(tmp_path: Path, driver: str, hosts: str) -> None:
    assert _hardware(_manifest(tmp_path, driver, hosts), driver) == {"chat": _HERE, "embed": _HERE}
