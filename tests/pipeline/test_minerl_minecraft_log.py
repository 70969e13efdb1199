"""Minecraft's output is read whatever MineRL does, and little of it is kept."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vpt_pipeline.envs.minerl.server import minecraft_log

MINECRAFT = """
print("***** Start MalmoEnvServer on port 9000")
print("[Render thread/INFO]: CLIENT enter state: DORMANT", flush=True)
for turn in range(3000):  # much more than a pipe holds
    for statistic in ("custom.play_one_minute", "mine_block.oak_log", "kill_entity.pig", "custom.deaths"):
        print("[12:00:00] [Render thread/INFO]: [STDOUT]:", statistic)
    print("[12:00:00] [Server thread/INFO]: Saving chunks for level", turn, "." * 200)
print("java.lang.OutOfMemoryError: Java heap space", flush=True)
"""


class Malmo:
    """The part of MineRL's module that starts Minecraft."""

    class MinecraftInstance:
        def _launch_minecraft(self) -> Any:
            return subprocess.Popen([sys.executable, "-c", MINECRAFT], stdout=subprocess.PIPE)


def test_minecraft_never_waits_for_a_reader_and_its_last_words_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(minecraft_log.FOLDER, str(tmp_path))
    monkeypatch.setattr(minecraft_log, "_latest", None)
    for _ in range(2):  # once is enough
        minecraft_log.mend(Malmo)
    process = Malmo.MinecraftInstance()._launch_minecraft()
    lines: list[bytes] = []
    while not (lines and minecraft_log.READY in lines[-1]):  # what MineRL does
        lines.append(process.stdout.readline())
    assert len(lines) == 2 and b"on port 9000" in lines[0]
    assert process.stdout.readline() == b""  # MineRL's own thread has nothing to write
    assert process.wait(timeout=60) == 0
    until = time.monotonic() + 30
    while "OutOfMemoryError" not in minecraft_log.last_words(1) and time.monotonic() < until:
        time.sleep(0.02)
    words = minecraft_log.last_words(2).splitlines()
    assert words[0].startswith("[12:00:00] [Server thread/INFO]: Saving chunks for level 2999")
    assert words[1] == "java.lang.OutOfMemoryError: Java heap space"
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    assert text.endswith("\n".join(words) + "\n") and file.stat().st_size <= minecraft_log.MOST
    assert "custom." not in text and "mine_block." not in text
