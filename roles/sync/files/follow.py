"""Follows a git repository: `fetch` brings what is new as a bundle, `take` proves it, checks it out and has it applied.

Two steps, since they are trusted differently: `fetch` talks to the network and runs as a user of its own; `take` runs as root and
reads nothing of it but one bundle, whose every object git hashes anew. A commit that is not signed by somebody on the list, or that
does not follow the one before, is never checked out. One that could not be applied is not tried twice; the last good one is put back.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

_SECONDS = 600
_APPLY_SECONDS = 3 * 3600
_KEPT = 3
_BUNDLE = "incoming.bundle"
# Nothing of the machine's or of a user's own settings has a say.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
_GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


class Refused(Exception):
    """What is wrong and what to do about it, for the journal."""


class Unchanged(Refused):
    """Nothing was changed, and the same may do better later."""


def git(repository, *words, **more):
    """What a git command said."""
    settings = {"core.hooksPath": "/dev/null", "fetch.fsckObjects": "true", "gc.auto": "0", **more}
    said = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    environment = {**_ENVIRONMENT, **_GIT}
    if "GIT_SSH_COMMAND" in os.environ:
        environment["GIT_SSH_COMMAND"] = os.environ["GIT_SSH_COMMAND"]
    done = subprocess.run(
        ["git", f"--git-dir={repository}", *said, *words],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"git {words[0]} ended with {done.returncode}"]
        raise Refused(lines[-1])
    return done.stdout.strip()


def fetch(config, folder):
    """Bring the head of the repository, whole, as a bundle."""
    repository = folder / "fetched"
    _lay_out_key()
    if not repository.is_dir():
        git(repository, "init", "--quiet", "--bare", str(repository))
    try:
        git(repository, "fetch", "--quiet", "--no-tags", config["git"], "+HEAD:refs/heads/followed")
    except Refused as error:
        raise Refused(f"{config['git']} can't be fetched: {error}") from error
    temporary = folder / f".{_BUNDLE}"
    git(repository, "bundle", "create", "--quiet", str(temporary), "refs/heads/followed")
    temporary.rename(folder / _BUNDLE)
    return "fetched"


def _lay_out_key():
    """The key in memory, where ssh looks for it: it takes none for one whose last line does not end."""
    given, place = os.environ.get("CREDENTIALS_DIRECTORY"), os.environ.get("RUNTIME_DIRECTORY")
    if given and place:
        key = Path(place, "key")
        key.touch(0o600)
        key.write_bytes(Path(given, "key").read_bytes().rstrip(b"\n") + b"\n")


def take(config, folder):
    """Prove what was fetched, and have it applied when it is new."""
    repository, known = folder / "verified", _read(folder)
    if not repository.is_dir():
        git(repository, "init", "--quiet", "--bare", str(repository))
    git(repository, "fetch", "--quiet", "--no-tags", str(folder / "fetching" / _BUNDLE), "+refs/heads/followed:refs/heads/seen")
    commit = git(repository, "rev-parse", "refs/heads/seen")
    if commit == known.get("commit"):
        return f"nothing new: {commit[:12]}"
    if commit == known.get("failed"):
        raise Refused(f"{commit[:12]} could not be applied; the next commit is tried")
    _prove(config, repository, commit, known.get("commit"))
    _check_out(config, repository, commit, folder)
    try:
        _apply(config, folder, commit)
    except Unchanged as error:
        raise Refused(f"{commit[:12]} is not applied yet: {error}; it is tried again") from error
    except Refused as error:
        _write(folder, {**known, "failed": commit})
        raise Refused(f"{commit[:12]} could not be applied: {error}{_back(config, folder, known.get('commit'))}") from error
    if not Path(config["signers"]).exists():
        # It was this commit that ended it, and left what it stood on itself. Where this runs, one folder is mounted for who fetches.
        subprocess.run(["umount", str(folder / "fetching")], env=_ENVIRONMENT, capture_output=True, check=False)
        shutil.rmtree(folder)
        return f"applied {commit[:12]}, with which the repository is followed no more"
    git(repository, "update-ref", "refs/heads/applied", commit)
    _write(folder, {"commit": commit})
    _tidy(folder, {commit, known.get("commit")})
    return f"applied {commit[:12]}"


def _prove(config, repository, commit, before):
    if config["verify"] == "signed-commits":
        try:
            git(repository, "verify-commit", commit, **{"gpg.format": "ssh", "gpg.ssh.allowedSignersFile": config["signers"]})
        except Refused as error:
            raise Refused(f"{commit[:12]} is not signed by anybody who may: {error}") from error
    if before:
        try:
            git(repository, "merge-base", "--is-ancestor", before, commit)
        except Refused:
            raise Refused(f"{commit[:12]} does not follow {before[:12]}: an older or another history is not taken") from None


def _check_out(config, repository, commit, folder):
    place = folder / "commits" / commit
    if place.is_dir():
        return
    temporary = folder / "commits" / f".{commit}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    git(repository, f"--work-tree={temporary}", "read-tree", commit)
    git(repository, f"--work-tree={temporary}", "checkout-index", "--all", f"--prefix={temporary}/")
    # No repository, but enough to tell of which one it is, as in a clone.
    (temporary / ".git").mkdir()
    (temporary / ".git" / "config").write_text(f'[remote "origin"]\n\turl = {config["git"]}\n', encoding="utf-8")
    os.sync()
    temporary.rename(place)


def _apply(config, folder, commit):
    place = folder / "commits" / commit / config["path"]
    if not place.is_dir():
        raise Refused(f"there is no folder {config['path']} in it")
    # Its output is the journal's.
    done = subprocess.run(
        config["apply"], cwd=place, env={**_ENVIRONMENT, "HOME": "/root", "SYNC_COMMIT": commit}, stdin=subprocess.DEVNULL,
        timeout=_APPLY_SECONDS, check=False,
        # The unit's own is for what is fetched; what is made here others may have to read.
        umask=0o022,
    )
    if done.returncode != 0:
        raise (Unchanged if done.returncode in config["again"] else Refused)(f"{' '.join(config['apply'])} ended with {done.returncode}")


def _back(config, folder, commit):
    """Put the last good commit back, where that is wanted; what came of it, in words."""
    if config["on_failure"] != "rollback":
        return ""
    if not commit:
        return "; there is none to go back to"
    try:
        _apply(config, folder, commit)
    except Refused as error:
        return f"; nor could {commit[:12]} be put back: {error}"
    return f"; {commit[:12]} was put back"


def _tidy(folder, wanted):
    stand = sorted((folder / "commits").iterdir(), key=lambda one: one.stat().st_mtime)
    for place in [one for one in stand if one.name not in wanted][: -_KEPT]:
        shutil.rmtree(place, ignore_errors=True)


def _read(folder):
    try:
        return json.loads((folder / "state.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}


def _write(folder, state):
    temporary = folder / ".state.json"
    with temporary.open("w", encoding="ascii") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / "state.json")


def main():
    verb, config = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    try:
        print({"fetch": fetch, "take": take}[verb](config, Path(sys.argv[3])))
    except (Refused, OSError, subprocess.TimeoutExpired) as error:
        print(f"not followed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
