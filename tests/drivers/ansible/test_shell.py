"""Commands on a host: bytes as they are, exit codes as they are, and sudo's password where nobody finds it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.shell import Shell, on_each
from paictl.errors import PaictlError, Refused, Unreachable
from tests.drivers.ansible.stack import Shared

pytestmark = [pytest.mark.hosts, pytest.mark.slow]


@pytest.fixture
def shell(shared: Shared) -> Shell:
    return Shell(shared.reached, shared.host.name)


def test_what_goes_in_comes_out_byte_by_byte_and_the_exit_code_is_the_commands(shell: Shell) -> None:
    content = os.urandom(300_000)
    assert shell.run(["cat"], content).stdout == content
    said = shell.run(["sh", "-c", r"printf 'a\0b'; printf 'no line' >&2; exit 255"])
    assert (said.code, said.stdout, said.stderr) == (255, b"a\0b", b"no line")
    assert shell.run(["true"], content).code == 0
    assert shell.run(["id", "-un"]).stdout == b"root\n"
    assert shell.run(["printf", "%s|", "a b", "$HOME", "'", "*"]).stdout == b"a b|$HOME|'|*|"


def test_no_process_here_or_there_shows_the_password(shared: Shared, shell: Shell) -> None:
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '"
    process = shell.start(["sh", "-c", f"{look}; cat"])
    here = b"".join(_seen("cmdline", "environ"))
    there, _ = process.communicate(b"the end")
    assert b"the end" in there
    for seen in (here, there):
        assert shared.host.password.encode() not in seen


def _seen(*names: str) -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        for name in names:
            # It may end meanwhile.
            with suppress(OSError):
                yield (process / name).read_bytes()


def test_a_password_opens_the_host_and_sudo_where_there_is_no_key(shared: Shared, tmp_path: Path) -> None:
    hosts = Hosts(shared.reached.logins, lambda *_: shared.host.password, tmp_path)
    try:
        assert Shell(hosts, shared.host.name).run(["id", "-un"]).stdout == b"root\n"
    finally:
        hosts.close()


def test_a_password_that_sudo_does_not_take_is_refused_and_so_is_none(shared: Shared) -> None:
    name = shared.host.name
    wrong = replace(shared.reached, passwords=lambda _, use: None if use == "login" else secrets.token_hex(4))
    with pytest.raises(Refused, match=f"sudo of {name} does not take the password"):
        Shell(wrong, name).run(["true"])
    none = replace(shared.reached, passwords=lambda *_: None)
    with pytest.raises(Refused, match=f"sudo of {name} asks for a password, and none is known"):
        Shell(none, name).run(["true"])


def test_a_host_that_is_not_there_is_unreachable_and_a_wrong_key_is_never_one_to_try_again(
    shared: Shared, tmp_path: Path
) -> None:
    real = shared.reached.logins[shared.host.name]
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    logins = {"wrong": replace(real, name="wrong", host_key=other), "shut": Login("shut", "127.0.0.1", "x", 9, other)}
    hosts = Hosts(logins, shared.reached.passwords, tmp_path)
    with pytest.raises(Unreachable, match="shut takes no connections"):
        Shell(hosts, "shut").run(["true"])
    with pytest.raises(Refused, match="wrong shows another host key than the pinned one"):
        Shell(hosts, "wrong").run(["true"])


def test_of_several_hosts_each_has_its_own_answer(shared: Shared, tmp_path: Path) -> None:
    real = shared.reached.logins[shared.host.name]
    gone = Login("gone", "127.0.0.1", "x", 9, real.host_key)
    both = replace(shared.reached, logins={**shared.reached.logins, "gone": gone})
    found, troubles = on_each(both, lambda shell: shell.run(["hostname"]).stdout)
    assert found == {shared.host.name: f"{shared.host.name}\n".encode()}
    assert list(troubles) == ["gone"]
    assert isinstance(troubles["gone"], Unreachable)
    with pytest.raises(Unreachable):
        on_each(Hosts({"gone": gone}, shared.reached.passwords, tmp_path), lambda shell: shell.run(["true"]))


def test_what_takes_too_long_is_told(shell: Shell) -> None:
    with pytest.raises(PaictlError, match=r"sleep on \S+ did not end within 0\.5 s"):
        shell.run(["sleep", "20"], timeout=0.5)


def test_this_machine_needs_no_ssh(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("nobody here knows sudo's password")
    hosts = Hosts({"localhost": Login("localhost", local=True)}, lambda *_: None, tmp_path)
    assert Shell(hosts, "localhost").run(["cat"], b"x").stdout == b"x"
