"""Other ways to an engine than its socket: an ssh server of this user's own, and a daemon behind TLS. Used by the tests."""

from __future__ import annotations

import datetime as dt
import getpass
import io
import ipaddress
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.docker.daemon import answers
from tests.waiting import until

__all__ = [
    "SMALL_IMAGE",
    "certificates",
    "free_port",
    "lacking_ssh",
    "lacking_tls",
    "ssh_server",
    "tls_engine",
    "with_ssh_config",
]

SMALL_IMAGE = "paictl-test/small:1"
_SSHD = "/usr/sbin/sshd"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def lacking_ssh() -> str:
    """Why no ssh server can be had here; empty when one can."""
    if not Path(_SSHD).exists():
        return "no sshd: apt-get install openssh-server"
    return (
        "" if shutil.which("docker") else "no docker command line, which ssh runs over there: apt-get install docker.io"
    )


def lacking_tls() -> str:
    """Why no daemon behind TLS can be had here; empty when one can."""
    if shutil.which("dockerd") is None:
        return "no dockerd: apt-get install docker.io"
    return "" if os.geteuid() == 0 else "a daemon of one's own, in a network of its own, takes root"


@contextmanager
def ssh_server(folder: Path, docker_host: str) -> Iterator[str]:
    """An ssh server on a free port whose shell sees that engine; tells the address, which ``with_ssh_config`` explains.

    Name, port, key and known host stand in ``.ssh/config`` below ``folder``.
    """
    port = free_port()
    settings = folder / ".ssh"
    settings.mkdir(mode=0o700)
    for name in ("host", "id"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(settings / name)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(settings / "id.pub", settings / "authorized_keys")
    (settings / "known_hosts").write_text(f"[127.0.0.1]:{port} {(settings / 'host.pub').read_text()}")
    (settings / "config").write_text(
        f"Host engine-elsewhere\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {settings / 'id'}\n  IdentitiesOnly yes\n  UserKnownHostsFile {settings / 'known_hosts'}\n"
    )
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {settings / 'host'}\nAuthorizedKeysFile {settings / 'authorized_keys'}\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nMaxStartups 100\nLogLevel ERROR\n"
        f"SetEnv DOCKER_HOST={docker_host}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd leaves its privileges, made at boot otherwise
    log = folder / "sshd.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=errors)
    try:
        until(lambda: _listens(port) or process.poll() is not None, "an sshd that listens")
        assert process.poll() is None, log.read_text()
        yield "ssh://engine-elsewhere"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def with_ssh_config(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSH takes the home directory from the user database: a program in front of it names the configuration."""
    programs = home / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{home}/.ssh/config" "$@"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


def certificates(folder: Path) -> None:
    """``ca.pem``, ``cert.pem`` and ``key.pem`` there, good for a server and a client at 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
    now = dt.datetime.now(dt.UTC)

    def signed(name: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    purposes = x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    (folder / "ca.pem").write_bytes(
        signed(issuer, authority.public_key(), x509.BasicConstraints(ca=True, path_length=0))
    )
    (folder / "cert.pem").write_bytes(signed(name, key.public_key(), address, purposes))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@contextmanager
def tls_engine(folder: Path) -> Iterator[list[str]]:
    """A daemon at tcp://127.0.0.1:2376, in a network of its own, with ``certificates`` in ``folder/tls`` and ``SMALL_IMAGE``.

    Tells what to put before a command so that it runs in that network. Without networks for containers: a daemon that has
    none removes the bridge docker0 where it starts, be it another's.
    """
    certificates(folder / "tls")
    # containerd's sockets lie in it, whose paths have at most 104 characters.
    sockets = tempfile.mkdtemp(prefix="tls-")
    tls = [
        f"--tls{one}={folder / 'tls' / file}.pem" for one, file in (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
    ]
    command = [
        *("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
        *("dockerd", "--tlsverify", *tls, "--host=tcp://127.0.0.1:2376", f"--host=unix://{folder}/s"),
        *("--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=vfs"),
        *(f"--data-root={folder}/data", f"--exec-root={sockets}", f"--pidfile={folder}/pid"),
    ]
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        until(lambda: answers(f"unix://{folder}/s") or process.poll() is not None, "a daemon that answers")
        assert process.poll() is None, log.read_text()
        client = docker.APIClient(f"unix://{folder}/s", version="1.41")
        repository, _, tag = SMALL_IMAGE.partition(":")
        client.import_image_from_data(_small_root(), repository=repository, tag=tag)
        client.close()
        yield ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(sockets, ignore_errors=True)


def _small_root() -> bytes:
    """A root file system with this machine's own ``cat`` and ``sleep``, and what they are linked to."""
    wanted = {"/bin/cat", "/bin/sleep"}
    for program in sorted(wanted):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
        wanted |= {word for word in linked if word.startswith("/")}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for path in sorted(wanted):
            archive.add(path)
    return buffer.getvalue()
