"""Tells how a unit runs: "as written", "otherwise" (than by the unit, code and secrets that are there now), or "not" at all or at boot."""

import filecmp
import os
import subprocess
import sys

UNIT, CODE, SECRETS = sys.argv[1:]
CREDENTIALS = os.path.join("/run/credentials", UNIT)


def shown():
    """What systemd says of it."""
    names = "--property=MainPID,UnitFileState,NeedDaemonReload"
    told = subprocess.run(["systemctl", "show", names, UNIT], capture_output=True, text=True, check=False).stdout
    return dict(line.partition("=")[::2] for line in told.splitlines())


def same_code(process):
    """A build that was made anew meanwhile is another directory of the same name."""
    return os.stat(f"/proc/{process}/root{CODE}").st_ino == os.stat(CODE).st_ino


def same_unit():
    with open(os.path.join(CREDENTIALS, "made-of"), encoding="ascii") as given:
        mark = f"SetCredential=made-of:{given.read()}"
    with open(os.path.join("/etc/systemd/system", UNIT), encoding="utf-8") as unit:
        return mark in unit.read().splitlines()


def same_secrets():
    names = [name for name in os.listdir(CREDENTIALS) if name != "made-of"]
    pairs = [(os.path.join(CREDENTIALS, name), os.path.join(SECRETS, name)) for name in names]
    return all(filecmp.cmp(given, kept, shallow=False) for given, kept in pairs)


told = shown()
process = int(told.get("MainPID") or 0)
if not process or told["UnitFileState"] != "enabled":
    print("not", end="")
else:
    try:
        same = told["NeedDaemonReload"] == "no" and same_code(process) and same_unit() and same_secrets()
    except FileNotFoundError:
        same = False
    print("as written" if same else "otherwise", end="")
