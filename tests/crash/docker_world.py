"""One agent's small stack on a Docker engine as the crash matrix needs it: two versions of it, and all there is of it to compare."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
from docker.types import Mount

from paictl.drivers.docker.naming import AGENT, INSTANCE
from paictl.engine.model import Resource
from tests.crash.matrix import Graphs, Kill, Server, Verb
from tests.drivers.docker.stack import Stack

__all__ = ["LIFE", "Chapter", "CrashStack", "Life", "write"]

_PROGRAM = "cat /srv/paictl/config/it.json; echo; : >/tmp/ready; trap 'exit 0' TERM; sleep 100000 & wait"
_FILE = "diary.txt"


@dataclass(frozen=True)
class Chapter:
    """One verb in the life of an agent, and the version of the graph that it is run with."""

    name: str
    verb: Verb
    version: int


LIFE = (
    Chapter("apply", "apply", 0),
    Chapter("replace", "apply", 1),
    Chapter("rollback", "rollback", 0),
    Chapter("destroy", "destroy", 0),
)
"""In this order: each begins where the one before has ended."""


@dataclass
class CrashStack(Stack):
    """Its programs are a shell's, and one of its services is replaced beside the old one."""

    def graphs(self) -> Graphs:
        """Before and after a change of everything at once: one replaced beside, one anew, one network less and one more."""
        first = self._version("hello")
        second = self._version("something else")
        gone, more = self.address("network/extra"), self.address("network/more")
        extra = next(one for one in first if one.address == gone)
        return first, (*(one for one in second if one.address != gone), replace(extra, address=more))

    def _version(self, say: str) -> tuple[Resource, ...]:
        self.say = dict.fromkeys(self.say, say)
        kept = [one for one in self.resources() if one.address.kind != "service"]
        inner = self.service("inner", command=["sh", "-c", _PROGRAM])
        inner = replace(inner, create_first=True, downtime=False, replace_on=frozenset(inner.spec))
        return (*kept, inner, self.service("outer", "volume/door", "service/inner", command=["sh", "-c", _PROGRAM]))


def write(api: docker.APIClient, stack: Stack, text: str) -> None:
    """Into the data of a stack that runs, anew, as the agent itself would."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(_FILE)
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    api.put_archive(f"{stack.agent}-outer-1", "/data", packed.getvalue())


@dataclass(frozen=True)
class Life:
    """An agent that is led through ``LIFE`` by processes of their own, which may be killed."""

    server: Server
    stack: CrashStack
    api: docker.APIClient
    folder: Path
    graphs: Graphs

    def run(self, chapter: Chapter, kill: Kill | None = None, trace: Path | None = None) -> int:
        desired = self.graphs[chapter.version]
        return self.server.run(self.folder, chapter.verb, desired, kill, trace=trace, agent=self.stack.agent)

    def begin(self) -> None:
        """Nothing of it stands, and nothing is remembered."""
        self.stack.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def diary(self) -> str:
        """What the data holds, whether or not anything runs that mounts it."""
        host = self.api.create_host_config(mounts=[Mount("/data", self.stack.engine_name("door"), no_copy=True)])
        reader = self.api.create_container(self.stack.image, ["never started"], host_config=host)["Id"]
        try:
            pieces, _ = self.api.get_archive(reader, f"/data/{_FILE}")
            with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
                file = archive.extractfile(_FILE)
                assert file is not None
                return file.read().decode()
        finally:
            self.api.remove_container(reader)

    def seen(self) -> dict[str, Any]:
        """Everything of this agent on the engine, its record there, and what is remembered here.

        Which of two that stood side by side remains is no matter: what is made beside a half-made one bears another's name.
        """
        folder = self.folder / "state" / self.stack.agent / self.stack.scope.target
        assert not (folder / "journal.jsonl").exists()
        releases = [json.loads(path.read_text()) for path in sorted((folder / "releases").glob("*.json"))]
        state = json.loads((folder / "state.json").read_text())
        record = self.stack.driver().load_inventory(self.stack.scope)
        assert record == {**state, "format": record["format"]} if record else state["resources"] == {}
        for one in state["resources"].values():
            one.pop("instance", None)
        return {
            "state": state,
            "releases": [{key: value for key, value in one.items() if key != "when"} for one in releases],
            "containers": sorted(self._containers(), key=str),
            "networks": sorted((one["Name"], one["Internal"], str(one["Labels"])) for one in self._ours("networks")),
            "volumes": sorted((one["Name"], str(sorted((one["Labels"] or {}).items()))) for one in self._volumes()),
            "images": sorted(tag for one in self.api.images() for tag in one["RepoTags"] or () if self._named(tag)),
        }

    def _containers(self) -> list[tuple[object, ...]]:
        """Of each its name, labels, state, and the whole of what it was made from."""
        told = (self.api.inspect_container(one["Id"]) for one in self._ours("containers", all=True))
        return [
            (
                one["Name"],
                sorted((one["Config"]["Labels"] | {INSTANCE: bool(one["Config"]["Labels"].get(INSTANCE))}).items()),
                one["State"]["Status"],
                one["Config"]["Cmd"],
                one["Image"],
                sorted((mount["Name"], mount["Destination"], mount["RW"]) for mount in one["Mounts"]),
                sorted(one["NetworkSettings"]["Networks"]),
            )
            for one in told
        ]

    def _volumes(self) -> Sequence[Mapping[str, Any]]:
        found = self.api.volumes()["Volumes"] or ()
        return [one for one in found if one["Name"].startswith(f"{self.stack.agent}_")]

    def _ours(self, kind: str, **options: Any) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = getattr(self.api, kind)(
            filters={"label": [f"{AGENT}={self.stack.agent}"]}, **options
        )
        return found

    def _named(self, tag: str) -> bool:
        return f"/{self.stack.agent}/" in tag
