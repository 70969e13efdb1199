"""Which processes are ours: those that carry our mark in their environment, wherever in the tree they have gone.

MineRL starts Java in a session of its own, through a shell script and beside a watcher daemon, so neither process groups nor
parents find it again. The environment is inherited by all of them. A mark names the process that it belongs to (id, start time,
and where that id counts), so anybody can tell later whether a process has outlived its owner. Linux only: elsewhere nothing
is found.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

OWNER = "VPT_MINERL_OWNER"
"""Environment variable of everything that was started for a client or a server: the mark."""
SESSION = "VPT_MINERL_SESSION"
"""Of everything that was started for one env."""
FOLDER = "vpt-minerl-"
"""What the names of folders begin with that clients make for their servers; the client's mark follows."""
_PROC = Path("/proc")
UNSEEN = 2
"""Times in a row that no process may be seen before there is none."""
END_SECONDS = 10.0
"""What killed processes have to end."""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (the second, a name in brackets, may hold anything)."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none (a zombie counts as none)."""
    try:
        fields = _stat(pid)
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _world() -> str:
    """The number of the namespace in which our process numbers count: a container has one of its own."""
    try:
        link = os.readlink(str(_PROC / "self" / "ns" / "pid"))  # noqa: PTH115 - Python 3.8
    except OSError:
        return ""
    return "".join(filter(str.isdigit, link))


def new_mark() -> str:
    """A mark that belongs to this process."""
    return f"{os.getpid()}.{_started(os.getpid())}.{_world()}.{secrets.token_hex(4)}"


def has_owner(mark: str) -> bool:
    """Whether the process that a mark belongs to still runs; True for one in another container, which cannot be seen."""
    pid, started, world = [*mark.split("."), "", ""][:3]
    if world.isdigit() and world != _world():
        return True
    return pid.isdigit() and started != "" and _started(int(pid)) == started


def _marked(name: str) -> list[tuple[int, str]]:
    """(process, value) of every other process of ours whose environment has the variable."""
    found = []
    wanted = name.encode() + b"="
    for folder in _PROC.iterdir() if _PROC.is_dir() else ():
        entry = folder.name
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            content = (folder / "environ").read_bytes()
        except OSError:
            continue  # gone, or another user's
        if wanted in content:
            values = [part[len(wanted) :] for part in content.split(b"\0") if part.startswith(wanted)]
            if values:
                found.append((int(entry), values[0].decode(errors="replace")))
    return found


def marked(name: str, value: str) -> list[int]:
    """The other processes whose environment has this variable with this value, or with one below it (value/...)."""
    return [pid for pid, found in _marked(name) if found == value or found.startswith(f"{value}/")]


def end_marked(name: str, value: str) -> list[int]:
    """Kill the processes marked so, and wait until none is left. Returns whom it killed.

    They may be starting others, and a process has no environment to be seen for the moment in which it begins a program: so
    none has to be seen several times in a row.
    """
    killed: dict[int, str] = {}
    unseen = 0
    deadline = time.monotonic() + END_SECONDS
    while unseen < UNSEEN and time.monotonic() < deadline:
        alive = {pid: start for pid in marked(name, value) if (start := _started(pid))}
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(alive)
        dying = any(_started(pid) == start for pid, start in killed.items())  # on a busy machine it takes a while
        unseen = 0 if alive or dying else unseen + 1
        time.sleep(0.02)
    return list(killed)


def end_orphans() -> list[int]:
    """Kill what belongs to owners that are gone. Returns whom it killed. Processes without our mark are never touched."""
    killed = []
    for mark in {mark for _, mark in _marked(OWNER) if not has_owner(mark)}:
        killed += end_marked(OWNER, mark)
    return killed


def memory(name: str, value: str, page: int = os.sysconf("SC_PAGE_SIZE")) -> int:
    """Bytes of memory that the processes marked so, and this one, have in use."""
    total = 0
    for pid in [*marked(name, value), os.getpid()]:
        with contextlib.suppress(OSError, IndexError):
            total += int(_stat(pid)[21]) * page
    return total
