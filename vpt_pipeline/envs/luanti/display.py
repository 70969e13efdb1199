"""A private X server without a screen, for one game."""

from __future__ import annotations

import os
import select
import subprocess

from vpt_pipeline.envs.luanti.children import spawn

START_SECONDS = 30.0


class Display:
    """An Xvfb of our own on a display number that Xvfb itself finds free. It ends with this process at the latest.

    SIGTERM, not SIGKILL, is its signal at the parent's death, so that it takes its lock file and socket along.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        told, tell = os.pipe()
        command = ["Xvfb", "-displayfd", str(tell), "-nolisten", "tcp", "-dpi", "96"]
        command += ["-screen", "0", f"{size[0]}x{size[1]}x24"]
        quiet = subprocess.DEVNULL
        self._server = spawn(command, death_signal="TERM", pass_fds=(tell,), stdout=quiet, stderr=quiet)
        os.close(tell)
        text = b""
        while not text.endswith(b"\n") and select.select([told], [], [], START_SECONDS)[0]:
            part = os.read(told, 16)
            if not part:
                break
            text += part
        os.close(told)
        if not text.endswith(b"\n"):
            self.close()
            raise RuntimeError(f"Xvfb did not start: {' '.join(command)}")
        self.name = f":{int(text)}"

    def close(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
