"""How long is it from recordings to a playing agent? `vpt index` from nothing, then the agent's first action.

    python -m benchmarks.index_time runs/play/logs --model runs/prior        # ten recordings of it

Nothing is cached: frames are decoded, scaled, compared and encoded. The time to start Python and to load the model counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from data.recording import find_recordings


@dataclass(frozen=True)
class Args:
    """Settings."""

    recordings: tyro.conf.Positional[Path] = Path("runs/play")
    model: str = "runs/prior"
    count: int = 10
    """So many of the recordings."""
    repeats: int = 3
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


def once(recordings: list[Path], model: str) -> tuple[float, float]:
    """Seconds of `vpt index`, and of another process from its start to the agent's first action."""
    with tempfile.TemporaryDirectory() as folder:
        play = Path(folder) / "play"
        play.mkdir()
        for video in recordings:
            for file in video.parent.glob(f"{video.stem}.*"):
                (play / file.name).symlink_to(file.resolve())
        index = ["index", str(play), "--model", model, "--out", f"{folder}/set", "--cache", f"{folder}/cache"]
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "vpt_pipeline", *index], check=True, capture_output=True)
        indexed = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmarks.index_time", "act", f"{folder}/set"], check=True)
        return indexed - begun, time.perf_counter() - indexed


def act(folder: Path) -> None:
    """One action of the set's agent, on noise."""
    from search_agent.session import open_agent

    agent = open_agent(folder)
    agent.act({"pov": np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)})


def main(args: Args) -> None:
    """Measure and print."""
    if args.quick:
        from benchmarks._small import small_play, small_prior  # not in the process whose start is measured

        with tempfile.TemporaryDirectory() as folder:
            play = small_play(Path(folder) / "play")
            return main(Args(play[0], str(small_prior(Path(folder), play)), 2, 1))
    videos = [r.video for r in find_recordings(args.recordings) if r.actions is not None][: args.count]
    frames = sum(int(r.load_meta().get("frames", 0)) for r in find_recordings(args.recordings)[: args.count])
    times = [once(videos, args.model) for _ in range(args.repeats)]
    index, first = np.median(np.array(times), 0)
    print(
        f"{len(videos)} recordings, {frames / 1200:.1f} min: indexed in {index:.1f} s, first action {first:.1f} s later"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["act"]:
        act(Path(sys.argv[2]))
    else:
        main(tyro.cli(Args))
