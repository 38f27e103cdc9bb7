"""A local model on its way to a server of others, and the service that comes of it. Pure; every module beside it takes one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream, Volume
from paictl.errors import Span

__all__ = ["LONGEST_ANSWER", "PORT", "ROOT", "Served", "ask_with_curl", "ask_with_python"]

ROOT = "/srv/paictl"
"""Where containers have config/, data/ and models/ (``paictl.render.containers.ROOT``)."""

PORT = 8080
"""Where each of them is told to listen, whatever its own default is."""

LONGEST_ANSWER = 1024
"""Tokens; the bound of our own server (``paictl.runtime.config.LlamaServerConfig.max_tokens``)."""

# Large models are read from a disk that may be slow: 20 GB at 100 MB/s take 200 seconds.
_STARTS_WITHIN_SECONDS = 300.0
_CURL = ("curl", "--fail", "--silent", "--output", "/dev/null", "--max-time", "4")


@dataclass(frozen=True, slots=True)
class Served:
    """One model as a server has to know it.

    ``weights`` names its files in the blueprint; ``path`` is the file, or the folder of a model that is one, inside the
    container. ``context`` in tokens, ``memory`` in bytes as computed for our own server. ``gpus`` as in ``Service``;
    ``reference`` is the image to run.
    """

    name: str
    weights: tuple[str, ...]
    path: str
    context: int
    threads: int
    memory: int
    gpus: str
    reference: str
    origin: Span | None = None

    @property
    def service(self) -> str:
        """The service's name."""
        return f"model-{self.name}"

    @property
    def data(self) -> str:
        """Where it may write what outlives it, in the container; only of one that has ``volume``."""
        return f"{ROOT}/{self.volume.path}"

    @property
    def volume(self) -> Volume:
        """Room for what a server makes of the model and can make again."""
        return Volume(self.service, f"data/{self.service}", holds_data=False, origin=self.origin)

    def by(
        self,
        upstream: Upstream,
        limits: Limits,
        *,
        health: str = "/health",
        config: ConfigFile | None = None,
        volumes: tuple[Volume, ...] = (),
    ) -> Service:
        """The service that runs it so; ``health`` is the path that answers 200 once the model is loaded."""
        return Service(
            name=self.service,
            role="model",
            module="",
            config=config or ConfigFile("", ""),
            endpoints=(Endpoint("http", PORT),),
            volumes=volumes,
            weights=self.weights,
            health=HealthCheck(endpoint="http", path=health, timeout_seconds=_STARTS_WITHIN_SECONDS),
            # With cards, the processors only feed them: how many that takes, nobody says.
            limits=limits if self.gpus else replace(limits, cpus=self.threads),
            upstream=upstream,
            gpus=self.gpus,
            origin=self.origin,
        )


def ask_with_curl(path: str) -> tuple[str, ...]:
    """A health command for images that have curl."""
    return (*_CURL, f"http://127.0.0.1:{PORT}{path}")


def ask_with_python(path: str) -> tuple[str, ...]:
    """The same for images whose server is written in Python: the interpreter is there, curl may not be."""
    url = f"http://127.0.0.1:{PORT}{path}"
    return ("python3", "-c", f"import urllib.request; urllib.request.urlopen({url!r}, timeout=4)")
