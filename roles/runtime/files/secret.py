"""Makes a secret that nobody has to know, once, and sees that only root can read it: python3 -c … PATH. Says "changed" if it was not so."""

import base64
import os
import stat
import sys

PATH = sys.argv[1]
MODE = 0o400

if not os.path.exists(PATH):
    file = os.open(PATH + ".part", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, MODE)
    os.write(file, base64.urlsafe_b64encode(os.urandom(32)))
    os.fsync(file)
    os.rename(PATH + ".part", PATH)
    print("changed")
found = os.stat(PATH)
if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (0, 0, MODE):
    os.chown(PATH, 0, 0)
    os.chmod(PATH, MODE)
    print("changed")
