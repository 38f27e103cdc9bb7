from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes.resources import SECRETS
from paictl.engine.intent import Options
from paictl.engine.model import Resource
from paictl.engine.reconciler import Reconciler
from paictl.events import Event
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_WHERE = "/srv/secrets"


class _World:
    """An agent with a declared secret and one that is generated, which its pod reads; everything that was said is kept."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.values: list[bytes] = []
        self.said: list[Event] = []
        self.rotate()

    def rotate(self) -> None:
        """The declared secret has another value from now on."""
        self.values.append(b"canary-" + os.urandom(16).hex().encode())

    @property
    def wanted(self) -> list[Resource]:
        declared, generated = self._secret("api", generated=False), self._secret("token", generated=True)
        service = self.stack.service("Deployment", "outer", "secret/api", "secret/token")
        template: Any = service.spec["template"]
        template["metadata"]["annotations"] = {SECRETS: self._content}
        sources = [{"secret": {"name": name, "items": [{"key": "value", "path": name}]}} for name in ("api", "token")]
        template["spec"]["volumes"].append({"name": "secrets", "projected": {"defaultMode": 288, "sources": sources}})
        (container,) = template["spec"]["containers"]
        container["volumeMounts"].append({"name": "secrets", "mountPath": _WHERE, "readOnly": True})
        return [declared, generated, service]

    def _secret(self, name: str, *, generated: bool) -> Resource:
        spec = {
            "agent": self.stack.agent,
            "kind": "Secret",
            "apiVersion": "v1",
            "generated": generated,
            "content": "" if generated else self._content,
        }
        return Resource(self.stack.address(f"secret/{name}"), spec, holds_data=generated)

    @property
    def _content(self) -> str:
        return f"content-{len(self.values)}"

    def reconciler(self) -> Reconciler:
        def read(name: str) -> bytes:
            assert name == "api"
            return self.values[-1]

        return Reconciler(
            scope=self.stack.scope,
            driver=self.stack.driver(),
            state_dir=self.folder,
            secrets=read,
            who="alice",
            emit=self.said.append,
        )

    def apply(self) -> None:
        self.reconciler().apply(wanting(self.wanted))

    def plan(self) -> dict[str, str]:
        return {str(step.address): step.cause for step in self.reconciler().plan(wanting(self.wanted)).steps}

    def kubectl(self, *arguments: str) -> str:
        return self.stack.access.kubectl(f"--namespace={self.stack.namespace}", *arguments)

    def held(self, name: str) -> bytes:
        """What the Secret has."""
        return base64.b64decode(self.kubectl("get", "secret", name, "--output=jsonpath={.data.value}"))

    def read(self, name: str) -> bytes:
        """What the pod that serves reads."""
        return self.kubectl("exec", "deployment/outer", "--", "cat", f"{_WHERE}/{name}").encode()

    def pod(self) -> str:
        return self.kubectl(
            "get", "pods", "--field-selector=status.phase=Running", "--output=jsonpath={.items[*].metadata.uid}"
        )


@pytest.mark.promise(23)
def test_a_secret_is_in_its_secret_and_nowhere_else(stack: Stack, tmp_path: Path) -> None:
    world = _World(stack, tmp_path)
    world.apply()
    first = world.read("token")
    assert (world.read("api"), world.held("token")) == (world.values[-1], first)
    assert len(first) == 43
    _rotated(world, first)
    _altered_by_hand(world)
    assert _places(world) == []
    _kept_with_its_data(world, first)


def _rotated(world: _World, token: bytes) -> None:
    pods = set(world.pod().split())
    world.rotate()
    assert set(world.plan()) == {"secret/api", "service/outer"}
    world.apply()
    # The one before serves no more, but takes a moment to end.
    until(lambda: not set(world.pod().split()) & pods, "the end of the pod before", 30)
    assert (world.read("api"), world.read("token")) == (world.values[-1], token)
    assert world.plan() == {}


def _altered_by_hand(world: _World) -> None:
    theirs = base64.b64encode(b"theirs").decode()
    world.kubectl("patch", "secret/api", "--patch", f'{{"data":{{"value":"{theirs}"}}}}')
    assert world.plan() == {"secret/api": "content was changed by hand"}
    world.apply()
    assert world.held("api") == world.values[-1]
    assert world.plan() == {}


def _places(world: _World) -> list[str]:
    """Where a value stands that should not: what the cluster knows but for Secrets' values, and what paictl wrote and said."""
    kinds = set(world.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()) - {"secrets"}
    seen = {"objects": world.kubectl("get", ",".join(kinds), "--output=yaml", "--show-managed-fields")}
    about = "{range .items[*]}{.metadata}{end}"
    seen["what Secrets say of themselves"] = world.kubectl("get", "secrets", f"--output=jsonpath={about}")
    seen["logs"] = world.kubectl("logs", "--selector=app.kubernetes.io/component=outer", "--tail=-1")
    seen["arguments and environment"] = world.kubectl(
        "exec", "deployment/outer", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
    )
    seen |= {
        str(path): path.read_bytes().decode("utf-8", "replace") for path in world.folder.rglob("*") if path.is_file()
    }
    seen["events of the run"] = repr(world.said)
    forms: list[Callable[[bytes], str]] = [bytes.decode, lambda value: base64.b64encode(value).decode()]
    values = [*world.values, world.held("token")]
    return [place for place, text in seen.items() if any(form(value) in text for form in forms for value in values)]


def _kept_with_its_data(world: _World, token: bytes) -> None:
    world.reconciler().destroy()
    record = f"ConfigMap/{world.stack.agent}-paictl"
    assert world.stack.leftovers() == [record, "Secret/token"]
    world.apply()
    assert world.read("token") == token
    world.reconciler().destroy(Options(delete_data=frozenset({"secret/token"})))
    assert world.stack.leftovers() == []
