"""A machine that follows a repository of its user's, over ssh with a key, and somebody who commits to it. For ``test_here``."""

from __future__ import annotations

from dataclasses import dataclass

from tests.hosts.host import Host
from tests.hosts.lan import Refused

__all__ = ["Followed", "follow"]

_UNIT = "paictl-hearth-sync.service"


@dataclass(frozen=True)
class Followed:
    """``machine`` follows what is committed in ``~/agent`` of its user's and pushed from there."""

    machine: Host

    def commit(self, edit: str, key: str = "alice") -> str:
        """The manifest after this edit (of sed's), signed by that key, or not at all without one, and pushed; its hash."""
        signed = f"-c gpg.format=ssh -c user.signingkey=~/.ssh/{key} -c commit.gpgsign={'true' if key else 'false'}"
        self.typed(
            f"cd agent; sed -i {edit!r} agent.yaml; git add .; "
            f"git -c user.name=a -c user.email=alice@example.org {signed} commit -q --allow-empty -m 'A change'; "
            "git push -q origin HEAD:main"
        )
        return self.typed("git -C agent rev-parse HEAD").strip()

    def withdraw(self) -> None:
        """The last commit is none any more."""
        self.typed("cd agent; git reset -q --hard HEAD~1; git push -qf origin HEAD:main")

    def sync(self) -> str:
        """Look once, as the timer does; the last line of its journal. Raises ``Refused`` with it when the unit failed."""
        try:
            self.machine.exec(["systemctl", "start", _UNIT])
        except Refused as error:
            raise Refused(self.journal(1)) from error
        return self.journal(1).strip()

    def journal(self, lines: int = 1000) -> str:
        """What it said last."""
        self.machine.exec(["journalctl", "--sync"])
        return self.machine.exec(["journalctl", "-q", "-o", "cat", "-t", "paictl-hearth-sync", "-n", str(lines)])

    def typed(self, line: str) -> str:
        """What somebody at its shell is told."""
        return self.machine.exec(["su", "-", self.machine.user, "-c", f"set -e; {line}"])


def follow(machine: Host) -> Followed:
    """Its user's ``~/agent`` becomes a clone of a repository that only a key opens, and its manifest says so."""
    made = Followed(machine)
    machine.exec(
        [
            "sh",
            "-ec",
            "command -v git >/dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends git; }",
        ]
    )
    made.typed(
        "umask 077; mkdir -p .ssh; for key in reader alice mallory; do ssh-keygen -q -t ed25519 -N '' -C '' -f .ssh/$key; done; "
        "cat .ssh/reader.pub >>.ssh/authorized_keys; git init -q --bare -b main agents.git; "
        "cd agent; git init -q -b main; git remote add origin ~/agents.git"
    )
    user, alice = machine.user, made.typed("cat .ssh/alice.pub").strip()
    said = f"""
  secrets:
    reader: {{from: file, file: /home/{user}/.ssh/reader}}
  updates:
    git: ssh://{user}@127.0.0.1/home/{user}/agents.git
    signers: ["alice@example.org {alice}"]
    key: reader
    known-hosts: ["127.0.0.1 {machine.host_key}"]
"""
    machine.exec(["sh", "-ec", f"cat >>/home/{user}/agent/agent.yaml"], said)
    return made
