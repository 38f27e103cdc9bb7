"""Makes the venv of a build out of wheels that were brought, pip's own among them: no network, and no package but Python itself."""

import glob
import os
import subprocess
import sys
import venv

CODE, WHEELS = sys.argv[1:]
FOLDER = os.path.join(CODE, "venv")
[PIP] = glob.glob(os.path.join(WHEELS, "pip-*.whl"))

# Debian's Python comes without ensurepip; a wheel is a zip file that Python runs.
venv.create(FOLDER, with_pip=False, symlinks=True)
pip = [os.path.join(FOLDER, "bin", "python"), os.path.join(PIP, "pip"), "install", "--quiet", "--no-index", "--no-cache-dir"]
subprocess.run([*pip, "--no-deps", PIP], check=True)
locked = ["--require-hashes", "--only-binary", ":all:", "--requirement", os.path.join(CODE, "requirements.txt")]
subprocess.run([*pip, "--find-links", WHEELS, *locked], check=True)
