"""What a machine has, and what a container's limits leave of it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from paictl.fit.hardware import Hardware, default_threads, probe


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_this_machine_is_read(tmp_path: Path) -> None:
    found = probe(tmp_path)
    assert 1 <= found.cores <= (psutil.cpu_count() or 1)
    assert 0 < found.ram_available <= found.ram <= psutil.virtual_memory().total
    assert found.disk_free > 0
    assert found.arch
    assert not found.is_pi or found.model


def test_a_folder_that_is_yet_to_be_made_has_the_disk_of_the_one_above(tmp_path: Path) -> None:
    assert probe(tmp_path / "not" / "yet" / "here").disk_free > 0


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/user.slice/app\n",
            "sys/fs/cgroup/user.slice/memory.max": "536870912\n",
            "sys/fs/cgroup/user.slice/app/memory.max": "max\n",
        },
        {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.max": "536870912\n"},
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "536870912\n",
        },
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
        },
    ],
    ids=["v2 from above", "v2 in a container", "v1", "v1 in a container"],
)
def test_a_containers_memory_counts_as_the_machines(tmp_path: Path, files: dict[str, str]) -> None:
    found = probe(tmp_path, _write(tmp_path, files))
    assert found.ram == 512 * 1024**2
    assert found.ram_available <= found.ram


def test_what_a_container_uses_is_not_available_but_its_file_cache_is(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "536870912",
        "sys/fs/cgroup/memory.current": "436870912",
        "sys/fs/cgroup/memory.stat": "anon 100\ninactive_file 336870912\n",
    }
    assert probe(tmp_path, _write(tmp_path, files)).ram_available == 436870912


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "rubbish", ""])
def test_no_limit_is_no_limit(tmp_path: Path, limit: str) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": limit}
    assert probe(tmp_path, _write(tmp_path, files)).ram == psutil.virtual_memory().total


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_a_containers_share_of_time_counts_in_whole_cores(tmp_path: Path, files: dict[str, str]) -> None:
    assert probe(tmp_path, _write(tmp_path, files)).cores == 1


def test_a_raspberry_pi_says_so(tmp_path: Path) -> None:
    root = _write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    found = probe(tmp_path, root)
    assert found.is_pi
    assert found.model == "Raspberry Pi 5 Model B Rev 1.0"


def test_a_graphics_card_is_found_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "sys/class/drm/card0/device/mem_info_vram_total": "17163091968\n",
        "sys/class/drm/card0/device/mem_info_vram_used": "1000\n",
    }
    tool = tmp_path / "bin" / "nvidia-smi"
    _write(tmp_path, {**files, "bin/nvidia-smi": "#!/bin/sh\necho 'NVIDIA RTX 4000, 20475, 20000'\n"})
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    cards = probe(tmp_path, tmp_path).gpus
    assert [(card.name, card.total) for card in cards] == [("NVIDIA RTX 4000", 20475 << 20), ("AMD GPU", 17163091968)]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert [card.name for card in probe(tmp_path, tmp_path).gpus] == ["AMD GPU"]


def test_one_core_stays_free() -> None:
    assert [default_threads(cores) for cores in (1, 2, 4, 16)] == [1, 1, 3, 15]
    assert Hardware(1, 1, 1, 0, 1, "x86_64").gpus == ()
