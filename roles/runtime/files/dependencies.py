"""Makes the venv of a build with the locked dependencies, each by its hash: python3 -c … CODE [WHEELS].

They come from the index that the host's pip knows, or, without a network, from a tar file of wheels that was brought, pip's own among
them: that needs no Debian package but Python itself.
"""

import glob
import os
import shutil
import subprocess
import sys
import tarfile
import venv

CODE, WHEELS = sys.argv[1], "".join(sys.argv[2:])
FOLDER = os.path.join(CODE, "venv")
INSTALL = ["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-input"]
LOCKED = ["--require-hashes", "--only-binary", ":all:", "--requirement", os.path.join(CODE, "requirements.txt")]


def run(*command):
    done = subprocess.run([os.path.join(FOLDER, "bin", "python"), *command], check=False)
    if done.returncode:
        sys.exit(f"the runtime's packages can't be installed: pip ended with {done.returncode}")


# Debian's Python comes without ensurepip, which its package python3-venv brings.
venv.create(FOLDER, with_pip=not WHEELS, symlinks=True)
if WHEELS:
    folder = os.path.join(CODE, "wheels")
    with tarfile.open(WHEELS) as archive:
        for member in archive:
            if member.isfile() and "/" not in member.name:
                archive.extract(member, folder)
    [pip] = glob.glob(os.path.join(folder, "pip-*.whl"))
    # A wheel is a zip file that Python runs.
    run(os.path.join(pip, "pip"), *INSTALL, "--no-index", "--no-deps", pip)
    run("-m", "pip", *INSTALL, "--no-index", "--find-links", folder, *LOCKED)
    shutil.rmtree(folder)
    os.unlink(WHEELS)
else:
    run("-m", "pip", *INSTALL, *LOCKED)
