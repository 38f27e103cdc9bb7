"""The options of a service's secrets volume change while the keeper and the service hold it mounted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.drivers.docker.execution import run
from tests.docker.conftest import Reached
from tests.docker.small import SECRET, Small, made_small, service
from tests.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def small(engine: Reached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    with made_small(engine.api, tmp_path, free_port()) as made:
        yield made


def _read(small: Small, name: str) -> bytes:
    done = run(small.stack.driver().connection, small.container("door"), ["cat", f"/srv/paictl/secrets/{name}"])
    assert done.code == 0, done.stderr
    return done.stdout


def _vaults(small: Small) -> list[str]:
    found = small.api.volumes(filters={"name": f"{small.agent}_secrets-"})["Volumes"] or ()
    return [one["Name"] for one in found]


@pytest.mark.promise(2)
def test_other_options_of_a_held_secrets_volume_are_another_volume_with_the_same_secrets(small: Small) -> None:
    small.services = {"bystander": service("bystander")}
    small.apply()
    token, [old], bystander = _read(small, "token"), _vaults(small), small.inspect("bystander")["Id"]
    # Its group is in the options.
    small.uid = 1001
    planned = {line.partition(" because ")[0] for line in small.plan()}
    new = next(line.split("/")[1] for line in planned if line.startswith("+ volume/"))
    assert planned == {
        f"+ volume/{new}",
        "+ service/secrets",
        "- service/secrets",
        "~ secret/api",
        "~ secret/token",
        "~ service/door",
        f"- volume/{old.removeprefix(f'{small.agent}_')}",
    }
    small.apply()
    assert small.plan() == []
    assert _vaults(small) == [f"{small.agent}_{new}"]
    assert (_read(small, "api"), _read(small, "token")) == (SECRET, token)
    assert small.inspect("bystander")["Id"] == bystander
    told = small.api.inspect_volume(f"{small.agent}_{new}")["Options"]["o"]
    assert "gid=1001" in told


def test_a_secrets_volume_that_somebody_made_anew_with_other_options_is_mended(small: Small) -> None:
    small.apply()
    [vault] = _vaults(small)
    labels = small.api.inspect_volume(vault)["Labels"]
    for name in ("door", "secrets"):
        small.api.remove_container(small.container(name), force=True)
    small.api.remove_volume(vault)
    small.api.create_volume(vault, labels=labels)
    assert f"± volume/{vault.removeprefix(f'{small.agent}_')} because options was changed by hand" in "\n".join(
        small.plan()
    )
    small.apply()
    assert small.plan() == []
    assert small.api.inspect_volume(vault)["Options"]["type"] == "tmpfs"
    assert _read(small, "api") == SECRET
