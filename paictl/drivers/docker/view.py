"""What stands of one agent on an engine, told as resources with the live values of what they say. Writes nothing; called by the driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.health import container_health
from paictl.drivers.docker.inspected import live
from paictl.drivers.docker.jobs import JOB, ended
from paictl.drivers.docker.limits import comparable
from paictl.drivers.docker.naming import (
    CONFIG,
    CONFIG_FILES,
    DRIVER,
    FINGERPRINT,
    HOLDS_DATA,
    INSTANCE,
    KEEPER,
    KIND,
    NAME,
    NEEDS,
    STARTED_WITH,
    engine_name,
    image_repository,
    needs_of,
    owner_of,
    short_name,
)
from paictl.drivers.docker.networks import live as live_network
from paictl.drivers.docker.secrets import GENERATED, status
from paictl.drivers.docker.services import CONFIG_KIND
from paictl.drivers.docker.standing import Json, Standing, names_of, read
from paictl.drivers.docker.uploads import stamp, stat
from paictl.engine.driver import Scope
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Address, Health, Observed
from paictl.render.containers import digest

__all__ = ["View", "look"]

_HEALTHY = Health("healthy")


@dataclass(frozen=True)
class View:
    """What stands, told in the words of resources."""

    connection: Connection
    scope: Scope
    standing: Standing

    def all(self) -> Iterator[Observed]:
        """Every resource, and what stands in the way of one."""
        yield from self._images()
        yield from self._networks()
        yield from self._volumes()
        yield from self._weights()
        yield from self._secrets()
        yield from self._services()
        yield from self._jobs()

    @cached_property
    def image_ids(self) -> dict[str, str]:
        """The ids of the names that this agent's images have."""
        return {tag: str(one["Id"]) for one in self.standing.images for tag in one["RepoTags"] or ()}

    def _images(self) -> Iterator[Observed]:
        agent = self.scope.agent
        for one in self.standing.images:
            for tag in names_of(one, agent):
                repository, _, suffix = tag.rpartition(":")
                marks = one.get("Labels") or {}
                if repository == image_repository(agent, "runtime"):
                    # What it was built from is in its name and, all of it, in its label.
                    spec: dict[str, object] = {"agent": agent, "tag": tag}
                    yield self._mine("image", "runtime", spec, marks, handle=str(one["Id"]))
                    continue
                name = repository.removeprefix(f"paictl/{agent}/")
                told = (*(one.get("RepoDigests") or ()), *(one["RepoTags"] or ()))
                # The engine leaves out the registry that it takes for its own.
                known = (one["Id"], *told, *(f"docker.io/{each}" for each in told))
                reference = next((each for each in known if digest(each) == suffix), "")
                spec = {"agent": agent, "reference": reference, "tag": tag}
                marks = {FINGERPRINT: fingerprint(spec), INSTANCE: suffix}
                yield self._mine("image", name, spec, marks, handle=str(one["Id"]))

    def _networks(self) -> Iterator[Observed]:
        ours = {str(one["Id"]) for one in self.standing.containers}
        ours |= {handle for *_, handle in ended(self.scope, self.standing.listed)}
        seen: set[str] = set()
        for one in sorted(self.standing.networks, key=lambda each: str(each["Created"])):
            name = short_name(self.scope.agent, one["Name"])
            if not name:
                continue
            spec: dict[str, object] = {"agent": self.scope.agent, **live_network(one)}
            strangers = [
                each["Id"] for each in self.standing.listed if each["Id"] not in ours and _is_on(each, one["Id"])
            ]
            if strangers:
                spec["strangers"] = strangers
            marks = one.get("Labels") or {}
            if name in seen:
                # One of several that share the name: told apart by what the engine calls it.
                marks = {**marks, INSTANCE: one["Id"][:12]}
            seen.add(name)
            yield self._found("network", name, spec, marks, handle=str(one["Id"]))

    def _volumes(self) -> Iterator[Observed]:
        for one in self.standing.volumes:
            name, marks = short_name(self.scope.agent, one["Name"]), one.get("Labels") or {}
            if name and marks.get(KIND, "volume") == "volume":
                spec = {"agent": self.scope.agent, "options": dict(one.get("Options") or {})}
                # Not by when it was created: older engines tell the time of the last change there.
                yield self._found("volume", name, spec, marks, handle=str(one["Name"]))

    def _weights(self) -> Iterator[Observed]:
        found: dict[str, Observed] = {}
        for one in sorted(filter(_has_files, self._of_services()), key=lambda each: str(each["Created"])):
            for name, spec in _started_with(one).get("weights", {}).items():
                told = spec if self._whole(one, spec) else {**spec, "sha256": "an altered file"}
                marks = {FINGERPRINT: fingerprint(spec), NEEDS: f"volume/{spec['volume']} image/runtime"}
                found[name] = self._mine("weights", name, told, marks)
        yield from found.values()

    def _whole(self, container: Json, spec: Json) -> bool:
        """Whether the model file is there as it was brought, by its size and time: models are too large to be read."""
        volume = engine_name(self.scope.agent, spec["volume"])
        mounts = container["HostConfig"].get("Mounts") or ()
        target = next((one["Target"] for one in mounts if one.get("Source") == volume), None)
        found = stat(self.connection, container["Id"], f"{target}/{spec['path']}") if target else None
        return found == (spec["size"], stamp(spec["sha256"]))

    def _secrets(self) -> Iterator[Observed]:
        running = [one for one in self._of_services(KEEPER) if one["State"]["Status"] == "running"]
        if not running:
            return
        keeper = max(running, key=lambda one: str(one["Created"]))
        said = status(self.connection, keeper["Id"])
        for name, spec in _started_with(keeper).get("secrets", {}).items():
            if name in said:
                told = {**spec, "content": "" if said[name] == GENERATED else said[name]}
                marks = {FINGERPRINT: fingerprint(told), NEEDS: f"service/{KEEPER}"}
                yield self._mine("secret", name, told, marks)

    def _services(self) -> Iterator[Observed]:
        names = [self._service_of(one) for one in self.standing.containers]
        standing, seen = set(names), set()
        for name, one in sorted(
            zip(names, self.standing.containers, strict=True), key=lambda each: str(each[1]["Created"])
        ):
            marks = one["Config"].get("Labels") or {}
            spec = comparable(self.connection, live(one, self.scope.agent, self.image_ids))
            if names.count(name) > 1:
                # One of two is to take over: it has the service's name from the moment the other goes.
                spec.pop("alias", None)
            if self._altered(one):
                spec["config_digest"] = "an altered file"
            if (name, marks.get(INSTANCE, "")) in seen:
                marks = {**marks, INSTANCE: one["Id"][:12]}
            seen.add((name, marks.get(INSTANCE, "")))
            ports = [one for one in spec["ports"] if "protocol" not in one]
            yield self._found(
                "service",
                name,
                spec,
                marks,
                handle=str(one["Id"]),
                health=container_health(self.connection, one),
                since=str(one["State"]["StartedAt"])[:19] + "+00:00" if one["State"]["Running"] else "",
                url=f"http://{_host(ports[0]['address'])}:{ports[0]['published']}" if ports else "",
            )
        yield from self._strange_containers()
        # A configuration without its container: a crash came between.
        orphans = {
            (one["Labels"] or {}).get(NAME, ""): one["Name"] for one in self.standing.volumes if self._holds_config(one)
        }
        for name in sorted(orphans.keys() - standing):
            health = Health("unhealthy", "only its configuration is there")
            # With a handle of its own: what is removed under it is no container.
            yield self._mine(
                "service", name, {"agent": self.scope.agent}, {}, health=health, handle=orphans[name], remnant=True
            )

    def _service_of(self, container: Json) -> str:
        """By its label; by its own name where it has none, since it was adopted."""
        label = (container["Config"].get("Labels") or {}).get(NAME)
        return str(label or container["Name"].removeprefix(f"/{self.scope.agent}-").rpartition("-")[0])

    def _altered(self, container: Json) -> bool:
        """Whether its configuration is not what was put there, by the time of the files."""
        marks = container["Config"].get("Labels") or {}
        paths = marks.get(CONFIG_FILES, "").split() if _has_files(container) else ()
        found = [stat(self.connection, container["Id"], path) for path in paths]
        try:
            time = stamp(marks.get(CONFIG, ""))
        except ValueError:
            # Somebody wrote another label, which is seen by itself.
            return False
        return any(one is None or one[1] != time for one in found)

    def _jobs(self) -> Iterator[Observed]:
        for name, marks, health, handle in ended(self.scope, self.standing.listed):
            yield self._mine(JOB, name, {"agent": self.scope.agent}, marks, handle=handle, health=health)

    def _strange_containers(self) -> Iterator[Observed]:
        """Those of others that have a name of ours."""
        ours = {str(one["Id"]) for one in self.standing.containers}
        for one in self.standing.listed:
            for name in one["Names"] if one["Id"] not in ours else ():
                service, _, number = name.removeprefix(f"/{self.scope.agent}-").rpartition("-")
                kind = (one.get("Labels") or {}).get(KIND, "service")
                if name.startswith(f"/{self.scope.agent}-") and number.isdigit() and kind == "service":
                    owner = owner_of(self.scope, one.get("Labels"))
                    yield Observed(self._address("service", service), owner, {}, handle=str(one["Id"]))

    def _holds_config(self, volume: Json) -> bool:
        marks = volume.get("Labels") or {}
        return owner_of(self.scope, marks) == "mine" and marks.get(KIND) == CONFIG_KIND

    def _of_services(self, name: str = "") -> list[Json]:
        return [one for one in self.standing.containers if name in {"", (one["Config"].get("Labels") or {}).get(NAME)}]

    def _address(self, kind: str, name: str) -> Address:
        return Address(self.scope.target, DRIVER, kind, name)

    def _found(self, kind: str, name: str, spec: Mapping[str, object], marks: Json, **more: Any) -> Observed:
        """Ours by its label or by adoption, or somebody else's."""
        if owner_of(self.scope, marks) == "mine" or self.standing.adopted.get(f"{kind}/{name}") == more["handle"]:
            return self._mine(kind, name, spec, marks, **more)
        return Observed(self._address(kind, name), owner_of(self.scope, marks), spec, handle=more["handle"])

    def _mine(self, kind: str, name: str, spec: Mapping[str, object], marks: Json, **more: Any) -> Observed:
        more = {"health": _HEALTHY, "handle": "", **more}
        label, instance = marks.get(FINGERPRINT, ""), marks.get(INSTANCE, "")
        return Observed(
            self._address(kind, name),
            "mine",
            spec,
            fingerprint=label,
            instance=instance,
            token=_token(label, instance, spec, more["handle"]),
            holds_data=marks.get(HOLDS_DATA) == "true",
            depends_on=needs_of(self.scope, marks),
            **more,
        )


def look(connection: Connection, scope: Scope) -> View:
    """Read everything. Raises what the connection raises when a part can't be read."""
    return View(connection, scope, read(connection, scope))


def _has_files(container: Json) -> bool:
    """Whether the engine can look into it: not into one that it has half removed."""
    return container["State"]["Status"] not in {"dead", "removing"}


def _is_on(container: Json, network: str) -> bool:
    joined = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return any(one.get("NetworkID") == network for one in joined.values())


def _started_with(container: Json) -> dict[str, Any]:
    try:
        found = json.loads((container["Config"].get("Labels") or {}).get(STARTED_WITH, ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _host(address: str) -> str:
    near = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound
    return near.get(address, f"[{address}]" if ":" in address else address)


def _token(*parts: object) -> str:
    """Changes when what is set up changes; a restart by the engine is not a change of what a person reviewed."""
    content = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
