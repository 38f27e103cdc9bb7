"""``paictl lock``: resolves models, images and pins anew, and shows what that changes in ``agent.lock``."""

from __future__ import annotations

from paictl.cli.flags import Call, option, trust_host_keys, verb_command
from paictl.errors import ExitCode, UsageError

__all__ = ["verb"]


@verb_command("lock")
@option("--check", is_flag=True, help="Write nothing; exit 3 when the lock would change.")
@option("--repin", multiple=True, metavar="HOST", help="Pin the key that this host shows now in place of the old one.")
@option("--forget", multiple=True, metavar="HOST", help="Let go of a host that is gone with all that stood on it.")
@trust_host_keys
def verb(call: Call, check: bool, repin: tuple[str, ...], forget: tuple[str, ...], trust_host_keys: bool) -> int:
    """Resolve the target's models, weights, images and runtime anew and write agent.lock beside the manifest. Commit it.

    The runtime is pinned here: a newer paictl changes nothing on a target until `paictl lock` says so.
    """
    from paictl.cli.logins import Pinning
    from paictl.cli.resolution import lock_path
    from paictl.cli.session import open_session, watched
    from paictl.manifest.lockfile import diff_locks, read_lock

    if call.flags.locked:
        raise UsageError(
            "--locked forbids what lock is for", help="Use `paictl lock --check` to see whether it is fresh."
        )
    session = open_session(call)
    before = read_lock(lock_path(session.manifest))
    if not check:
        session.meet(Pinning(trust_host_keys, repin, forget))
    with watched(call) as emit:
        resolution = session.resolve(emit, download=not check, fresh=True, images=True)
    difference = diff_locks(before, resolution.after)
    if check:
        difference += [f"+ {session.scope.target}.hosts.{name}: not pinned yet" for name in session.unpinned()]
    if not check:
        resolution.keep()
    name = resolution.path.name
    document = {
        "format": "1",
        "file": str(resolution.path),
        "target": session.scope.target,
        "changed": bool(difference),
        "written": bool(difference) and not check,
        "diff": difference,
    }

    def text() -> list[str]:
        if not difference:
            return [f"{name}: nothing new for {session.scope.target}"]
        colors = {"+": "green", "-": "red", "~": "yellow"}
        lines = [call.terminal.style(line, fg=colors[line[0]]) for line in difference]
        return [*lines, "", f"{name}: {'would change' if check else 'written'} ({len(difference)} differences)"]

    call.terminal.result(document, text)
    return ExitCode.PENDING if check and difference else ExitCode.OK
