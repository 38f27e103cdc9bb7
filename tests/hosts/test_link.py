"""Two hosts of one agent: what the services of one ask of the other's, and that nobody else does."""

from __future__ import annotations

import re
import socket
import ssl
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from paictl.drivers.ansible.hosts import Hosts
from paictl.render.source import runtime_source
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import put
from tests.hosts.roles import Variables, applied, logins
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_CODE, _PORT, _ENDPOINT = "/opt/paictl/runtime/tried", 8790, "model-chat/http"
_SOCKET = f"/run/paictl/atlas/{_ENDPOINT}.sock"
_ETC, _UNIT = "/etc/paictl/atlas/link", "paictl-atlas-link.service"
_WORDS, _PAUSE = 40, 0.05
# What key.py makes keys and certificates with, from where the tests themselves have it.
_PACKAGES = ("cryptography", "cffi", "_cffi_backend")


@dataclass(frozen=True)
class _Pair:
    """The host that asks, the one that answers, and what the role is told on each."""

    pi: Host
    desk: Host
    hosts: Hosts
    variables: Mapping[str, Variables]

    def told(self) -> str:
        """What both ends have said so far."""
        shown = ["journalctl", "--unit", _UNIT, "--output", "cat", "--no-pager"]
        return self.pi.exec(shown) + self.desk.exec(shown)


def _ask(host: Host, told: str = "") -> str:
    """What the model says, as a service on that host hears it; then what curl itself tells."""
    return host.exec(["curl", "-sSN", "--write-out", told, "--unix-socket", _SOCKET, "http://model/"])


def _settle(host: Host) -> None:
    """As the role ``runtime`` leaves it, as far as the link cares: a user, a build, and what starts with the machine."""
    packages = Path(sysconfig.get_path("platlib"))
    found = [path for name in _PACKAGES for path in (*packages.glob(f"{name}*.so"), *(packages / name).rglob("*"))]
    there = "venv/lib/python3.11/site-packages"
    put(host, {f"{there}/{one.relative_to(packages)}": one.read_bytes() for one in found if one.is_file()}, _CODE)
    put(host, {path: text.encode() for path, text in runtime_source().items() if path.startswith("source/")}, _CODE)
    put(host, {"paictl-atlas.target": b"[Install]\nWantedBy=multi-user.target\n"}, "/etc/systemd/system")
    host.exec(["systemctl", "enable", "--quiet", "--now", "paictl-atlas.target"])
    host.exec(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "paictl-atlas"])
    host.exec(["python3", "-m", "venv", "--without-pip", f"{_CODE}/venv"])


def _serve(host: Host) -> None:
    put(host, {"words.py": Path(__file__).with_name("words.py").read_bytes()}, "/opt")
    program = ["python3", "/opt/words.py", _SOCKET, str(_WORDS), str(_PAUSE)]
    host.exec(["systemd-run", "--quiet", "--unit=model", "--uid=paictl-atlas", *program])
    until(lambda: "http.sock" in host.exec(["ls", str(Path(_SOCKET).parent)]), "the model's socket")


@pytest.fixture(scope="module")
def pair(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Pair]:
    """Made once: certificates exchanged, both ends running, a model on one of them."""
    pi, desk = one.begin(lan, "link-pi"), one.begin(lan, "link-desk")
    both = {"link_agent": "atlas", "link_user": "paictl-atlas", "link_code": _CODE}
    there = {"host": "desk", "address": desk.address, "port": _PORT}
    variables: dict[str, Variables] = {
        "pi": {**both, "link_peers": ["desk"], "link_asks": {_ENDPOINT: there}, "link_allowed": [desk.address]},
        # Told no address, so that strangers get as far as TLS.
        "desk": {**both, "link_peers": ["pi"], "link_gives": {"pi": [_ENDPOINT]}, "link_listen": _PORT},
    }
    _settle(pi)
    _settle(desk)
    with logins({"pi": pi, "desk": desk}, tmp_path_factory.mktemp("state")) as hosts:
        assert "Know the other host by its certificate" in applied(hosts, "link", variables)
        _serve(desk)
        yield _Pair(pi, desk, hosts, variables)
    pi.end()
    desk.end()


def test_what_a_model_says_on_one_host_arrives_word_by_word_on_the_other_and_as_fast(pair: _Pair) -> None:
    def seconds(host: Host) -> tuple[float, float]:
        said = _ask(host, "\n%{time_starttransfer} %{time_total}")
        assert said.count("data: ") == _WORDS
        first, whole = map(float, said.splitlines()[-1].split())
        return first, whole

    first, whole = seconds(pair.pi)
    assert first < _PAUSE * _WORDS / 4
    assert whole * 0.9 < seconds(pair.desk)[1]


def test_a_second_apply_changes_nothing_and_interrupts_nobody(pair: _Pair) -> None:
    before = pair.told()
    assert applied(pair.hosts, "link", pair.variables) == set()
    assert pair.told() == before


def test_both_ends_are_as_confined_as_every_other_unit(pair: _Pair) -> None:
    for host in (pair.pi, pair.desk):
        said = host.exec(["systemd-analyze", "security", "--no-pager", _UNIT])
        exposure = re.search(r"exposure level for \S+: ([0-9.]+)", said)
        assert exposure is not None
        assert float(exposure[1]) <= 1.0
        # The key is root's, and its process's alone.
        assert host.exec(["stat", "--format", "%a %U", f"{_ETC}/key.pem"]).split() == ["400", "root"]


def _stranger(folder: Path, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Somebody on a third machine, who believes whatever the host shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        (folder / "certificate.pem").write_text(certificate, encoding="ascii")
        (folder / "key.pem").write_text(key, encoding="ascii")
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def _heard(host: Host, context: ssl.SSLContext, ask: str = _ENDPOINT) -> bytes:
    """What they are answered; nothing where they are turned away."""
    try:
        plain = socket.create_connection((host.address, _PORT), timeout=10)
        with plain, context.wrap_socket(plain) as connection:
            connection.sendall(f"{ask}\nGET / HTTP/1.0\r\n\r\n".encode())
            return connection.recv(1024)
    except (ssl.SSLError, ConnectionError):
        return b""


def _stolen(host: Host) -> tuple[str, str]:
    return host.exec(["cat", f"{_ETC}/certificate.pem"]), host.exec(["cat", f"{_ETC}/key.pem"])


def _own(host: Host, folder: str) -> tuple[str, str]:
    """A pair made by the same program, with the same name in it."""
    host.exec(
        [f"{_CODE}/venv/bin/python", "-I", "-", folder, "pi", "make"],
        Path(__file__).parents[2].joinpath("roles/link/files/key.py").read_text(encoding="utf-8"),
    )
    return host.exec(["cat", f"{folder}/certificate.pem"]), host.exec(["cat", f"{folder}/key.pem"])


def test_who_is_not_the_other_host_is_refused_whatever_certificate_it_shows(pair: _Pair, tmp_path: Path) -> None:
    assert _heard(pair.desk, _stranger(tmp_path)) == b""
    assert _heard(pair.desk, _stranger(tmp_path, *_own(pair.pi, "/tmp/own/link"))) == b""
    # With the other host's own pair it would be let in: the others were turned away for theirs, not by chance.
    assert b"200 OK" in _heard(pair.desk, _stranger(tmp_path, *_stolen(pair.pi)))
    assert _heard(pair.desk, _stranger(tmp_path, *_stolen(pair.pi)), "gateway/inner") == b""
    assert "pi asked for 'gateway/inner', which is not given to it" in pair.told()


def test_a_host_asks_nobody_who_only_has_the_other_ones_address(pair: _Pair) -> None:
    pair.desk.exec(["mv", f"{_ETC}/certificate.pem", f"{_ETC}/true.pem"])
    pair.desk.exec(["mv", f"{_ETC}/key.pem", f"{_ETC}/true-key.pem"])
    _own(pair.desk, _ETC)
    pair.desk.exec(["systemctl", "restart", _UNIT])
    try:
        until(lambda: not _whole(pair.pi) and "self-signed certificate" in pair.told(), "the wrong one refused")
    finally:
        pair.desk.exec(["mv", f"{_ETC}/true.pem", f"{_ETC}/certificate.pem"])
        pair.desk.exec(["mv", f"{_ETC}/true-key.pem", f"{_ETC}/key.pem"])
        pair.desk.exec(["systemctl", "restart", _UNIT])
    until(lambda: _whole(pair.pi), "the true one is believed again")


def _whole(host: Host) -> bool:
    with suppress(Refused):
        return _ask(host).count("data: ") == _WORDS
    return False


def test_a_stream_outlives_a_short_cut_and_the_link_a_reboot(pair: _Pair) -> None:
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(_ask(pair.pi)))
    asking.start()
    until(lambda: "ESTAB" in pair.pi.exec(["ss", "-Htn", f"dport = {_PORT}"]), "a stream begun")
    pair.desk.cut()
    until(lambda: _unheard(pair.desk), "words that do not come through")
    pair.desk.mend()
    asking.join(timeout=30)
    assert said
    assert said[0].count("data: ") == _WORDS
    pair.desk.reboot()
    _serve(pair.desk)
    until(lambda: _whole(pair.pi), "what was said after the reboot")


def _unheard(host: Host) -> bool:
    """Whether it has sent what nobody has acknowledged."""
    told = host.exec(["ss", "-Htn", f"sport = {_PORT}"]).split()
    return len(told) > 2 and int(told[2]) > 0


def test_a_key_that_is_taken_away_is_made_anew_and_known_at_the_other_end(pair: _Pair, tmp_path: Path) -> None:
    old = _stolen(pair.pi)
    pair.pi.exec(["rm", f"{_ETC}/key.pem"])
    assert {"Have a key of its own", "Be known to the other host"} <= applied(
        pair.hosts, "link", {"pi": pair.variables["pi"]}
    )
    assert _stolen(pair.pi)[0] != old[0]
    assert _whole(pair.pi)
    # Whoever kept the old one is a stranger now, though nothing on the other host was restarted.
    assert _heard(pair.desk, _stranger(tmp_path, *old)) == b""
    assert applied(pair.hosts, "link", pair.variables) == set()


def test_what_the_role_takes_away_no_longer_carries(pair: _Pair) -> None:
    applied(pair.hosts, "link", pair.variables, "remove")
    with pytest.raises(Refused):
        _ask(pair.pi)
    assert "inactive" in pair.desk.exec(["sh", "-c", f"systemctl is-active {_UNIT}; true"])
