"""The engine that a target names by a Docker context: from the manifest through the command line to the engine itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.docker.conftest import Reached
from tests.docker.ways import lacking_ssh, ssh_server, with_ssh_config
from tests.story.home import Home

# Nothing has to be fetched for it: its model is elsewhere.
MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: contexts, owner: alice}
spec:
  targets: {there: {driver: docker, context: pi}}
  images: {base: "paictl-test/base:bookworm"}
  models: {chat: {task: chat, manage: external, url: "http://127.0.0.1:9/v1", model: m}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A person whose DOCKER_HOST names an engine that is not there, and who has no context yet."""
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "DOCKER_CONFIG": str(tmp_path / "docker")}
    home = Home(tmp_path, environment=nobody)
    home.manifest.parent.mkdir()
    home.manifest.write_text(MANIFEST, encoding="utf-8")
    return home


def has(home: Home, context: str, host: str) -> None:
    """What `docker context create` leaves."""
    folder = home.folder / "docker" / "contexts" / "meta" / hashlib.sha256(context.encode()).hexdigest()
    folder.mkdir(parents=True)
    content = {"Name": context, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_context_that_is_not_there_is_named_with_who_asks_for_it(home: Home) -> None:
    has(home, "laptop", "unix:///run/laptop.sock")
    said = " ".join(home.run("plan", code=1).stderr.split())
    assert "there is no Docker context named pi, which the manifest asks for" in said
    assert "These exist: default, laptop." in said


def test_the_context_of_another_driver_is_none_of_dockers(home: Home) -> None:
    home.edit("driver: docker", "driver: kubernetes")
    said = " ".join(home.run("status", "--driver", "docker", code=1).stderr.split())
    assert "nobody.sock can't be reached" in said


@pytest.mark.docker
def test_the_manifests_context_is_the_engine_that_everything_goes_to(home: Home, engine: Reached) -> None:
    has(home, "pi", engine.host)
    assert "contexts" in home.run("plan").stdout
    home.edit("{driver: docker, context: pi}", "{driver: docker}")
    assert "can't be reached" in home.run("plan", code=1).stderr
    home.environment["DOCKER_CONTEXT"] = "pi"
    del home.environment["DOCKER_HOST"]
    home.run("plan")


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.skipif(bool(lacking_ssh()), reason=lacking_ssh())
def test_a_context_behind_ssh_is_reached_from_the_manifest_on(
    home: Home, engine: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ssh_server(home.folder, engine.host) as address:
        with_ssh_config(home.folder, monkeypatch)
        home.environment["PATH"] = os.environ["PATH"]
        has(home, "pi", address)
        home.run("plan")
        (home.folder / ".ssh" / "authorized_keys").unlink()
        assert "ssh://engine-elsewhere can't be reached" in " ".join(home.run("plan", code=1).stderr.split())
