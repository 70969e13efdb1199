"""The server's command: listens, lets in who proves the key, and gives each client a process of its own for its env.

A process for each env: one that hangs, dies or leaks takes nothing with it. When its client is gone and it does not end
by itself, it is killed, and so is everything that it started (Java, MineRL's watcher). Strangers cost a thread for ten
seconds, no more.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from . import facts, owned, wire
from .session import serve

CLOSE_SECONDS = 20.0
"""What an env whose client is gone has to put its things away (MineRL needs several to end Minecraft)."""
STRANGERS = 16
"""Connections at a time that have not proved the key yet; more are closed at once."""
_numbers = itertools.count()
_places = threading.BoundedSemaphore(STRANGERS)
_client_gone = threading.Event()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="server", description="MineRL environments for clients of vpt-pipeline.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="listen on this local socket; its folder is where frames are shared")
    where.add_argument(
        "--listen", metavar="HOST:PORT", help="listen here; nothing is encrypted: prefer 127.0.0.1 and an ssh tunnel"
    )
    where.add_argument(
        "--facts", action="store_true", help="print what this interpreter has of MineRL, as JSON, and end"
    )
    where.add_argument("--session", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--key-file", type=Path, help="the key, any text of at least 16 characters; default: the first line of stdin"
    )
    parser.add_argument("--follow-stdin", action="store_true", help="end when stdin ends")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.facts:
        facts.tell()
        return 0
    if options.session is not None:
        serve(wire.Channel(socket.socket(fileno=options.session)), options.folder)
        return 0
    key = (options.key_file.read_text() if options.key_file else sys.stdin.readline()).strip().encode()
    if len(key) < 16:
        print(f"the key has {len(key)} characters, expected at least 16", file=sys.stderr)
        return 2
    os.environ.setdefault(owned.OWNER, owned.new_mark())
    if options.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(options.socket))
        options.socket.chmod(0o600)
    else:
        host, _, port = options.listen.rpartition(":")
        listener = socket.create_server((host, int(port)))
        if host not in ("127.0.0.1", "localhost", "::1"):
            print(f"note: what goes to {host} is authenticated but not encrypted", file=sys.stderr, flush=True)
        print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.follow_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    folder = options.socket.parent if options.socket else None
    try:
        while True:
            link, _ = listener.accept()
            if not _places.acquire(blocking=False):
                link.close()
                continue
            threading.Thread(target=_welcome, args=(link, key, folder), daemon=True).start()
    except KeyboardInterrupt:
        return 0
    finally:
        # The envs alone: xvfb-run, which may be above us, puts its things away itself.
        owned.end_marked(owned.SESSION, os.environ[owned.OWNER])
        if options.socket:
            with contextlib.suppress(OSError):
                options.socket.unlink()
            if _client_gone.is_set() and options.socket.parent.name.startswith(owned.FOLDER):
                shutil.rmtree(options.socket.parent, ignore_errors=True)  # who made it for us cannot put it away


def _end_with_stdin() -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.readline():
            pass
    _client_gone.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _welcome(link: socket.socket, key: bytes, folder: Path | None) -> None:
    try:
        try:
            wire.greet(wire.Channel(link), key)
        finally:
            _places.release()
        link.settimeout(None)
        _host(link, folder)
    except wire.WireError as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
    finally:
        link.close()


def _host(link: socket.socket, folder: Path | None) -> None:
    """Start the env's process, wait until it or its client is gone, and see to it that nothing of it is left."""
    mark = f"{os.environ[owned.OWNER]}/{os.getpid()}.{next(_numbers)}"
    command = [sys.executable, str(Path(__file__).resolve().parent), "--session", str(link.fileno())]
    if folder is not None:
        command += ["--folder", str(folder)]
    environment = {**os.environ, owned.SESSION: mark}
    child = subprocess.Popen(command, pass_fds=[link.fileno()], stdin=subprocess.DEVNULL, env=environment)

    def reap() -> None:
        child.wait()
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)  # this process has the connection, too: its end is told so

    reaper = threading.Thread(target=reap, daemon=True)
    reaper.start()
    gone = select.poll()
    gone.register(link.fileno(), getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR)
    gone.poll()
    reaper.join(CLOSE_SECONDS)
    if child.poll() is None:
        child.kill()
        child.wait()
    owned.end_marked(owned.SESSION, mark)
