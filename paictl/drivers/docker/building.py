"""Building the runtime's image on an engine: its context, the base's Python, the build as it goes. Called by ``images``."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from paictl import places
from paictl.blueprint.wheels import Interpreter
from paictl.drivers.docker.registries import listed
from paictl.errors import PaictlError, Refused
from paictl.events import Emit, Event

if TYPE_CHECKING:
    import docker

__all__ = ["build_image", "context_archive", "interpreter_of"]

_STAGE_OF = "paictl.stage-of"  # templates/docker/Dockerfile.j2 writes it
_OLDEST_PYTHON = (3, 11)
_LAST_LINES = 15
_EPOCH = 315532800  # 1980, the first year that zip files know
_LOOK = """
import json, platform
try:
    import ensurepip, venv
except ImportError:
    venv = None
print(json.dumps([platform.python_version().rstrip("+"), platform.machine(), platform.libc_ver()[1], bool(venv)]))
"""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def interpreter_of(api: docker.APIClient, base: str, tag: str) -> Interpreter:
    """Which Python a base image has, told by itself in a short-lived container. Raises ``Refused`` for one that does not do."""
    name = f"{re.sub('[^a-z0-9]+', '-', tag)}-look"
    _gone(api, name)
    try:
        output = _told(api, base, name, {_STAGE_OF: tag})
    finally:
        _gone(api, name)
    try:
        python, machine, glibc, venv = json.loads(output)
    except ValueError:
        raise _unfit(base, f"its python3 says {output.strip()[-200:]!r}") from None
    if tuple(int(part) for part in python.split(".")[:2]) < _OLDEST_PYTHON:
        raise _unfit(base, f"its Python is {python}")
    if not glibc.startswith("2."):
        raise _unfit(base, "its C library is not glibc")
    if not venv:
        raise _unfit(base, "its Python has no venv module (Debian's package python3-venv)")
    return Interpreter(python, machine, int(glibc.split(".")[1]))


def _told(api: docker.APIClient, base: str, name: str, labels: Mapping[str, str]) -> str:
    import docker.errors

    host = api.create_host_config(network_mode="none", cap_drop=["ALL"], security_opt=["no-new-privileges:true"])
    made = api.create_container(
        base,
        ["-I", "-c", _LOOK],
        name=name,
        entrypoint=["python3"],
        user="65532",
        labels=dict(labels),
        host_config=host,
    )
    try:
        api.start(made["Id"])
    except docker.errors.APIError as error:
        raise _unfit(base, f"its python3 does not start: {error.explanation}") from error
    api.wait(made["Id"])
    return api.logs(made["Id"]).decode("utf-8", "replace")


def _gone(api: docker.APIClient, name: str) -> None:
    import docker.errors

    try:
        api.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return


def _unfit(base: str, reason: str) -> Refused:
    return Refused(
        f"the image {base} can't be the runtime's base: {reason}",
        help="Name another under `spec.images.base`: any with Python >= 3.11 with venv, and glibc, such as python:3.11-slim.",
    )


@contextmanager
def context_archive(texts: Mapping[str, str], packages: Sequence[Path]) -> Iterator[IO[bytes]]:
    """A build context as a tar file, the same bytes for the same content; ``packages`` go to ``wheels/``."""
    places.cache_home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=places.cache_home()) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, text in sorted(texts.items()):
                content = text.encode()
                archive.addfile(_entry(name, len(content)), io.BytesIO(content))
            for path in sorted(packages):
                with path.open("rb") as wheel:
                    archive.addfile(_entry(f"wheels/{path.name}", path.stat().st_size), wheel)
        file.seek(0)
        yield file


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, _EPOCH, 0o644
    return entry


def build_image(
    api: docker.APIClient, archive: IO[bytes], tag: str, labels: Mapping[str, str], emit: Emit, address: str
) -> str:
    """Build the context on the engine without any network; the image's id. Raises ``PaictlError`` with the last lines of it.

    By the classic builder: every engine has it, and the SDK speaks no other.
    """
    said: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        stream = api.build(
            fileobj=archive,
            custom_context=True,
            tag=tag,
            labels=dict(labels),
            buildargs={"STAGE_OF": tag},
            network_mode="none",
            rm=True,
            forcerm=True,
            decode=True,
        )
        # Read to its end, also after an error: the SDK closes the connection only then.
        errors = [str(line["error"]) for line in stream if _say(line, said, emit, address)]
        if errors:
            raise _failed(tag, errors[-1], said)
    finally:
        _clear(api, tag)
    return str(listed(api, tag)[0]["Id"])


def _say(line: Mapping[str, Any], said: deque[str], emit: Emit, address: str) -> bool:
    """Tell what it says; whether that is an error."""
    text = _COLOURS.sub("", str(line.get("stream", "")))
    said.extend(one for one in text.splitlines() if one.strip())
    if step := re.match(r"Step (\d+)/(\d+) ", text):
        what = f"build the runtime's image, step {step[1]} of {step[2]}"
        emit(Event("progress", address, {"what": what, "done": 0, "total": 0}))
    return "error" in line


def _failed(tag: str, error: str, said: Sequence[str]) -> PaictlError:
    lines = "".join(f"\n    {line}" for line in said)
    full = "no space left on device" in f"{error}{lines}".lower()
    return PaictlError(
        f"the image {tag} could not be built: {_COLOURS.sub('', error)}; the build's last lines:{lines}",
        help="Make room on the disk of the engine (`docker system df` shows what takes it), and apply again."
        if full
        else "Another base may do: `spec.images.base`. Nothing else was changed by the build; apply builds it again.",
    )


def _clear(api: docker.APIClient, tag: str) -> None:
    """The first stage is of no use once the image stands: nothing but its cache, twice the image's size."""
    import docker.errors

    for stage in listed(api, filters={"label": f"{_STAGE_OF}={tag}", "dangling": True}):
        try:
            api.remove_image(stage["Id"])
        except docker.errors.APIError as error:
            if error.status_code not in {404, 409}:
                raise
