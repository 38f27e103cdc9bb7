"""What went wrong with the engine, as a person is told: a sentence and what to do next. Called by ``connection``; pure.

Knows the SDK's exceptions by their shape, so that nothing has to be imported before something went wrong.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from dataclasses import dataclass

from paictl.errors import PaictlError, Unreachable

__all__ = ["EngineError", "refused", "told_as", "unreachable"]

_USUAL = (
    "Usually one of three: the engine is not running (`systemctl start docker`), this user may not use its socket (group "
    "docker), or another engine is meant (`docker context ls`, DOCKER_HOST, `context` of the target)."
)
_ANOTHER = "If another engine is meant: `docker context ls`, DOCKER_HOST, `context` of the target."
_START = f"Start it (`systemctl start docker`). {_ANOTHER}"
_NEXT = {
    errno.ENOENT: _START,
    errno.ECONNREFUSED: _START,
    errno.EACCES: f"Let this user use it: `sudo usermod -aG docker $USER`, then log in again. {_ANOTHER}",
}
_HELPS = (
    ("no space left on device", "Make room on the disk of the engine, then apply again: it goes on from there."),
    ("port is already allocated", "Free that port, or give the agent another one in the manifest."),
    ("address already in use", "Free that port, or give the agent another one in the manifest."),
    ("exec format error", "The image is for another processor: map it to one for this engine under `images`."),
    ("does not match the specified platform", "Map the image to one for this engine's processor under `images`."),
    ("no such image", "Pull or build it on that engine, or map it to a local one under `images`."),
    ("manifest unknown", "Look at the image's name and tag, or map it to a local one under `images`."),
    (
        "is ambiguous",
        "Another network has the same name (`docker network ls --no-trunc`): remove the one without paictl's labels.",
    ),
    (
        "unable to remove filesystem",
        "Something on the engine's machine protects or uses that path: free it, then again.",
    ),
    ("could not select device driver", "Install the GPU's container toolkit on the engine's machine."),
    ("does not support reading", "Set the engine's log driver to `local` or `json-file`."),
)
_SENTENCE = re.compile(r"^(Error response from daemon|OCI runtime \w+ failed): ", re.IGNORECASE)


@dataclass(eq=False)
class EngineError(PaictlError):
    """The engine's own no, with its HTTP status: 404 there is no such thing, 409 it is in the way of something."""

    status: int = 0


def told_as(error: Exception, what: str, address: str, complaint: str = "") -> PaictlError | None:
    """The error as a person is told it, or None when it is not the engine's.

    ``what`` was tried, in the words of "while …"; ``complaint`` is what the way there (ssh) said about itself.
    """
    if isinstance(error, PaictlError):
        return error
    explanation, response = getattr(error, "explanation", None), getattr(error, "response", None)
    if response is not None:
        return refused(int(response.status_code), str(explanation or error), what)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return Unreachable(
            f"the Docker engine at {address} did not answer in time while {what}",
            help="It may be busy or its disk slow. What it was told may still happen: apply again to go on.",
        )
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in {"docker", "requests", "urllib3"}:
        return unreachable(error, address, complaint)
    return None


def refused(status: int, explanation: str, what: str) -> EngineError:
    """The error that the engine answered with this status and sentence."""
    sentence = _SENTENCE.sub("", " ".join(explanation.split()))
    helps = (help_ for sign, help_ in _HELPS if sign in sentence.lower())
    return EngineError(
        f"the Docker engine failed while {what}: {sentence}",
        help=next(helps, "Its own log tells more (`journalctl -u docker`)." if status >= 500 else ""),
        status=status,
    )


def unreachable(error: BaseException, address: str, complaint: str = "") -> Unreachable:
    """That the engine can't be reached, where, and the reason that the system gave."""
    found = _cause(error)
    number = found.errno if isinstance(found, OSError) and not isinstance(found, (ssl.SSLError, socket.gaierror)) else 0
    return Unreachable(
        f"the Docker engine at {address} can't be reached: {complaint or _reason(found)}",
        help=f"`ssh {address.removeprefix('ssh://')} docker version` tells whether ssh gets there. {_USUAL}"
        if address.startswith("ssh:")
        else _NEXT.get(number or 0, _USUAL),
    )


def _cause(error: BaseException) -> BaseException:
    """What happened below what requests and urllib3 wrapped around it."""
    found, waiting = error, [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (ssl.SSLError, socket.gaierror, ConnectionError)) or (
            isinstance(one, OSError) and one.errno
        ):
            found = one
        # urllib3 names the reason as its cause, and what it was before that only as an argument of it.
        waiting += [next_ for next_ in (one.__context__, one.__cause__, *one.args) if isinstance(next_, BaseException)]
    return found


def _reason(found: BaseException) -> str:
    """The system's own reason."""
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({found.verify_message})"
    if isinstance(found, OSError) and found.errno == errno.ENOENT and not isinstance(found, ssl.SSLError):
        return f"there is no {'program ' + str(found.filename) if found.filename else 'such socket'}"
    if isinstance(found, OSError) and found.strerror:
        return found.strerror
    return str(found) or type(found).__name__
