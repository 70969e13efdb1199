"""Whether a labelling job's memory grows with how many videos it has, or with how long they are.

    python -m benchmarks.label_memory

Three jobs of `vpt label --cluster local`, each in fresh processes: some short videos, ten times as many, and as many that
are ten times as long. The peak of the memory that the job's processes share fairly (PSS: driver, workers and decoding
processes, without Ray's own) and of Ray's object store is compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.label_speed import made_up
from idm.checkpoint import save_model
from idm.config import preset
from idm.model import InverseDynamicsModel

PARTS = {
    "driver": "vpt_pipeline label",
    "workers": "ray::LabelWorker",
    "decoding": "vpt_pipeline.cluster.decode_process",
}


@dataclass(frozen=True)
class Args:
    """Settings."""

    videos: int = 8
    seconds: float = 20
    """Of the short videos."""
    preset: str = "luanti_small"
    quick: bool = False
    """Three short videos of four seconds instead."""


def measure() -> dict[str, float]:
    """MiB now of each part of the job, and of the object store."""
    found = dict.fromkeys([*PARTS, "object store"], 0.0)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            for part, word in PARTS.items():
                if word in line and (
                    share := re.search(r"^Pss: +(\d+) kB", (process / "smaps_rollup").read_text(), re.M)
                ):
                    found[part] += int(share[1]) / 2**10
    store = os.statvfs("/dev/shm")  # its file has no name any more, but takes room
    found["object store"] = (store.f_blocks - store.f_bfree) * store.f_frsize / 2**20
    return found


def job(folder: Path, videos: Path, model: Path) -> tuple[dict[str, float], float]:
    """Peaks of each part, and seconds."""
    command = [sys.executable, "-m", "vpt_pipeline", "label", str(videos), "--model", str(model)]
    command += ["--out", str(folder / f"out-{videos.name}"), "--cluster", "local", "--span-minutes", "0.5"]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: dict[str, float] = {}
    while process.poll() is None:
        now = measure()
        now["all"] = sum(now.values())
        peaks = {part: max(value, peaks.get(part, 0.0)) for part, value in now.items()}
        time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"the job ended with {process.returncode}")
    return peaks, time.monotonic() - begun


def main(args: Args) -> None:
    """Print the peaks of the three jobs."""
    count, seconds = (3, 4.0) if args.quick else (args.videos, args.seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_model(folder / "model", InverseDynamicsModel(preset(args.preset)).eval())
        made_up(folder / "short.mp4", seconds / 60)
        made_up(folder / "long.mp4", seconds / 6)
        for name, copies, source in (
            ("some", count, "short"),
            ("more", 10 * count, "short"),
            ("longer", count, "long"),
        ):
            (folder / name).mkdir()
            for number in range(copies):
                (folder / name / f"{number:04d}.mp4").symlink_to(folder / f"{source}.mp4")
            peaks, took = job(folder, folder / name, folder / "model")
            each = ", ".join(f"{part} {value:.0f}" for part, value in peaks.items())
            length = seconds if source == "short" else 10 * seconds
            print(f"{copies} videos of {length:g} s, in {took:.0f} s: peak MiB: {each}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
