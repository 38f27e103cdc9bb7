"""Servers for the tests of ``paictl.weights``: files with ranges and every kind of trouble, the hub's protocol, a package index."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import urlsplit


@dataclass
class Site:
    """What the server has and how it misbehaves; tests change it while the server runs."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    length: bool = True
    conditional: bool = True  # whether it heeds If-Range
    failures: list[int] = field(default_factory=list)  # statuses to answer the next requests with
    retry_after: str = ""
    cuts: list[int] = field(default_factory=list)  # after how many bytes to cut the next answers
    hold_at: int | None = None  # stop sending after so many bytes of an answer until `released`
    redirects: dict[str, str] = field(default_factory=dict)
    hub: dict[str, str] = field(default_factory=dict)  # "owner/repo" -> commit
    large: str = ""  # where the hub redirects to for the content
    token: str = ""  # what the hub demands
    url: str = ""
    served: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    authorizations: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)  # If-Range
    released: threading.Event = field(default_factory=threading.Event)

    def add(self, path: str, content: bytes) -> str:
        self.files[path] = content
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def site(self) -> Site:
        return cast("_Server", self.server).site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        return

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        site, path = self.site, urlsplit(self.path).path
        site.requests.append((self.command, path, self.headers.get("Range", "")))
        site.authorizations.append(self.headers.get("Authorization", ""))
        site.conditions.append(self.headers.get("If-Range", ""))
        if site.failures:
            self._short(site.failures.pop(0))
        elif path in site.redirects:
            self._short(302, {"Location": site.redirects[path]})
        elif (match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)) and site.hub:
            self._hub(match[1], match[2], match[3], body=body)
        elif path in site.files:
            self._file(path, site.files[path], {}, body=body)
        else:
            self._short(404)

    def _short(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.site.retry_after and status >= 429:
            self.send_header("Retry-After", self.site.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _hub(self, repo: str, revision: str, file: str, *, body: bool) -> None:
        site = self.site
        if site.token and self.headers.get("Authorization") != f"Bearer {site.token}":
            return self._short(
                401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}
            )
        if repo not in site.hub:
            return self._short(404, {"X-Error-Code": "RepoNotFound"})
        commit = site.hub[repo]
        if revision not in {"main", commit}:
            return self._short(404, {"X-Error-Code": "RevisionNotFound"})
        content = site.files.get(f"/{repo}/{file}")
        if content is None:
            return self._short(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if not site.large:
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - what git uses
            return self._file(f"/{repo}/{file}", content, {"X-Repo-Commit": commit, "ETag": f'"{git}"'}, body=body)
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        return self._short(302, headers | {"Location": f"{site.large}/{digest}?signature=secret"})

    def _file(self, path: str, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        site = self.site
        etag = headers.get("ETag") or f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324 - any short name of the content will do
        begin, end, status = 0, len(content), 200
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and site.ranges and (not site.conditional or self.headers.get("If-Range") in {None, etag}):
            begin, end, status = int(match[1]), min(int(match[2] or len(content) - 1) + 1, len(content)), 206
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if path.startswith("/simple/") else "application/octet-stream")
        for name, value in headers.items():
            self.send_header(name, value)
        if site.etags and "ETag" not in headers:
            self.send_header("ETag", etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        if site.length:
            self.send_header("Content-Length", str(end - begin))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if body:
            with suppress(ConnectionError):
                self._send(path, content[begin:end])

    def _send(self, path: str, content: bytes) -> None:
        site = self.site
        cut = site.cuts.pop(0) if site.cuts and len(content) > 1 else len(content)
        for at in range(0, cut, 16384):
            if site.hold_at is not None and at >= site.hold_at:
                site.released.wait(60)
            chunk = content[at : min(at + 16384, cut)]
            self.wfile.write(chunk)
            site.served[path] += len(chunk)
        if cut < len(content):
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of these tests are killed on purpose: what they leave behind is not worth a traceback."""


@contextmanager
def serve(site: Site | None = None) -> Iterator[Site]:
    """A server on a free port of loopback for as long as the block runs."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.site = site or Site()
        server.site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.site
        finally:
            server.site.released.set()
            server.shutdown()
            thread.join()


def wheel(
    files: dict[str, bytes], *, name: str = "some-model", version: str = "1.0", compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A wheel with these files."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


def publish(site: Site, content: bytes, *, name: str = "some-model", version: str = "1.0") -> str:
    """Put a wheel into the site's package index (the simple repository API, with its metadata beside it); returns the wheel's path."""
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    path = f"/files/{file}"
    digest = hashlib.sha256(content).hexdigest()
    site.add(path, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        metadata = next(entry for entry in archive.namelist() if entry.endswith("METADATA"))
        site.add(f"{path}.metadata", archive.read(metadata))
    page = f'<!DOCTYPE html><html><body><a href="{path}#sha256={digest}" data-core-metadata="true">{file}</a></body></html>'
    site.add(f"/simple/{name}/", page.encode())
    return path
