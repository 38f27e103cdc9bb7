"""The role `k3s` on a real host, with a program in its place that says what k3s says to systemd and to kubectl; no k3s can be had here."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import changed, play

pytestmark = [pytest.mark.hosts, pytest.mark.roles, pytest.mark.slow, pytest.mark.timeout(900)]

_PROGRAM = """#!/usr/bin/python3
import os, pathlib, socket, sys, time
if sys.argv[1] == "kubectl":
    sys.exit(0 if "--for=condition=Ready" in sys.argv else 1)
pathlib.Path("/etc/rancher/k3s/k3s.yaml").write_text("server: https://127.0.0.1:6443\\n")
if "NOTIFY_SOCKET" in os.environ:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    time.sleep(60)
"""


@dataclass(frozen=True)
class _Node:
    """A host that the role has made a server."""

    host: Host
    folder: Path
    variables: dict[str, object]


@pytest.fixture(scope="module")
def node(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Node]:
    """A server, from a file, without a network."""
    folder = tmp_path_factory.mktemp("k3s")
    program, images = folder / "k3s", folder / "k3s-airgap-images-amd64.tar.zst"
    program.write_text(_PROGRAM, encoding="ascii")
    images.write_bytes(b"images")
    host = one.begin(lan, "k3s")
    variables: dict[str, object] = {
        "k3s_version": "v1.35.2+k3s1",
        "k3s_sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
        "k3s_binary": str(program),
        "k3s_images": str(images),
        "k3s_tls_names": [host.address],
        "k3s_kubeconfig": str(folder / "kubeconfig"),
        "k3s_settings": {"disable": ["traefik"]},
    }
    assert "Install the unit" in changed(play(host, "k3s", variables, check=True))
    assert "Put it in its place" in changed(play(host, "k3s", variables))
    yield _Node(host, folder, variables)
    host.end()


def test_the_role_changes_nothing_the_second_time_nor_in_check_mode(node: _Node) -> None:
    assert changed(play(node.host, "k3s", node.variables)) == []
    assert changed(play(node.host, "k3s", node.variables, check=True)) == []
    assert node.host.exec(["systemctl", "is-active", "k3s"]) == "active\n"
    node.host.exec(["systemd-analyze", "verify", "/etc/systemd/system/k3s.service"])


def test_its_configuration_is_hardened_and_a_person_s_words_are_in_it(node: _Node) -> None:
    told = yaml.safe_load(node.host.exec(["cat", "/etc/rancher/k3s/config.yaml"]))
    assert told["secrets-encryption"] is True
    assert told["protect-kernel-defaults"] is True
    assert told["write-kubeconfig-mode"] == "0600"
    assert "anonymous-auth=false" in told["kube-apiserver-arg"]
    assert told["disable"] == ["traefik"]
    assert told["tls-san"] == [node.host.address]
    assert node.host.exec(["stat", "-c", "%U %a", "/etc/rancher/k3s/config.yaml"]) == "root 600\n"


def test_the_kubeconfig_arrives_with_the_address_from_here_and_for_its_user_alone(node: _Node) -> None:
    path = node.folder / "kubeconfig"
    assert path.read_text(encoding="ascii") == f"server: https://{node.host.address}:6443\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_program_than_the_named_one_is_refused_and_never_runs(node: _Node) -> None:
    other = node.folder / "other"
    other.write_text("#!/bin/sh\ntouch /ran\n", encoding="ascii")
    played = play(node.host, "k3s", {**node.variables, "k3s_binary": str(other), "k3s_sha256": "0" * 64})
    assert not played.ok
    assert "has the SHA-256" in played.failed
    assert node.host.exec(["sh", "-c", "ls /ran /usr/local/bin/k3s.new 2>/dev/null || true"]) == ""
    assert node.host.exec(["systemctl", "is-active", "k3s"]) == "active\n"


def test_to_join_takes_a_token_which_is_read_by_root_alone(node: _Node) -> None:
    joining = {**node.variables, "k3s_server": "https://198.19.255.1:6443"}
    assert "takes its token" in play(node.host, "k3s", joining).failed
    token = node.folder / "token"
    token.write_text("K10secret::server:abc", encoding="ascii")
    assert changed(play(node.host, "k3s", {**joining, "k3s_token": str(token)}))
    assert node.host.exec(["stat", "-c", "%U %a", "/etc/rancher/k3s/token"]) == "root 400\n"
    told = yaml.safe_load(node.host.exec(["cat", "/etc/rancher/k3s/config.yaml"]))
    assert (told["server"], told["token-file"]) == ("https://198.19.255.1:6443", "/etc/rancher/k3s/token")
    assert "secrets-encryption" not in told
    assert "k3s agent" in node.host.exec(["systemctl", "show", "-PExecStart", "k3s"])
    assert "K10secret" not in node.host.exec(["journalctl", "-q", "--no-pager"])


def test_removing_the_role_stops_it_and_leaves_the_cluster_s_data(node: _Node) -> None:
    assert changed(play(node.host, "k3s", node.variables, tasks="remove"))
    with pytest.raises(Refused):
        node.host.exec(["systemctl", "is-active", "k3s"])
    node.host.exec(["test", "-d", "/var/lib/rancher/k3s"])
    assert changed(play(node.host, "k3s", node.variables, tasks="remove")) == []
