"""The role `container_engine` on a real host, with Docker Engine in it: an image that is brought, a project that runs and goes."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker.debian import program
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import changed, play

pytestmark = [pytest.mark.hosts, pytest.mark.roles, pytest.mark.slow, pytest.mark.timeout(900)]

_UNIT = "paictl-atlas-compose.service"
_COMPOSE = """
name: paictl-atlas
services:
  agent:
    image: tiny:1
    command: [/bin/sleep, "{seconds}"]
    read_only: true
    network_mode: none
    healthcheck: {{test: [CMD, /bin/sleep, "0"], interval: 1s}}
    volumes: ["memory:/memory"]
    secrets: [token]
    restart: unless-stopped
    init: true
    stop_grace_period: 1s
secrets: {{token: {{file: ./secrets/token}}}}
volumes: {{memory: {{}}}}
"""


@dataclass(frozen=True)
class _Tried:
    """A host with the role's first run behind it."""

    host: Host
    project: Path
    variables: dict[str, object]

    def compose(self, seconds: int) -> None:
        """What the project says now."""
        (self.project / "compose.yaml").write_text(_COMPOSE.format(seconds=seconds), encoding="utf-8")


def _image(path: Path) -> str:
    """An image with `sleep` alone, as `docker save` would write it; its id."""
    layer, outer = io.BytesIO(), io.BytesIO()
    linked = subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True, check=True).stdout
    files = ["/bin/sleep", *(word for word in linked.split() if word.startswith("/"))]
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for file in files:
            tar.add(Path(file).resolve(), file.lstrip("/"), filter=_plain)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = json.dumps(
        [{"Config": f"{name}.json", "RepoTags": ["tiny:1"], "Layers": [f"{digest}/layer.tar"]}]
    ).encode()
    members = {f"{name}.json": config, f"{digest}/layer.tar": layer.getvalue(), "manifest.json": manifest}
    with tarfile.open(fileobj=outer, mode="w") as tar:
        for member, content in members.items():
            head = tarfile.TarInfo(member)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    path.write_bytes(outer.getvalue())
    return f"sha256:{name}"


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.mtime = 0
    return member


@pytest.fixture(scope="module")
def tried(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Tried]:
    """A host with Debian's engine, Compose from the controller, an image that no registry has, and a project that runs."""
    folder = tmp_path_factory.mktemp("containers")
    project, secrets = folder / "project", folder / "secrets"
    for each in (project, secrets):
        each.mkdir()
    (secrets / "token").write_text("the token", encoding="ascii")
    compose = program("docker-compose", "trixie", "usr/libexec/docker/cli-plugins/docker-compose")
    variables: dict[str, object] = {
        "container_engine_agent": "atlas",
        "container_engine_project": str(project),
        "container_engine_secrets": ["token"],
        "container_engine_secrets_from": str(secrets),
        "container_engine_images": [
            {"name": "tiny:1", "id": _image(folder / "tiny.tar"), "file": str(folder / "tiny.tar")}
        ],
        "container_engine_compose": str(compose),
        "container_engine_compose_sha256": hashlib.sha256(compose.read_bytes()).hexdigest(),
    }
    host = one.begin(lan, "containers", online=True)
    made = _Tried(host, project, variables)
    made.compose(1000)
    # The first run of all, in check mode, on a host that has nothing of it.
    assert "Install the engine" in changed(play(host, "container_engine", variables, check=True))
    assert "Load the image" in changed(play(host, "container_engine", variables))
    yield made
    host.end()


def _running(host: Host) -> str:
    return host.exec(["docker", "ps", "--format", "{{.Image}} {{.Command}} {{.Status}}", "--no-trunc"])


def test_the_project_runs_and_a_second_run_changes_nothing(tried: _Tried) -> None:
    assert "/bin/sleep 1000" in _running(tried.host)
    assert "(healthy)" in _running(tried.host)
    assert changed(play(tried.host, "container_engine", tried.variables)) == []
    assert changed(play(tried.host, "container_engine", tried.variables, check=True)) == []


def test_what_changes_in_the_project_changes_what_runs(tried: _Tried) -> None:
    tried.compose(2000)
    played = play(tried.host, "container_engine", tried.variables)
    assert "Copy the project" in changed(played)
    assert "/bin/sleep 2000" in _running(tried.host)


def test_the_unit_needs_nothing_but_the_engine(tried: _Tried) -> None:
    tried.host.exec(["systemd-analyze", "security", "--threshold=25", "--no-pager", _UNIT])


def test_another_program_or_image_than_the_named_one_is_refused(tried: _Tried) -> None:
    other = {**tried.variables, "container_engine_compose_sha256": "0" * 64}
    assert "has another SHA-256" in play(tried.host, "container_engine", other).failed
    images = [{"name": "tiny:1", "id": "sha256:" + "0" * 64, "file": str(tried.project.parent / "tiny.tar")}]
    assert (
        "not sha256:000"
        in play(tried.host, "container_engine", {**tried.variables, "container_engine_images": images}).failed
    )


def test_the_secret_is_root_s_alone_on_the_host(tried: _Tried) -> None:
    assert tried.host.exec(["stat", "-c", "%U %a", "/etc/paictl/atlas/compose/secrets"]) == "root 700\n"
    with pytest.raises(Refused):
        tried.host.exec(["setpriv", "--reuid=debian", "cat", "/etc/paictl/atlas/compose/secrets/token"])


def test_removing_the_role_leaves_the_volumes_alone(tried: _Tried) -> None:
    assert changed(play(tried.host, "container_engine", tried.variables, tasks="remove"))
    assert _running(tried.host) == ""
    assert tried.host.exec(["docker", "volume", "ls", "--format", "{{.Name}}"]) == "paictl-atlas_memory\n"
    assert changed(play(tried.host, "container_engine", tried.variables, tasks="remove")) == []
