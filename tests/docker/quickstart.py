"""The quickstart's agent on a Docker engine, in a home of its own, gone afterwards. Used by a test and by the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors

from tests.docker import stock
from tests.story.home import Home

__all__ = ["prepared"]


@contextmanager
def prepared(host: str, api: docker.APIClient, folder: Path, agent: str) -> Iterator[Home]:
    """A home with the manifest for the engine at ``host``, nothing applied yet."""
    home = Home(folder, {"DOCKER_HOST": host})
    (folder / "run").mkdir(mode=0o700)
    home.prepare()
    home.edit("{driver: native}", "{driver: docker}")
    home.edit("{name: atlas,", f"{{name: {agent},")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{stock.base(api)}'}}\n")
    try:
        yield home
    finally:
        _clear(api, agent)


def _clear(api: docker.APIClient, agent: str) -> None:
    """Everything by the agent's label, whatever state a test left it in."""
    mine = {"label": [f"paictl.agent={agent}"]}
    for container in api.containers(all=True, filters=mine):
        api.remove_container(container["Id"], force=True)
    for network in api.networks(filters=mine):
        api.remove_network(network["Id"])
    for volume in api.volumes(filters=mine)["Volumes"] or ():
        api.remove_volume(volume["Name"], force=True)
    for image in api.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith((f"paictl/{agent}:", f"paictl/{agent}/")):
                with suppress(docker.errors.NotFound):
                    api.remove_image(tag, force=True)
