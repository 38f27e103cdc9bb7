"""A person's home of their own for one story, whose agent lives in containers of the tests' engine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paictl.drivers.docker.naming import KEEPER
from tests.docker.conftest import Reached
from tests.story.home import Home

__all__ = ["DockerHome"]


@dataclass
class DockerHome(Home):
    """``reached`` is the engine; the agent's name is this home's own, since an engine is shared."""

    reached: Reached | None = None
    _built: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.environment["DOCKER_HOST"] = self.engine.host

    @property
    def engine(self) -> Reached:
        assert self.reached is not None
        return self.reached

    def run(self, verb: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command; the runtime's image is built in the first apply only, since that takes longer than all else."""
        if verb == "apply" and self._built:
            self.engine.api.tag(self._held, *_name(self._built))
        done = super().run(verb, *arguments, code=code)
        if verb == "apply" and not self._built and code == 0:
            names = (tag for one in self.engine.api.images() for tag in one["RepoTags"] or ())
            self._built = next(name for name in names if name.startswith(f"paictl/{self.agent}:"))
            self.engine.api.tag(self._built, *_name(self._held))
        return done

    def running(self) -> dict[str, str]:
        """The containers' ids by service; what keeps secrets for them is none of the manifest's."""
        found = {}
        for one in self.engine.api.containers(filters={"label": f"paictl.agent={self.agent}"}):
            if (name := one["Labels"]["paictl.name"]) != KEEPER:
                found[name] = str(one["Id"])
        return found

    def switch_off(self) -> None:
        """What a power cut leaves: no process, nothing on tmpfs."""
        for one in self.engine.api.containers(filters={"label": f"paictl.agent={self.agent}"}):
            self.engine.api.kill(one["Id"])

    def left(self) -> list[str]:
        """Everything on the engine that bears the agent's label or name."""
        api = self.engine.api
        found = [f"container {one['Names'][0]}" for one in api.containers(all=True) if self._ours(one, one["Names"])]
        found += [f"network {one['Name']}" for one in api.networks() if self._ours(one, [one["Name"]])]
        found += [f"volume {one['Name']}" for one in api.volumes()["Volumes"] or () if self._ours(one, [one["Name"]])]
        return found + [f"image {tag}" for one in api.images() for tag in one["RepoTags"] or () if self._named(tag)]

    def clear(self) -> None:
        """Remove all of it, whatever became of the story."""
        api = self.engine.api
        for kind, _, name in (one.partition(" ") for one in self.left()):
            match kind:
                case "container":
                    api.remove_container(name.lstrip("/"), v=True, force=True)
                case "network":
                    api.remove_network(name)
                case "volume":
                    api.remove_volume(name, force=True)
                case "image":
                    api.remove_image(name, force=True)
        if self._built:
            api.remove_image(self._held)

    @property
    def _held(self) -> str:
        return f"paictl-test/held:{self.agent}"

    def _ours(self, thing: Mapping[str, Any], names: list[str]) -> bool:
        return (thing.get("Labels") or {}).get("paictl.agent") == self.agent or any(map(self._named, names))

    def _named(self, name: str) -> bool:
        return name.removeprefix("/").removeprefix("paictl/").startswith(tuple(f"{self.agent}{end}" for end in "-_:/"))


def _name(reference: str) -> tuple[str, str]:
    repository, _, tag = reference.rpartition(":")
    return repository, tag
