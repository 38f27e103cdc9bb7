"""How a room's namespaces are made on this machine: without privilege where the kernel lets everybody, else by root.

Asked by the preflight (can a room be made at all?) and by ``runtime.room`` (make one). Starts nothing that stays.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

__all__ = ["Namespaces", "namespaces"]

# A chroot's root is no mount point, which bubblewrap needs, and no user namespace can be made below one. So root makes the
# root a mount point, seen by this process only: /proc is the one mount that is there for certain, and is made private first,
# so that nothing reaches the namespace outside.
_MOUNTED_ROOT = (
    # Where chroot is, which a lean PATH leaves out.
    'PATH="$PATH:/usr/sbin:/sbin"; mount --make-private /proc && mount --rbind / /proc/fs && exec chroot /proc/fs "$@"'
)
_AS_ROOT = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _MOUNTED_ROOT, "sh")
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What comes before ``bwrap`` on the command line, and its options that make the namespaces.

    ``own_user``: the room has a user namespace of its own, in which the program is not even by name root.
    """

    prefix: tuple[str, ...]
    own_user: bool

    def options(self, *, network: bool) -> list[str]:
        """The options; with ``network`` the machine's network stays."""
        if self.own_user:
            options = ["--unshare-user", "--unshare-all", "--disable-userns", "--uid", "1000", "--gid", "1000"]
            return [*options, "--share-net"] if network else options
        options = ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
        return options if network else [*options, "--unshare-net"]


def namespaces() -> Namespaces:
    """The least privileged way that works here; root's way only where there is no other and this is root."""
    if os.geteuid() == 0 and not _lets_everybody():
        return Namespaces(_AS_ROOT, own_user=False)
    return Namespaces((), own_user=True)


def _lets_everybody() -> bool:
    tried = subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False, timeout=_SECONDS)
    return tried.returncode == 0
