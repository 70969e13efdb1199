"""Messages between client and server: JSON and raw bytes, each message with its length before it, after a proof of the key.

A message: magic, two lengths (big-endian), a JSON object, raw bytes. Nothing is unpickled or evaluated; lengths are
limited, more strictly before the proof. Both sides prove that they know the key (HMAC-SHA256 over both sides' fresh
random numbers, a label a direction), so that neither can be fooled by an echo. What follows is not encrypted: between
machines, go through an ssh tunnel.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import struct
import time
from typing import Any

VERSION = 1
"""Of the messages. Client and server of different versions refuse each other."""
MAGIC = b"VPTM"
_HEAD = struct.Struct("!4sII")
MAX_TEXT, MAX_RAW = 8 << 20, 32 << 20
MAX_STRANGER = 1024
"""The longest message from somebody who has not proved the key, in bytes."""
HANDSHAKE_SECONDS = 10.0
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""When nothing comes for so many seconds, the other machine is asked, so often, so many times (by default after 2 hours)."""


class WireError(RuntimeError):
    """What came is no message of ours, or nothing came in time, or the other side is gone."""


class WireTimeoutError(WireError):
    """Nothing, or only part of a message, came in time."""


class WireClosedError(WireError):
    """The other side is gone."""


class Channel:
    """One connection. Every method may raise WireError; the connection is of no use afterwards."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        if link.family != getattr(socket, "AF_UNIX", None):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a machine that is gone says no goodbye
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: dict[str, Any], raw: Any = b"", timeout: float | None = None) -> None:
        """raw: bytes or anything with a buffer of bytes."""
        text = json.dumps(message, separators=(",", ":")).encode()
        view = memoryview(raw).cast("B")
        self._link.settimeout(timeout)
        try:
            self._link.sendall(_HEAD.pack(MAGIC, len(text), len(view)) + text)
            if len(view):
                self._link.sendall(view)
        except TimeoutError:
            raise WireTimeoutError(f"nobody took a message within {timeout:g} s") from None
        except OSError as error:
            raise WireClosedError(f"the other side is gone ({error})") from None

    def receive(self, timeout: float | None = None, stranger: bool = False) -> tuple[dict[str, Any], bytearray]:
        """The next message and its raw bytes. timeout: seconds for the whole of it, however it trickles in."""
        deadline = None if timeout is None else time.monotonic() + timeout
        head = self._read(_HEAD.size, deadline, timeout)
        magic, text_size, raw_size = _HEAD.unpack(head)
        if magic != MAGIC:
            raise WireError(f"expected a message that begins with {MAGIC!r}, found {bytes(head)!r}")
        limits = (MAX_STRANGER, 0) if stranger else (MAX_TEXT, MAX_RAW)
        if text_size > limits[0] or raw_size > limits[1]:
            raise WireError(f"a message of {text_size} + {raw_size} bytes; at most {limits[0]} + {limits[1]} are taken")
        text = self._read(text_size, deadline, timeout)
        raw = self._read(raw_size, deadline, timeout)
        try:
            message = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
            raise WireError(f"expected a JSON object, found {bytes(text[:60])!r} ({error})") from None
        if not isinstance(message, dict):
            raise WireError(f"expected a JSON object, found a {type(message).__name__}")
        return message, raw

    def _read(self, size: int, deadline: float | None, timeout: float | None) -> bytearray:
        data = bytearray(size)
        view, have = memoryview(data), 0
        while have < size:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise WireTimeoutError(f"no answer within {timeout:g} s")
            self._link.settimeout(left)
            try:
                count = self._link.recv_into(view[have:])
            except TimeoutError:
                continue  # the clock decides, above
            except OSError as error:
                raise WireClosedError(f"the other side is gone ({error})") from None
            if not count:
                raise WireClosedError("the other side closed the connection")
            have += count
        return data

    def close(self) -> None:
        self._link.close()


def _proof(key: bytes, label: str, server: str, client: str) -> str:
    return hmac.new(key, f"{label} {VERSION} {server} {client}".encode(), hashlib.sha256).hexdigest()


def greet(channel: Channel, key: bytes) -> None:
    """The server's half of the proof. Raises WireError for a client of another version or without the key."""
    ours = secrets.token_hex(16)
    channel.send({"server": "vpt minerl", "version": VERSION, "nonce": ours}, timeout=HANDSHAKE_SECONDS)
    hello, _ = channel.receive(HANDSHAKE_SECONDS, stranger=True)
    if hello.get("version") != VERSION:
        channel.send({"error": f"this server speaks version {VERSION}"}, timeout=HANDSHAKE_SECONDS)
        raise WireError(f"a client of version {hello.get('version')!r}, expected {VERSION}")
    theirs = str(hello.get("nonce"))
    if not hmac.compare_digest(str(hello.get("proof")).encode(), _proof(key, "client", ours, theirs).encode()):
        channel.send({"error": "wrong key"}, timeout=HANDSHAKE_SECONDS)
        raise WireError("a client without the key")
    channel.send({"proof": _proof(key, "server", ours, theirs)}, timeout=HANDSHAKE_SECONDS)


def join(channel: Channel, key: bytes, timeout: float = HANDSHAKE_SECONDS) -> None:
    """The client's half. Raises WireError for what is no server of ours, has another version, or does not know the key."""
    hello, _ = channel.receive(timeout, stranger=True)
    if hello.get("server") != "vpt minerl":
        raise WireError(f"expected a MineRL env server, found {hello!r}")
    if hello.get("version") != VERSION:
        raise WireError(
            f"the server speaks version {hello.get('version')!r}, this client version {VERSION}: copy the folder "
            "vpt_pipeline/envs/minerl/server of this installation to where it runs, and start it again"
        )
    theirs, ours = str(hello.get("nonce")), secrets.token_hex(16)
    channel.send({"version": VERSION, "nonce": ours, "proof": _proof(key, "client", theirs, ours)}, timeout=timeout)
    answer, _ = channel.receive(timeout, stranger=True)
    if "error" in answer:
        raise WireError(f"the server refused this client: {answer['error']}")
    if not hmac.compare_digest(str(answer.get("proof")).encode(), _proof(key, "server", theirs, ours).encode()):
        raise WireError("the server does not know the key: it is not the one that was started for this client")
