"""The Kubernetes driver: an agent in one namespace of a cluster, made true by server-side apply. Called by the engine of paictl.

It joins what the modules beside it do to the protocol ``paictl.engine.driver.Driver``; it decides nothing.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from paictl.blueprint.types import Blueprint, Wiring
from paictl.drivers.kubernetes import adopting, applying, ledger, locking, logs, pods, preflight, secrets, seen, weights
from paictl.drivers.kubernetes.companion import beside
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.execution import run
from paictl.drivers.kubernetes.forwarding import forward
from paictl.drivers.kubernetes.health import HEALTHY, job_health, workload_health
from paictl.drivers.kubernetes.images import Images, Workshop
from paictl.drivers.kubernetes.kinds import kind_of
from paictl.drivers.kubernetes.mending import mend
from paictl.drivers.kubernetes.naming import DRIVER
from paictl.drivers.kubernetes.resources import resources
from paictl.drivers.kubernetes.view import look
from paictl.engine.driver import Holder, Peer, Reach, RoomResult, Scope, SecretReader
from paictl.engine.model import Address, Health, Observation, Resource, Step
from paictl.errors import PaictlError
from paictl.events import Emit, Event
from paictl.render.workloads import runtime_image

__all__ = ["KubernetesDriver"]

_PYTHON = "/opt/paictl/venv/bin/python"
_TOKEN = "gateway-token"


@dataclass
class KubernetesDriver:
    """One namespace of one cluster; the agent's name when it is empty. ``offline``: what pods would fetch is brought from here.

    ``workshop`` is what builds and pushes the image where a registry lacks it.
    """

    connection: Connection = field(default_factory=Connection)
    namespace: str = ""
    offline: bool = False
    workshop: Workshop | None = None
    name: str = DRIVER
    silent: bool = True
    _forwards: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        atexit.register(self._forwards.close)
        self._images = Images(self.workshop)

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        return resources(blueprint)

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        scope = _scope(blueprint)
        preflight.check(self.connection, scope, self._in(scope), resources(blueprint), observation)
        secrets.present(self.connection, self._in(scope), blueprint)
        self._images.look(self.connection, blueprint, observation)

    def observe(self, scope: Scope) -> Observation:
        return Observation(tuple(look(self.connection, scope, self._in(scope))))

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        if not step.spec:
            return
        self._warn(emit)
        scope = Scope(str(step.spec["agent"]), step.address.target)
        if step.observed is not None and step.action in {"delete", "replace"}:
            self._remove(scope, step)
        if step.resource is not None and step.action != "delete":
            self._make(scope, step, secrets, emit)

    def probe(self, resource: Resource) -> Health:
        namespace = self._in(Scope(str(resource.spec["agent"]), resource.address.target))
        kind = kind_of(resource.spec)
        live = self.connection.find(kind.path(namespace, resource.address.name), f"asking after {resource.address}")
        if live is None:
            return Health("unhealthy", "it is gone: somebody removed it meanwhile", terminal=True)
        match kind.kind:
            case "Deployment" | "StatefulSet":
                return workload_health(self.connection, live)
            case "Job":
                return job_health(self.connection, live)
            case _:
                return HEALTHY

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        standing = look(self.connection, scope, self._in(scope))
        for one in standing:
            if one.address in addresses and one.owner != "mine":
                adopting.adopt(self.connection, scope, self._in(scope), one)

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        def found() -> list[Json]:
            return self._pods(scope, service)

        if not found():
            raise _absent(scope.agent, service)
        return logs.tail(self.connection, found, service, tail, follow=follow)

    def wiring(self, blueprint: Blueprint, service: str) -> Wiring:
        return seen.wiring(self.connection, self._in(_scope(blueprint)), blueprint, service)

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        return tuple(seen.peers(self.connection, _scope(blueprint), self._in(_scope(blueprint)), blueprint))

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        scope = _scope(blueprint)
        door, endpoint = blueprint.public
        token = secrets.read(self.connection, self._in(scope), _TOKEN)
        serving = self._serving(scope, door.name)
        serving()
        if token is None:
            raise PaictlError(f"{blueprint.agent} is not running", help="`paictl apply` starts it.")
        # As long as this process runs, whoever it hands the address to may use it.
        url = self._forwards.enter_context(forward(self.connection, serving, endpoint.port, port))
        return Reach(url, token.decode("ascii"), held=True)

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        pod = self._serving(_scope(blueprint), service)()
        if argv[0] != "python":
            return run(self.connection, pod, service, argv, stdin)
        command = [_PYTHON, *argv[1:]]
        if blueprint.service(service).upstream is None:
            return run(self.connection, pod, service, command, stdin)
        with beside(self.connection, pod, service, runtime_image(blueprint)) as companion:
            return run(self.connection, companion, service, command, stdin)

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        return locking.hold(self.connection, scope, self._in(scope), holder)

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        ledger.save(self.connection, scope, self._in(scope), inventory)

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        return ledger.load(self.connection, scope, self._in(scope))

    def _in(self, scope: Scope) -> str:
        return self.namespace or scope.agent

    def _warn(self, emit: Emit) -> None:
        """Once: secrets go there."""
        cluster = self.connection.cluster
        if cluster.unverified and not self._warned:
            self._warned = True
            text = f"nobody knows whether {cluster.server} is the cluster that is meant: its kubeconfig has insecure-skip-tls-verify"
            emit(Event("warning", "", {"text": f"{text}. Put its certificate-authority there instead."}))

    def _make(self, scope: Scope, step: Step, reader: SecretReader, emit: Emit) -> None:
        namespace, resource = self._in(scope), step.resource
        if resource is None:
            return
        if resource.address.kind == "secret":
            secrets.make(self.connection, scope, namespace, step, reader)
            return
        document = applying.marked(resource, scope, namespace, step.fingerprint)
        if step.action == "create":
            applying.unclaimed(self.connection, scope, document)
        if "template" in (document.get("spec") or {}):
            self._images.bring(emit, str(step.address), offline=self.offline)
        if document["kind"] == "Job":
            self._fetch(scope, step, document, emit)
        if step.action == "update":
            mend(self.connection, scope, step, document)
        applying.apply(self.connection, document, f"making {step.address}")

    def _fetch(self, scope: Scope, step: Step, document: Json, emit: Emit) -> None:
        succeeded = step.action == "update" and step.observed is not None and step.observed.health.state == "healthy"
        if not succeeded and weights.has_to_be_brought(document, offline=self.offline):
            # One that stands tries to fetch the same files itself, or waits for minutes until it tries again.
            self._remove(scope, step)
            weights.bring(self.connection, document, emit, str(step.address), offline=self.offline)

    def _remove(self, scope: Scope, step: Step) -> None:
        observed = step.observed
        if observed is not None:
            name = step.address.name
            applying.remove(self.connection, observed.spec, self._in(scope), name, observed.handle)

    def _pods(self, scope: Scope, service: str) -> list[Json]:
        mine = {"app.kubernetes.io/instance": scope.agent, "app.kubernetes.io/component": service}
        return list(pods.of_selector(self.connection, self._in(scope), mine))

    def _serving(self, scope: Scope, service: str) -> Callable[[], Json]:
        """The pod that serves, whenever it is asked for: an update changes which one it is."""

        def found() -> Json:
            pod = pods.serving(self._pods(scope, service))
            if pod is None:
                raise _absent(scope.agent, service)
            return pod

        return found


def _absent(agent: str, service: str) -> PaictlError:
    return PaictlError(f"{service} of {agent} is not running here", help="`paictl apply` starts it.")


def _scope(blueprint: Blueprint) -> Scope:
    return Scope(blueprint.agent, blueprint.target)
