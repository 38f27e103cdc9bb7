"""Whether hosts can be had on this machine, and what would change that.

Used by the fixtures, by hand and by the lane. How many at once is not looked at here: eleven want more of
``fs.inotify.max_user_instances`` than its usual 128, as the benchmark of hosts has them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.hosts.lan import Refused, version_2

__all__ = ["install", "lacking"]

# Programs and the Debian packages that have them.
_NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "slirp4netns": "slirp4netns",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


def install() -> None:
    """Have Debian's packages that are missing, where this user may; otherwise ``lacking`` names them."""
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)


def lacking() -> str:
    """Why this machine can have none; empty when it can."""
    if os.geteuid() != 0:
        return "only root can start hosts"
    if missing := _missing():
        return f"they need: apt-get install --no-install-recommends {' '.join(missing)}"
    try:
        version_2()
    except Refused as refused:
        return f"{refused}: mount -t cgroup2 none DIRECTORY, or use a real machine"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices: modprobe loop"
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    for what, command in (("make namespaces", "true"), ("filter on bridges", "nft add table bridge paictl_test")):
        tried = subprocess.run([*namespaces, *command.split()], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            told = (tried.stderr.strip().splitlines() or ["no word said"])[-1]
            return f"root can't {what} here, as in a plain container ({told}): use a real machine"
    return ""


def _missing() -> list[str]:
    return sorted({package for program, package in _NEEDED.items() if shutil.which(program) is None})
