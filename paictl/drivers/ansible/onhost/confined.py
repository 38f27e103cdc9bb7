"""Runs a command with exactly the confinement that a unit of this host has, taken from the unit itself. Leaves nothing behind.

Sent to the host as it is. ``argv``: the unit, for how many seconds at most, and the command, whose streams and exit code are
ours; ``python`` as its first word is the unit's own interpreter. What ends it with ``_REFUSED`` is told on standard error.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid

# What a unit does, when and how often; all else in its [Service] is how it is confined.
_DOING = (
    "Type",
    "Exec",
    "Restart",
    "Timeout",
    "RuntimeMaxSec",
    "Watchdog",
    "NotifyAccess",
    "StandardInput",
    "StandardOutput",
    "StandardError",
    "SyslogIdentifier",
    "SuccessExitStatus",
    # Its own are bound in instead: made anew they would be other ones, elsewhere.
    "LoadCredential",
    "SetCredential",
)
_REFUSED = 125
_SIGNALLED = 128


def main(unit: str, seconds: str, argv: list[str]) -> int:
    """The command's exit code, or 128 and its signal."""
    if _said(["systemctl", "is-active", unit]).strip() not in ("active", "reloading"):
        return _refuse(unit + " does not run")
    settings = _service(_said(["systemctl", "cat", unit]))
    if argv[0] == "python":
        argv = [_interpreter(settings), *argv[1:]]
    own = "run-paictl-" + uuid.uuid4().hex[:12] + ".service"
    properties = [f"{key}={value}" for key, value in settings if not key.startswith(_DOING)]
    if any(key.startswith(("LoadCredential", "SetCredential")) for key, _ in settings):
        theirs = "/run/credentials/" + unit
        # Whoever has none of its own sees nobody's at all.
        properties += ["SetCredential=room:" + own, "BindReadOnlyPaths=" + theirs]
        properties += ["Environment=CREDENTIALS_DIRECTORY=" + theirs]
    properties += ["RuntimeMaxSec=" + seconds, "TimeoutStopSec=5", "Type=exec"]
    begin = ["systemd-run", "--quiet", "--pipe", "--wait", "--unit=" + own]
    # Its words are no templates: a dollar sign is one.
    words = [one.replace("$", "$$") for one in argv]
    code = subprocess.run([*begin, *("--property=" + one for one in properties), "--", *words], check=False).returncode
    return _ended(own, code)


def _ended(unit: str, code: int) -> int:
    """What became of the command: one that failed is kept by systemd until it was asked for."""
    if code == 0:
        return 0
    lines = _said(["systemctl", "show", unit, "--property=ExecMainCode,ExecMainStatus,LoadState"]).splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    if told.get("LoadState") == "not-found":
        return code
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL, check=False)
    status = int(told.get("ExecMainStatus") or 0)
    # CLD_EXITED is 1; the others are signals.
    return status or code if told.get("ExecMainCode") == "1" else _SIGNALLED + status


def _service(text: str) -> list[tuple[str, str]]:
    """The settings of [Service] in their order, those of drop-ins after them, as systemd reads them."""
    section, found = "", []
    for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            # A percent sign begins a specifier in a file, and is one in what is told over the bus.
            found.append((key.strip(), value.strip().replace("%%", "%")))
    return found


def _interpreter(settings: list[tuple[str, str]]) -> str:
    commands = [value for key, value in settings if key == "ExecStart" and value]
    return shlex.split(commands[-1])[0].lstrip("@-:+!")


def _said(argv: list[str]) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace")


def _refuse(why: str) -> int:
    sys.stderr.write(why)
    return _REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
