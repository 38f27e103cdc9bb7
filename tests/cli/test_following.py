"""What root runs by itself is root's alone: who could write to it is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paictl.cli.following import program, refuse_unsafe, strangers
from paictl.errors import Refused
from tests.blueprint.manifests import QUICKSTART, manifest

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what is root's")


@pytest.fixture
def place() -> Path:
    """A folder that is root's all the way up."""
    return Path("/usr/bin")


@_AS_ROOT
def test_what_is_root_s_all_the_way_up_has_no_stranger(place: Path) -> None:
    assert list(strangers([place])) == []


@_AS_ROOT
def test_a_folder_above_that_everybody_may_write_to_is_named(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    (open_to_all / "bin").mkdir(parents=True)
    open_to_all.chmod(0o777)
    assert (open_to_all, "everybody") in list(strangers([open_to_all / "bin"]))


@_AS_ROOT
def test_where_a_link_leads_counts_as_well(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1, 1)
    link = tmp_path / "python"
    link.symlink_to(theirs)
    assert theirs in [found for found, _ in strangers([link])]


@_AS_ROOT
def test_a_group_that_may_write_is_a_stranger(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    assert (shared, "group 0") in list(strangers([shared]))


def test_the_program_looks_neither_into_the_folder_it_runs_in_nor_into_the_environment() -> None:
    assert program()[1:] == ("-I", "-m", "paictl")


@pytest.mark.parametrize("files", [("agent.yaml", "more.yaml"), ("hearth.yaml",), ("-",)])
def test_what_a_timer_would_not_apply_is_refused(tmp_path: Path, files: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match=r"agent\.yaml alone is applied"):
        refuse_unsafe(manifest(tmp_path, ""), files)


def test_an_installation_below_a_folder_that_others_may_write_to_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    monkeypatch.syspath_prepend(str(theirs))
    with pytest.raises(Refused) as raised:
        refuse_unsafe(manifest(tmp_path, ""), (str(QUICKSTART),))
    assert "may write to /" in raised.value.summary
    assert "as root" in raised.value.help
