"""What a hardened unit is held by on these hosts: each option by what it forbids, since one that is ignored says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Begin
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

_RUN = ["systemd-run", "--wait", "--pipe", "--quiet"]
_UNIT = """
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -I /opt/probe
StandardOutput=file:/var/lib/probe.json
DynamicUser=yes
StateDirectory=probe
RuntimeDirectory=probe
LoadCredential=token:/etc/probe.token
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateUsers=yes
PrivateIPC=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
IPAddressDeny=any
DevicePolicy=closed
MemoryMax=200M
TasksMax=20
CPUQuota=50%
"""
_PROBE = """
import ctypes, json, mmap, os, pathlib, socket
def refused(what):
    try:
        return what() not in (None, 0, True) and False
    except (OSError, PermissionError):
        return True
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno())
def file(path):
    return lambda: pathlib.Path(path).write_text("")
print(json.dumps({
    "user": os.getuid(),
    "token": (pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"]) / "token").read_text(),
    "state": pathlib.Path(os.environ["STATE_DIRECTORY"], "kept").write_text("kept"),
    "interfaces": [line.split(":")[0].strip() for line in open("/proc/self/net/dev").readlines()[2:]],
    "processes": sorted({open(f"/proc/{pid}/comm").read().strip() for pid in os.listdir("/proc") if pid.isdigit()}),
    "devices": sorted(set(os.listdir("/dev")) & {"net", "console", "null", "kmsg"}),
    "home": os.listdir("/home") if os.access("/home", os.R_OK) else [],
    "refused": sorted(name for name, what in {
        "system": file("/usr/none"), "settings": file("/etc/none"), "data": file("/var/none"),
        "tunable": file("/proc/sys/net/ipv4/ip_forward"), "control groups": file("/sys/fs/cgroup/cgroup.procs"),
        "writable code": lambda: mmap.mmap(-1, 4096, prot=7), "namespace": lambda: call(272, 0x10000000),
        "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), "mount": lambda: call(165, 0, 0, 0, 0, 0),
        "set-uid": lambda: os.chmod(os.environ["STATE_DIRECTORY"], 0o4700), "name": lambda: socket.sethostname("other"),
    }.items() if refused(what)),
}))
"""
_REFUSED = [
    "control groups",
    "data",
    "mount",
    "name",
    "namespace",
    "packets",
    "set-uid",
    "settings",
    "system",
    "tunable",
    "writable code",
]


@pytest.fixture(scope="module")
def server(lan: Lan) -> Iterator[Host]:
    """One host for all that only starts units."""
    from tests.hosts import host as one

    made = one.begin(lan, "units")
    yield made
    made.end()


def test_a_unit_with_every_restriction_starts_and_each_of_them_restricts(server: Host) -> None:
    for path, content in (
        ("/etc/systemd/system/probe.service", _UNIT),
        ("/opt/probe", _PROBE),
        ("/etc/probe.token", "s3cret"),
    ):
        server.exec(["sh", "-c", f"cat >{path}"], content)
    server.exec(["chmod", "600", "/etc/probe.token"])
    server.exec(["systemctl", "daemon-reload"])
    try:
        server.exec(["systemctl", "start", "probe"])
    except Refused:
        pytest.fail(server.exec(["cat", "/var/lib/probe.json"]))
    told = json.loads(server.exec(["cat", "/var/lib/probe.json"]))
    assert told.pop("user") > 60_000  # nobody's before
    assert told == {
        "token": "s3cret",
        "state": 4,
        "interfaces": ["lo"],
        "processes": ["python3"],
        "devices": ["null"],
        "home": [],
        "refused": _REFUSED,
    }
    exposure = server.exec(["systemd-analyze", "security", "--no-pager", "probe.service"]).strip().splitlines()[-1]
    assert "OK" in exposure or "SAFE" in exposure


def test_units_are_judged_without_being_installed(server: Host) -> None:
    server.exec(["sh", "-c", "cat >/tmp/judged.service"], _UNIT)
    server.exec(["systemd-analyze", "security", "--offline=yes", "--threshold=15", "/tmp/judged.service"])
    with pytest.raises(Refused):
        server.exec(["systemd-analyze", "security", "--offline=yes", "--threshold=1", "/tmp/judged.service"])


def test_a_credential_may_be_kept_encrypted(server: Host) -> None:
    server.exec(["systemd-creds", "encrypt", "--name=token", "-", "/etc/token.cred"], "s3cret")
    show = 'import os; print(open(os.environ["CREDENTIALS_DIRECTORY"] + "/token").read())'
    told = server.exec(
        [*_RUN, "-pLoadCredentialEncrypted=token:/etc/token.cred", "-pDynamicUser=yes", "python3", "-c", show]
    )
    assert told == "s3cret\n"


def test_a_unit_may_be_kept_from_every_address(hosts: Begin, server: Host) -> None:
    other = hosts()
    ask = ["python3", "-c", f"import socket; socket.create_connection(('{other.address}', 22), 2)"]
    server.exec([*_RUN, *ask])
    with pytest.raises(Refused):
        server.exec([*_RUN, "-pIPAddressDeny=any", *ask])


@pytest.mark.parametrize(
    ("controller", "limit", "too_much"),
    [
        ("pids", "TasksMax=3", ["sh", "-c", "for one in 1 2 3 4 5; do sleep 1 & done; wait"]),
        ("memory", "MemoryMax=30M", ["python3", "-c", "len(bytearray(100_000_000))"]),
    ],
)
def test_a_limit_limits_where_the_machine_has_its_controller(
    server: Host, controller: str, limit: str, too_much: list[str]
) -> None:
    if controller not in server.controllers:
        pytest.skip(f"this machine's control groups of version 2 lack {controller}: its version 1 has it")
    with pytest.raises(Refused):
        server.exec([*_RUN, f"-p{limit}", "-pMemorySwapMax=0", *too_much])


def test_what_debian_leaves_out_of_its_systemd_is_known(server: Host) -> None:
    # So RestrictFileSystems=, RestrictNetworkInterfaces= and SocketBindDeny= are read and ignored, here as on any Debian 12.
    assert "-BPF_FRAMEWORK" in server.exec(["systemctl", "--version"])
