"""Tells how a unit runs: "as written", "otherwise" (than by the unit, code and secrets that are there now), or "not"."""

import filecmp
import os
import subprocess
import sys

UNIT, CODE, SECRETS = sys.argv[1:]
CREDENTIALS = os.path.join("/run/credentials", UNIT)


def main_process():
    told = subprocess.run(["systemctl", "show", "--property=MainPID", "--value", UNIT], capture_output=True, text=True, check=False)
    return int(told.stdout.strip() or 0)


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


process = main_process()
if not process:
    print("not", end="")
else:
    try:
        same = same_code(process) and same_unit() and same_secrets()
    except FileNotFoundError:
        same = False
    print("as written" if same else "otherwise", end="")
