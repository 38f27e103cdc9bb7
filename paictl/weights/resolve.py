"""From a source to the exact bytes it means: URL, size, hash, and where in a wheel; asks pip and the hub, fetches no content.

Called by ``fetch.obtain`` and by ``fit.resolve``, which writes the answer into the lock. No registry's or hub's address stands
here: pip and huggingface_hub know theirs, with the mirrors and the logins that a person has configured for them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paictl.clock import Clock, SystemClock
from paictl.errors import Unavailable
from paictl.weights.cache import Cache
from paictl.weights.failures import BadFile, NotCached, SourceUnreachable, WrongHash
from paictl.weights.sources import Source
from paictl.weights.transfer import NoRanges, Transient, Web, describe, patiently
from paictl.weights.wheel import Member, RangedFile, find

__all__ = ["Resolved", "hub_headers", "resolve"]

_PIP_TIMEOUT_SECONDS = 1800
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_CONNECTION = ("Connection", "Temporary failure in name", "Max retries exceeded")
_PIP = ("--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Exactly which bytes a source means; ``source`` itself is exact here: a branch of the hub has become a commit.

    ``url`` is where they are (``http(s)://`` or ``file://``), ``size`` how many bytes the model file has, ``sha256`` its hash
    where it is known before it is fetched, ``member`` where it lies when ``url`` is a wheel's.
    """

    source: Source
    url: str
    size: int
    sha256: str | None = None
    member: Member | None = None

    @property
    def file(self) -> str:
        """The file's own name."""
        return self.source.file


def resolve(
    source: Source,
    sha256: str | None = None,
    *,
    cache: Cache | None = None,
    offline: bool = False,
    clock: Clock | None = None,
) -> Resolved:
    """Find out which bytes the source means; ``sha256`` is what the manifest or the lock demands of them.

    Raises ``UsageError``, ``Unavailable``, ``NotCached``, ``SourceUnreachable``, ``WrongHash`` or ``BadFile``.
    """
    clock = clock or SystemClock()
    if source.scheme in {"ollama", "oci"}:
        raise Unavailable(
            f"{source}: {source.scheme}:// sources are not available yet",
            help="name the same model by hf://, https:// or file://",
        )
    if source.scheme == "file":
        return _local(source, sha256)
    if offline:
        raise NotCached(
            f"{source} is not in the cache, and --offline forbids to ask for it", help="run once without --offline"
        )
    match source.scheme:
        case "pypi":
            return _from_wheel(source, sha256, cache or Cache(), clock)
        case "hf":
            return _from_hub(source, sha256, clock)
        case _:
            return _from_web(source, sha256, clock)


def hub_headers() -> dict[str, str]:
    """What the hub wants to see: the token of HF_TOKEN or of ``hf auth login``, where there is one."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _local(source: Source, sha256: str | None) -> Resolved:
    path = Path(source.path)
    if not path.is_file():
        raise SourceUnreachable(
            f"{source}: there is no file {path}", help="check the path; relative ones start at the manifest's folder"
        )
    return Resolved(source, path.as_uri(), path.stat().st_size, sha256)


def _from_web(source: Source, sha256: str | None, clock: Clock) -> Resolved:
    if sha256 is None:
        raise Unavailable(
            f"{source}: a {source.scheme}:// source needs its sha256", help="add `sha256:` beside `source:`"
        )
    with Web(source.text) as web:
        return Resolved(source, source.text, describe(web, clock).size, sha256)


def _from_hub(source: Source, sha256: str | None, clock: Clock) -> Resolved:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    # Read at every call, where huggingface_hub reads it once at import.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None

    def url(revision: str | None) -> str:
        return hf_hub_url(source.name, source.path, revision=revision, endpoint=endpoint)

    def ask() -> tuple[str | None, str | None, int | None]:
        try:
            found = get_hf_file_metadata(url(source.revision or None), token=None, endpoint=endpoint)
        except Exception as error:
            raise _hub_failure(error, source) from error
        return found.commit_hash, found.etag, found.size

    commit, etag, size = patiently(ask, clock, source.text)
    if commit is None or size is None:
        raise SourceUnreachable(f"{source}: what answered does not speak the hub's protocol", help="check HF_ENDPOINT")
    # The hub's ETag of a large file is its sha256; that of a small one, kept in git, is not.
    held = etag if etag and _SHA256.fullmatch(etag) else None
    if held and sha256 and held != sha256:
        raise WrongHash(
            f"{source}: expected sha256 {sha256}, but the hub holds {held}",
            help="the file was changed there; check it, then run `paictl lock`",
        )
    pinned = replace(source, text=f"hf://{source.name}@{commit}/{source.path}", revision=commit)
    return Resolved(pinned, url(commit), size, sha256 or held)


def _hub_failure(error: Exception, source: Source) -> Exception:
    """What an exception of huggingface_hub means; it has its own tree, over an HTTP library of its own choosing."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return SourceUnreachable(
            f"{source}: the repository wants its licence accepted",
            help="accept it on the model's page, then set HF_TOKEN",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return SourceUnreachable(
            f"{source}: the repository has no revision {source.revision}", help="check what stands after the @"
        )
    if isinstance(error, (errors.EntryNotFoundError, errors.RepositoryNotFoundError)):
        what = (
            "has no such file"
            if isinstance(error, errors.EntryNotFoundError)
            else "has no such repository, or it is private"
        )
        return SourceUnreachable(f"{source}: the hub {what}", help="check the name; for a private one, set HF_TOKEN")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HfHubHTTPError) and status is not None and status < 500 and status not in {408, 429}:
        return SourceUnreachable(f"{source}: the hub answered {status}", help="check the source and HF_TOKEN")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return NotCached(
            f"{source} is not in the cache, and HF_HUB_OFFLINE forbids to ask for it", help="unset HF_HUB_OFFLINE"
        )
    return Transient(f"{type(error).__name__}: {error}")


def _from_wheel(source: Source, sha256: str | None, cache: Cache, clock: Clock) -> Resolved:
    url = _wheel_url(source)
    if urlsplit(url).scheme == "file":
        return _in_local_wheel(source, Path(unquote(urlsplit(url).path)), sha256)
    wheel = url.rsplit("/", 1)[-1]
    try:
        with Web(url) as web:
            size = describe(web, clock).size
            member = find(RangedFile(web, size, clock), size, source.path, wheel)
    except (NoRanges, SourceUnreachable) as error:
        # No ranges, or an index behind a login, a proxy, a private authority: pip reaches it as it is set up to.
        whole = _whole_wheel(source, cache, error)
        return _in_local_wheel(source, whole, sha256)
    return Resolved(source, url, member.size, sha256, member)


def _in_local_wheel(source: Source, wheel: Path, sha256: str | None) -> Resolved:
    with wheel.open("rb") as archive:
        member = find(archive, wheel.stat().st_size, source.path, wheel.name)
    return Resolved(source, wheel.absolute().as_uri(), member.size, sha256, member)


def _wheel_url(source: Source) -> str:
    # --report without --dry-run's download: pip reads metadata only, and its answer honours every index, mirror and constraint.
    report = _pip(
        source,
        "install",
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
        *_PIP,
        f"{source.name}=={source.revision}",
    )
    try:
        return str(json.loads(report)["install"][0]["download_info"]["url"])
    except (ValueError, LookupError, TypeError) as error:
        raise BadFile(
            f"{source}: pip's report can't be read", help="check `python -m pip --version`; 24 or newer is needed"
        ) from error


def _whole_wheel(source: Source, cache: Cache, reason: Exception) -> Path:
    """The whole wheel, fetched and checked by pip, kept in the cache."""
    folder = cache.root / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            _pip(source, "download", "--dest", scratch, *_PIP, f"{source.name}=={source.revision}")
        except SourceUnreachable as error:
            raise (reason if isinstance(reason, SourceUnreachable) else error) from error
        wheel = next(Path(scratch).glob("*.whl"))
        return Path(shutil.move(wheel, folder / wheel.name))


def _pip(source: Source, *arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PIP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SourceUnreachable(
            f"{source}: pip did not answer within {_PIP_TIMEOUT_SECONDS} seconds", help="check the network"
        ) from error
    if done.returncode == 0:
        return done.stdout
    said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    reason = said[-1] if said else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if any(word in done.stderr for word in _NO_CONNECTION):
        # pip itself only says that it found nothing.
        raise SourceUnreachable(
            f"{source}: the package index can't be reached",
            help="check the network and pip's configuration; what is in the cache works without",
        )
    raise SourceUnreachable(f"{source}: pip found no wheel: {reason}", help="check the package's name and version")
