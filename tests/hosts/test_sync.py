"""The role `sync` on a real host: what is signed and follows is applied, nothing else is, and a failure goes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import changed, play, put

pytestmark = [pytest.mark.hosts, pytest.mark.roles, pytest.mark.slow, pytest.mark.timeout(900)]

_UNIT = "paictl-atlas-sync.service"
_REPOSITORY = "/usr/local/git/agents.git"
_WORK = "/root/agents"
# What a commit wants to be applied: its own script.
_APPLY = ["sh", "./apply.sh"]


@dataclass(frozen=True)
class _Followed:
    """A host that follows a repository, to which ``commit`` pushes."""

    host: Host
    variables: dict[str, object]

    def commit(self, script: str, key: str = "alice", *options: str) -> str:
        """A commit with this script for what is to be done, signed by that person; its hash."""
        put(self.host, {"atlas/apply.sh": script.encode()}, _WORK)
        signed = f"-c gpg.format=ssh -c user.signingkey=/root/{key}" + (" -c commit.gpgsign=true" if key else "")
        self.host.exec(
            [
                "sh",
                "-ec",
                (
                    f"cd {_WORK}; git add .; git -c user.name=a -c user.email=alice@example.org {signed} commit -q "
                    f"{' '.join(options)} -m 'A change'; git push -q --force origin HEAD:main"
                ),
            ]
        )
        return self.host.exec(["git", "-C", _WORK, "rev-parse", "HEAD"]).strip()

    def sync(self) -> str:
        """Look once, as the timer does; the last line of its journal. Raises ``Refused`` with it when the unit failed."""
        try:
            self.host.exec(["systemctl", "start", _UNIT])
        except Refused as error:
            raise Refused(self._said()) from error
        return self._said()

    def applied(self) -> str:
        """What the scripts wrote, all of them."""
        return self.host.exec(["cat", "/var/tmp/applied"])

    def _said(self) -> str:
        self.host.exec(["journalctl", "--sync"])
        argv = ["journalctl", "-q", "-o", "cat", "-t", "paictl-atlas-sync", "-n", "1"]
        return self.host.exec(argv).strip()


@pytest.fixture(scope="module")
def followed(lan: Lan) -> Iterator[_Followed]:
    """One host, with git from the distribution, which serves a repository to itself."""
    host = one.begin(lan, "sync", online=True)
    keys = """
    ssh-keygen -q -t ed25519 -N '' -C alice@example.org -f /root/alice
    ssh-keygen -q -t ed25519 -N '' -C mallory@example.org -f /root/mallory
    cat /root/alice.pub
    """
    public = host.exec(["sh", "-ec", keys]).strip()
    variables: dict[str, object] = {
        "sync_agent": "atlas",
        "sync_git": "git://127.0.0.1/agents.git",
        "sync_path": "atlas",
        "sync_apply": _APPLY,
        "sync_signers": [f"alice@example.org {public}"],
        # Nothing but a test looks.
        "sync_every_seconds": 31_536_000,
    }
    assert "Install the unit and its timer" in changed(play(host, "sync", variables))
    served = f"""
    git init -q --bare -b main {_REPOSITORY}
    git init -q -b main {_WORK}
    git -C {_WORK} remote add origin {_REPOSITORY}
    systemd-run --quiet --unit=served git daemon --export-all --listen=127.0.0.1 --base-path={_REPOSITORY.rpartition("/")[0]}
    """
    host.exec(["sh", "-ec", served])
    yield _Followed(host, variables)
    host.end()


def test_what_is_signed_is_applied_once_and_what_is_not_never(followed: _Followed) -> None:
    first = followed.commit("echo one $SYNC_COMMIT >>/var/tmp/applied")
    assert followed.sync() == f"applied {first[:12]}"
    assert followed.sync() == f"nothing new: {first[:12]}"
    assert followed.applied() == f"one {first}\n"
    for key in ("mallory", ""):
        forged = followed.commit(f"echo by {key or 'nobody'} >>/var/tmp/applied", key)
        with pytest.raises(Refused, match=f"{forged[:12]} is not signed by anybody who may"):
            followed.sync()
    assert followed.applied() == f"one {first}\n"
    assert followed.host.exec(["systemctl", "show", "-PActiveState", _UNIT]) == "failed\n"
    # What follows and is signed ends it, whoever wrote what is below.
    later = followed.commit("echo two >>/var/tmp/applied")
    assert followed.sync() == f"applied {later[:12]}"


def test_an_older_commit_and_another_history_are_not_taken(followed: _Followed) -> None:
    now = followed.commit("echo three >>/var/tmp/applied")
    followed.sync()
    followed.host.exec(["git", "-C", _WORK, "push", "-q", "--force", "origin", "HEAD~1:main"])
    with pytest.raises(Refused, match=f"does not follow {now[:12]}"):
        followed.sync()
    another = followed.commit("echo another >>/var/tmp/applied", "alice", "--amend")
    with pytest.raises(Refused, match=f"{another[:12]} does not follow"):
        followed.sync()
    assert "another" not in followed.applied()
    followed.host.exec(["git", "-C", _WORK, "reset", "-q", "--hard", now])


def test_a_commit_that_can_not_be_applied_goes_back_and_is_not_tried_twice(followed: _Followed) -> None:
    good = followed.commit("echo good >>/var/tmp/applied")
    followed.sync()
    bad = followed.commit("echo bad >>/var/tmp/applied; exit 3")
    with pytest.raises(Refused, match=f"could not be applied: sh ./apply.sh ended with 3; {good[:12]} was put back"):
        followed.sync()
    with pytest.raises(Refused, match="the next commit is tried"):
        followed.sync()
    assert followed.applied().endswith("good\nbad\ngood\n")
    mended = followed.commit("echo mended >>/var/tmp/applied")
    assert followed.sync() == f"applied {mended[:12]}"
    state = json.loads(followed.host.exec(["cat", "/var/lib/paictl/atlas/sync/state.json"]))
    assert state == {"commit": mended}
    assert bad != mended


def test_who_fetches_is_nobody_and_reaches_nothing_of_the_agent(followed: _Followed) -> None:
    followed.host.exec(["systemd-analyze", "security", "--threshold=15", "--no-pager", _UNIT])
    fetching = followed.host.exec(["stat", "-c", "%U %a", "/var/lib/paictl/atlas/sync/fetching"])
    assert fetching == "paictl-sync-atlas 700\n"
    assert followed.host.exec(["stat", "-c", "%U", "/var/lib/paictl/atlas/sync/verified"]) == "root\n"


def test_the_role_changes_nothing_the_second_time_nor_in_check_mode(followed: _Followed) -> None:
    assert changed(play(followed.host, "sync", followed.variables)) == []
    assert changed(play(followed.host, "sync", followed.variables, check=True)) == []


def test_without_a_signer_the_role_refuses(followed: _Followed) -> None:
    played = play(followed.host, "sync", {**followed.variables, "sync_signers": []})
    assert not played.ok
    assert "Nobody may sign" in played.failed


def test_removing_the_role_leaves_nothing_that_runs(followed: _Followed) -> None:
    assert changed(play(followed.host, "sync", followed.variables, tasks="remove"))
    with pytest.raises(Refused):
        followed.host.exec(["systemctl", "is-active", "paictl-atlas-sync.timer"])
    assert changed(play(followed.host, "sync", followed.variables, tasks="remove")) == []
