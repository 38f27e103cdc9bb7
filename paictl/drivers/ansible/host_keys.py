"""The key that a host shows. Asked by the verbs that pin; nothing here decides to trust one."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from paictl.drivers.ansible.hosts import Login, private
from paictl.drivers.ansible.troubles import not_reached
from paictl.errors import PaictlError

__all__ = ["shown_key"]

_SECONDS = 15
# The strongest first; whoever has none of these has not been updated for ten years.
_KINDS = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"


def shown_key(login: Login) -> str:
    """The key that answers at the host's address now. Raises ``Unreachable`` with ssh's words when nothing does.

    By ssh itself rather than ssh-keyscan, so that a jump host of the person's configuration is gone through. Nobody logs in.
    """
    with tempfile.TemporaryDirectory(dir=private("ssh")) as folder:
        known = Path(folder) / "known_hosts"
        said = [
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={login.name}",
            f"HostKeyAlgorithms={_KINDS}",
            "HashKnownHosts=no",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "PreferredAuthentications=none",
            "BatchMode=yes",
            "ControlMaster=no",
            "ControlPath=none",
            f"ConnectTimeout={_SECONDS}",
        ]
        user = [f"-l{login.user}"] if login.user else []
        argv = ["ssh", *(f"-o{one}" for one in said), f"-p{login.port}", *user, "--", login.address, "true"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=2 * _SECONDS, check=False)
        except FileNotFoundError:
            raise PaictlError("ssh is not installed here", help="apt-get install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise not_reached(login, "Connection timed out") from None
        lines = known.read_text(encoding="ascii").splitlines() if known.exists() else []
    if not lines:
        raise not_reached(login, done.stderr)
    return " ".join(lines[0].split()[1:3])
