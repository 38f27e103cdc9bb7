"""A program for a host: a model's server as others see it, on a Unix socket, that says one word after the other.

`words.py SOCKET COUNT PAUSE`; uses the standard library only. Answers every `GET` with a stream of server-sent events.
"""

from __future__ import annotations

import http.server
import socketserver
import sys
import time
from pathlib import Path


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Words(http.server.BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "somebody"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in range(int(sys.argv[2])):
            self.wfile.write(f"data: {number}\n\n".encode())
            time.sleep(float(sys.argv[3]))


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    _Server(sys.argv[1], _Words).serve_forever()
