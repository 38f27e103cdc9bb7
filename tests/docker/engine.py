"""Which Docker engine the tests use: the one that is given, else one of their own, started by the first user and ended by the last.

``python -m tests.docker.engine start|stop|status`` does by hand what the fixture and the lane do; ``watch`` ends the engine of users
that were killed. Never stops or clears an engine that it did not start.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker

from tests.docker.daemon import Engine, answers

__all__ = ["STOCK_LABEL", "Lease", "cache", "given", "install", "lacking", "lacking_own", "lease", "own", "private"]

STOCK_LABEL = "paictl.test.stock"
"""On the images that tests are given, and on nothing else: they stay."""

_PRIVATE = "own-"
_SOCKET = "unix:///var/run/docker.sock"
# Programs and the Debian packages that have them: for images, and beyond that for an engine of our own.
_FOR_IMAGES = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", "dpkg-deb": "dpkg"}
_FOR_AN_ENGINE = {
    "dockerd": "docker.io",
    "docker-init": "docker.io",
    "slirp4netns": "slirp4netns",
    "ip": "iproute2",
    "iptables": "iptables",
}
# An image of the runtime is hundreds of megabytes, and every changed line of its source makes another.
_KEPT_IMAGES = 2


def cache() -> Path:
    """Where everything lies that is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paictl-tests"


def given() -> str:
    """The engine that is there already: ``DOCKER_HOST``, else the machine's own; empty when there is none."""
    return os.environ.get("DOCKER_HOST") or (_SOCKET if answers(_SOCKET) else "")


def own() -> Engine:
    """The tests' own engine, which may not run."""
    return Engine(cache() / "engine")


def install() -> None:
    """Have Debian's packages that are missing, where this user may; otherwise ``lacking`` names them."""
    missing = _missing(given())
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)


def lacking() -> str:
    """Why no engine can be had here, and what would change that; empty when one can."""
    host = given()
    if host and not answers(host):
        return f"no Docker engine answers at {host} (DOCKER_HOST)"
    if not host and os.geteuid() != 0:
        return "no Docker engine answers at /var/run/docker.sock, and only root can start one of our own; or set DOCKER_HOST"
    if missing := _missing(host):
        return f"it needs: apt-get install --no-install-recommends {' '.join(missing)}"
    return "" if host else _forbidden()


def lacking_own() -> str:
    """The same for an engine of a test's own, beside the one that is given."""
    if os.geteuid() != 0:
        return "only root can start an engine"
    missing = _missing("")
    return f"it needs: apt-get install --no-install-recommends {' '.join(missing)}" if missing else _forbidden()


def _missing(host: str) -> list[str]:
    programs = _FOR_IMAGES if host else _FOR_IMAGES | _FOR_AN_ENGINE
    return sorted({package for program, package in programs.items() if shutil.which(program) is None})


def _forbidden() -> str:
    """What this machine does not let root do, as in a plain container or a chroot."""
    if not any(Path("/sys/fs/cgroup").glob("*")):
        return "no control groups are mounted at /sys/fs/cgroup, as in a chroot: run on a machine of its own, or set DOCKER_HOST"
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        overlay = f"mkdir {folder}/l {folder}/u {folder}/w {folder}/m && mount -t overlay paictl-test"
        overlay += f" -o lowerdir={folder}/l,upperdir={folder}/u,workdir={folder}/w {folder}/m"
        for what, command in (
            ("make namespaces", "true"),
            ("use iptables", "iptables --wait --table nat --list --numeric"),
            (f"mount overlays below {cache()}", overlay),
        ):
            namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
            tried = subprocess.run([*namespaces, "sh", "-c", command], capture_output=True, text=True, check=False)
            if tried.returncode != 0:
                told = (tried.stderr.strip().splitlines() or ["no word said"])[-1]
                return (
                    f"root can't {what} here, as in a plain container ({told}): use a real machine, or set DOCKER_HOST"
                )
    return ""


@dataclass(frozen=True)
class Lease:
    """The use of an engine, until ``close``; a process that is killed has closed it too."""

    host: str
    engine: Engine | None
    directory: Path
    users: IO[str]

    def close(self) -> list[str]:
        """Give it back. The last user is told what was left behind, and ends the engine when it is our own."""
        with _alone(self.directory):
            left = []
            if _only_user(self.users):
                left = sorted(set(_things(self.host)) - {*json.loads(_before(self.directory).read_text("ascii"))})
                if self.engine and not _kept(self.directory).exists():
                    self.engine.stop()
            self.users.close()
        return left


def lease() -> Lease:
    """Use the engine that is given or our own, which is started when nobody uses it yet. ``lacking`` must be empty."""
    host, engine = given(), None
    directory = cache() / f"given-{hashlib.sha256(host.encode()).hexdigest()[:8]}" if host else own().directory
    directory.mkdir(parents=True, exist_ok=True)
    if not host:
        engine = own()
        host = engine.host
    with _alone(directory):
        users = (directory / "users.lock").open("a", encoding="ascii")
        if _only_user(users):
            if engine and not (engine.running and _kept(directory).exists()):
                _begin(engine)
                _have_watched(engine)
            _before(directory).write_text(json.dumps(sorted(_things(host))), encoding="ascii")
        elif engine and not engine.running:
            engine.start()  # it crashed under its other users
        fcntl.flock(users, fcntl.LOCK_SH)
    return Lease(host, engine, directory, users)


@contextmanager
def private(megabytes: int = 0, programs: Sequence[Path] = (), flags: Sequence[str] = ()) -> Iterator[Engine]:
    """An engine for one test, empty and started, that is gone afterwards. ``lacking_own`` must be empty.

    ``megabytes``: how large its disk is, when that is to be full at some point; the others as ``Engine`` takes them.
    """
    cache().mkdir(parents=True, exist_ok=True)
    _clear_private()
    # Not below a test's own folder: the path of a socket has at most 107 characters.
    engine = Engine(Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=cache())), megabytes, programs, flags)
    with (engine.directory / "users.lock").open("a", encoding="ascii") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        try:
            engine.start()
            yield engine
        finally:
            engine.discard()


def _clear_private() -> None:
    """Those of tests that were killed: nobody holds them any more."""
    for users in cache().glob(f"{_PRIVATE}*/users.lock"):
        with suppress(FileNotFoundError), users.open("r+", encoding="ascii") as file:
            if _only_user(file):
                Engine(users.parent).discard()


def _begin(engine: Engine) -> None:
    """Start it without whatever a killed run left in it: it is ours alone."""
    engine.stop()
    engine.start()
    client = docker.APIClient(base_url=engine.host, version="auto")
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True, v=True)
    client.prune_networks()  # type: ignore[no-untyped-call]  # so do the published types leave it
    for volume in client.volumes()["Volumes"] or ():
        client.remove_volume(volume["Name"], force=True)
    client.prune_images({"dangling": True})  # type: ignore[no-untyped-call]  # and this one
    ours = [image for image in client.images() if STOCK_LABEL not in (image["Labels"] or {})]
    for image in sorted(ours, key=lambda image: -int(image["Created"]))[_KEPT_IMAGES:]:
        client.remove_image(image["Id"], force=True)
    client.close()


def _have_watched(engine: Engine) -> None:
    """Whoever is killed can't end it: a process that only waits does."""
    command = ["setsid", "--fork", sys.executable, "-m", "tests.docker.engine", "watch"]
    where = Path(__file__).parents[2]
    with engine.log.open("ab") as log:
        subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)


def _things(host: str) -> list[str]:
    """Every container, network and volume there; on an engine that is not ours alone, those that paictl or a test made."""
    client = docker.APIClient(base_url=host, version="auto")
    ours: Callable[[Mapping[str, Any]], bool] = _labelled if host != own().host else bool
    found = [f"container {one['Names'][0]}" for one in client.containers(all=True) if ours(one)]
    found += [f"network {one['Name']} {one['Id'][:12]}" for one in client.networks() if ours(one)]
    found += [f"volume {one['Name']}" for one in client.volumes()["Volumes"] or () if ours(one)]
    client.close()
    return found


def _labelled(thing: Mapping[str, Any]) -> bool:
    return any(label.startswith("paictl") for label in thing["Labels"] or ())


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / "start.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _only_user(users: IO[str]) -> bool:
    """Whether nobody else has a lease; if so, this one is exclusive until it is shared or closed."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _before(directory: Path) -> Path:
    return directory / "before.json"


def _kept(directory: Path) -> Path:
    """There while the engine was started by hand, and so is to run on without a user."""
    return directory / "kept"


def _start() -> int:
    install()
    if reason := lacking():
        sys.exit(reason)
    held = lease()
    if held.engine:
        _kept(held.directory).touch()
    held.close()
    print(f"{held.host}, our own; its published ports are in its network only" if held.engine else held.host)
    return 0


def _stop() -> int:
    engine = own()
    if not engine.directory.exists():
        return 0
    with _alone(engine.directory), (engine.directory / "users.lock").open("a", encoding="ascii") as users:
        if not _only_user(users):
            sys.exit("tests are using the engine; it ends with the last of them")
        _kept(engine.directory).unlink(missing_ok=True)
        engine.stop()
    return 0


def _watch() -> int:
    """Wait until nobody uses it any more; the last that closes its lease ends it, and so does this when there was none."""
    engine = own()
    while engine.running and not _kept(engine.directory).exists():
        with (engine.directory / "users.lock").open("a", encoding="ascii") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
        # Let go before it is asked for in order: another user may have come meanwhile.
        with _alone(engine.directory), (engine.directory / "users.lock").open("a", encoding="ascii") as users:
            if _only_user(users) and not _kept(engine.directory).exists():
                engine.stop()
    return 0


def _status() -> int:
    engine = own()
    print(given() or (f"{engine.host}, our own" if engine.running else lacking() or "none runs; one can be started"))
    return 0


if __name__ == "__main__":
    verbs = {"start": _start, "stop": _stop, "status": _status, "watch": _watch}
    verb = verbs.get(" ".join(sys.argv[1:]))
    sys.exit(verb() if verb else f"usage: python -m tests.docker.engine {'|'.join(verbs)}")
