"""What the way to MineRL costs: steps a second and added latency through the env server, with a game that costs nothing.

    python -m benchmarks.minerl_server                    # a server of our own, frames through shared memory
    python -m benchmarks.minerl_server --tcp              # a server elsewhere (here: on loopback), frames through the socket

The game is Fake-v0 with a frame that never changes, 640x360. Its own cost is measured in this process and taken off. Wall times
mean something on an idle machine only; the CPU time of both sides is told beside them, and says what an idle machine would do.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from data.actions import ENV_BUTTONS
from vpt_pipeline.envs.minerl import MinerlEnv, MinerlSettings
from vpt_pipeline.envs.minerl.server import owned
from vpt_pipeline.envs.minerl.server.fake import FakeGame
from vpt_pipeline.envs.minerl.settings import SERVER

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Args:
    """Settings."""

    steps: int = 3000
    tcp: bool = False
    quick: bool = False
    """A few steps only."""


@contextlib.contextmanager
def server(tcp: bool) -> Iterator[MinerlSettings]:
    """Settings of a server of our own, or of one on loopback."""
    if not tcp:
        yield MinerlSettings(python=sys.executable)
        return
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_text(secrets.token_hex(16))
        line = [sys.executable, str(SERVER), "--listen", "127.0.0.1:0", "--key-file", str(key)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port = process.stdout.readline().rpartition(":")[2].strip()
        try:
            yield MinerlSettings(server=f"127.0.0.1:{port}", key_file=str(key))
        finally:
            process.terminate()
            process.wait()


def spent() -> float:
    """CPU seconds of every marked process."""
    return sum(sum(map(int, owned._stat(pid)[11:13])) for pid, _ in owned._marked(owned.SESSION)) / TICKS


def main(args: Args) -> None:
    steps = 200 if args.quick else args.steps
    action = {name: int(name in ("forward", "attack")) for name in ENV_BUTTONS} | {
        "camera": np.array([0.1, 3.0], np.float32)
    }
    game = FakeGame(static=True)
    game.reset(1)
    begun = time.perf_counter()
    for _ in range(steps):
        game.step(["forward", "attack"], [0.1, 3.0])
    alone = (time.perf_counter() - begun) / steps
    with server(args.tcp) as settings, MinerlEnv("Fake-v0", settings=settings, static=True) as env:
        env.reset(seed=1)
        for _ in range(50):
            env.step(action)
        waits = np.empty(steps)
        there, here, begun = spent(), time.process_time(), time.perf_counter()
        for step in range(steps):
            before = time.perf_counter()
            env.step(action)
            waits[step] = time.perf_counter() - before
        wall, here, there = time.perf_counter() - begun, time.process_time() - here, spent() - there
    added = (waits - alone) * 1000
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'TCP on loopback' if args.tcp else 'shared memory'}, 640x360, {steps} steps; "
        f"the game alone {alone * 1000:.3f} ms a step"
    )
    print(f"  {steps / wall:.0f} steps/s")
    print(
        f"  added latency ms: median {np.median(added):.2f}, mean {added.mean():.2f}, 95 % {np.quantile(added, 0.95):.2f}"
    )
    print(f"  CPU ms a step: client {here / steps * 1000:.2f}, server {there / steps * 1000:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
