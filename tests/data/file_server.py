"""A web server on this machine whose faults are chosen by the test."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class FileServer:
    """files: path -> content. faults: path -> what goes wrong with its next requests, one after the other:

    a status such as "503", "drop" (the connection ends half-way), "stall" (half-way, nothing more comes), "whole" (the
    range is ignored), "chunked" (no length is told), "redirect:URL". ranges, etags, dates: whether the server knows of
    these. heeds: whether it looks at If-Range. asked: the path and the Range of each request; sent: bytes of content.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    dates: bool = False
    heeds: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def forget(self) -> None:
        self.asked.clear()
        self.sent.clear()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(handler.path)
        wanted = handler.headers.get("Range")
        self.asked.append((path, wanted))
        fault = self.faults[path].pop(0) if self.faults[path] else ""
        if fault.startswith("redirect:"):
            handler.send_response(302)
            handler.send_header("Location", fault.partition(":")[2])
            handler.end_headers()
            return
        if fault.isdecimal() or path not in self.files:
            handler.send_response(int(fault) if fault else 404)
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        content = self.files[path]
        etag = f'"{hashlib.sha256(content).hexdigest()[:12]}"' if self.etags else ""
        date = f"Thu, 01 Jan 2026 00:00:{len(content) % 60:02} GMT" if self.dates else ""
        start = 0
        same = not self.heeds or handler.headers.get("If-Range") in (etag, date)
        if wanted and self.ranges and fault != "whole" and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                handler.send_response(416)
                handler.end_headers()
                return
        rest = content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fault == "chunked":
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(len(rest)))
        for name, value in (("ETag", etag), ("Last-Modified", date), *self.headers.items()):
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        if fault in ("drop", "stall"):
            rest = rest[: len(rest) // 2]
        self.sent[path] += len(rest)  # before it is: the client may be done at once
        if fault == "chunked":
            for part in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
                handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.wfile.write(rest)
        if fault == "stall":
            handler.wfile.flush()
            self.over.wait(20)


@contextmanager
def serving(**options: Any) -> Iterator[FileServer]:
    """A server that is up while the block runs; ``server.url`` ends in a slash."""
    server = FileServer(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            with suppress(ConnectionError):  # the client has gone
                server.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server.url = f"http://127.0.0.1:{http.server_address[1]}/"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        http.shutdown()
        http.server_close()
        thread.join()
