"""What a plan that finds nothing to do costs on a Docker engine, beside Compose doing nothing on the same stack.

Applies the quickstart on the engine that the tests use, and brings its rendered file up with Compose under another name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import docker

from bench.process import Command, Cost, in_turns
from bench.table import Lacking, Row
from tests.docker import engine
from tests.docker.calls import counted
from tests.docker.compose import compose_command
from tests.docker.quickstart import prepared
from tests.story.home import PAICTL, Home

__all__ = ["run"]

_OURS, _COMPOSED = "bench-plan", "bench-compose"
_RUNS = 9


def run() -> list[Row]:
    """The rows about Docker; raises ``Lacking`` where no engine can be had."""
    engine.install()
    if reason := engine.lacking():
        raise Lacking(reason)
    held = engine.lease()
    try:
        with (
            held.engine.entered() if held.engine else nullcontext(),
            tempfile.TemporaryDirectory() as ours,
            tempfile.TemporaryDirectory() as composed,
        ):
            api = docker.APIClient(base_url=held.host, version="auto", timeout=120)
            try:
                return _rows(api, held.host, Path(ours), Path(composed))
            finally:
                api.close()
    finally:
        held.close()


def _rows(api: docker.APIClient, host: str, ours: Path, composed: Path) -> list[Row]:
    with prepared(host, api, ours, _OURS) as home, prepared(host, api, composed, _COMPOSED) as other:
        home.run("apply", "--yes")
        count = home.json("plan")["summary"]["unchanged"]
        # With the same lock it is the same image by the project's own name.
        shutil.copy(home.manifest.with_name("agent.lock"), other.manifest.parent)
        with _up(api, host, other) as (folder, command):
            plans, ups = _measured(home, folder, command)
        nothing = _asked(home, host, "plan")
        home.edit("spec:\n", "spec:\n  permissions: {budget: {calls: 5000/day}}\n")
        begun = time.monotonic()
        line = _asked(home, host, "apply", "--yes")
        seconds = time.monotonic() - begun
    what = f"no-op plan, docker, {count} resources"
    lists = sum(count for call, count in nothing.items() if call in _LISTS)
    return [
        Row(f"{what}, CPU", plans.cpu, "s", 0.45),
        # For information: Compose is a compiled program, and spends its time waiting.
        Row(f"{what}, CPU, of `docker compose up -d` doing nothing", plans.cpu / ups.cpu, ""),
        Row(f"{what}, wall, of `docker compose up -d` doing nothing", plans.wall / ups.wall, "", 1.0),
        Row(f"{what}, wall", plans.wall, "s"),
        Row("`docker compose up -d` doing nothing on its rendered file, CPU", ups.cpu, "s"),
        Row("`docker compose up -d` doing nothing on its rendered file, wall", ups.wall, "s"),
        Row(f"{what}, calls to the engine that list", lists, "", len(_LISTS)),
        Row(f"{what}, calls to the engine in all", sum(nothing.values()), ""),
        Row(
            "apply of one changed line (the gateway starts again), docker, calls to the engine", sum(line.values()), ""
        ),
        Row("apply of one changed line (the gateway starts again), docker, wall", seconds, "s"),
    ]


_LISTS = ("GET /containers/json", "GET /networks", "GET /volumes", "GET /images/json")


def _measured(home: Home, folder: Path, command: Sequence[str]) -> tuple[Cost, Cost]:
    plans = Command((PAICTL, "plan"), home.manifest.parent, home.surroundings())
    ups = Command((*command, "up", "--detach"), folder, os.environ)
    first, second = in_turns(plans, ups, runs=_RUNS)
    return first, second


@contextmanager
def _up(api: docker.APIClient, host: str, home: Home) -> Iterator[tuple[Path, list[str]]]:
    """The rendered project, brought up as its README says; the image is the one that paictl built, by the project's own name."""
    folder = home.folder / "out"
    home.run("render", "-o", str(folder))
    written = (folder / "compose.yaml").read_text(encoding="utf-8")
    found = re.search(rf"paictl/{_COMPOSED}:([\w.-]+)", written)
    if found is None:
        raise RuntimeError("the rendered file names no image of paictl's")
    api.tag(f"paictl/{_OURS}:{found[1]}", f"paictl/{_COMPOSED}", found[1])
    steps = re.findall(r"^ {7}(.+)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(["sh", "-ec", "\n".join(steps)], cwd=folder, check=True)
    command = compose_command(host)
    try:
        subprocess.run([*command, "up", "--detach", "--wait"], cwd=folder, check=True, capture_output=True)
        yield folder, command
    finally:
        subprocess.run([*command, "down", "--volumes", "--timeout", "1"], cwd=folder, check=False, capture_output=True)


def _asked(home: Home, host: str, verb: str, *arguments: str) -> Counter[str]:
    """What one run of paictl asks the engine."""
    with counted(host) as calls:
        home.environment["DOCKER_HOST"] = calls.host
        home.run(verb, *arguments)
        home.environment["DOCKER_HOST"] = host
        return calls.take()
