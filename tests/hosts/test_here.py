"""paictl on the very machine where the agent is to live, typed by somebody whose sudo asks for a password, then run by a timer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import host as one
from tests.hosts.following import Followed, follow
from tests.hosts.host import Host
from tests.hosts.installed import furnish, install, typed
from tests.hosts.lan import Lan, Refused

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

# What the agent there is told.
_TOLD = "/etc/paictl/hearth/config/agent/agent.json"


@pytest.fixture(scope="module")
def machine(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """It has paictl, as from an index, and its user the Raspberry Pi's example."""
    made = one.begin(lan, "here", online=True)
    install(made, tmp_path_factory.mktemp("wheel"))
    furnish(made)
    yield made
    made.end()


@pytest.fixture(scope="module")
def followed(machine: Host) -> Followed:
    """From here on the machine's manifest is kept in a repository, which a key of its user's opens."""
    return follow(machine)


@pytest.mark.promise(2)
def test_an_agent_moves_in_where_it_is_typed_and_answers(machine: Host) -> None:
    assert "http://127.0.0.1:8740" in typed(machine, "apply", "--yes")
    assert "nothing to do" in typed(machine, "plan", "--detailed-exitcode")
    assert typed(machine, "chat", "Hello").strip()


@pytest.mark.promise(24)
def test_its_rooms_are_closed_there_too(machine: Host) -> None:
    assert "checks hold" in typed(machine, "verify")


def test_root_s_timer_runs_no_paictl_that_somebody_else_may_write_to(machine: Host, followed: Followed) -> None:
    machine.exec(["chown", machine.user, "/opt/tried/bin"])
    try:
        told = typed(machine, "apply", "--yes", code=4)
    finally:
        machine.exec(["chown", "root", "/opt/tried/bin"])
    assert f"user {machine.user} may write to /opt/tried/bin" in " ".join(told.split())


@pytest.mark.promise(2)
def test_a_signed_commit_is_applied_by_the_timer_and_is_nothing_new_to_who_types(
    machine: Host, followed: Followed
) -> None:
    typed(machine, "apply", "--yes")
    assert machine.exec(["systemctl", "is-active", "paictl-hearth-sync.timer"]) == "active\n"
    signed = followed.commit("s/learned today/learned this week/")
    assert followed.sync() == f"applied {signed[:12]}"
    assert "learned this week" in machine.exec(["cat", _TOLD])
    assert "nothing to do" in typed(machine, "plan", "--detailed-exitcode")
    said = followed.journal() + machine.exec(["cat", "/etc/paictl/hearth/sync/sync.json"])
    assert "PRIVATE KEY" not in said


def test_a_commit_that_nobody_on_the_list_signed_changes_nothing(machine: Host, followed: Followed) -> None:
    for key in ("mallory", ""):
        forged = followed.commit("s/learned this week/learned to do evil/", key)
        with pytest.raises(Refused, match=f"{forged[:12]} is not signed by anybody who may"):
            followed.sync()
        followed.withdraw()
    assert "learned this week" in machine.exec(["cat", _TOLD])


def test_a_commit_that_can_not_be_applied_goes_back_and_status_says_so(machine: Host, followed: Followed) -> None:
    taken = followed.commit("s/port: 8740/port: 22/")
    with pytest.raises(Refused, match=f"{taken[:12]} could not be applied: .* ended with 4; .* was put back"):
        followed.sync()
    told = machine.exec(["sh", "-c", f"cd /home/{machine.user}/agent && /opt/tried/bin/paictl status"])
    assert "sync/localhost  unhealthy" in told
    assert "port 22 is taken" in told
    mended = followed.commit("s/port: 22/port: 8740/")
    assert followed.sync() == f"applied {mended[:12]}"


@pytest.mark.promise(16)
def test_the_timer_waits_for_whoever_is_at_it(machine: Host, followed: Followed) -> None:
    lock = "/run/paictl-hearth.pi.lock"
    machine.exec(["systemd-run", "-q", "--unit=somebody", "flock", lock, "sleep", "3"])
    commit = followed.commit("")
    assert followed.sync() == f"applied {commit[:12]}"
    with pytest.raises(Refused):
        machine.exec(["systemctl", "is-active", "somebody"])


def test_updates_taken_out_by_a_commit_end_with_it(machine: Host, followed: Followed) -> None:
    last = followed.commit("/^  updates:/,$d")
    assert followed.sync() == f"applied {last[:12]}, with which the repository is followed no more"
    left = (
        "find /etc/systemd/system /etc/paictl /var/lib/paictl -name '*sync*'; getent passwd paictl-sync-hearth || true"
    )
    assert machine.exec(["sh", "-c", left]) == ""
    assert "nothing to do" in typed(machine, "plan", "--detailed-exitcode")


def test_it_moves_out_again(machine: Host) -> None:
    typed(machine, "destroy", "--yes")
    assert (
        machine.exec(["sh", "-c", "find /etc/systemd/system -name 'paictl*'; pgrep -f '[/]opt/paictl' || true"]) == ""
    )
