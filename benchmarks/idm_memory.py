"""Peak memory of loading the published-size inverse dynamics model, and of labelling a video with it.

    python -m benchmarks.idm_memory

Writes a model of random weights as published files (NAME.model, NAME.weights) and a short video into a temporary folder,
then loads, and labels, each in a fresh process. One copy of the weights is as large as the file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.label_speed import made_up

WRITE = """
import sys
from pathlib import Path
import torch
from idm.checkpoint import save_published_model
from idm.config import preset
from idm.model import InverseDynamicsModel
torch.manual_seed(0)
save_published_model(Path(sys.argv[1]), InverseDynamicsModel(preset(sys.argv[2])))
"""
NOTHING = "import idm.checkpoint, vpt_pipeline.label"
LOAD = NOTHING + "\nimport sys\nfrom pathlib import Path\nmodel = idm.checkpoint.load_model(Path(sys.argv[1]))[0]\n"
READ = LOAD + "print(sum(float(p.sum()) for p in model.parameters())!= 0, file=sys.stderr)"
LABEL = """
import sys
from pathlib import Path
from vpt_pipeline.label import LabelConfig, label_videos
model, video, out, precision = sys.argv[1:]
done = label_videos(LabelConfig(videos=(video,), model=Path(model), out=out, precision=precision))
assert all(entry.status == "done" for entry in done.videos.values()), done
"""
PEAK = "\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


@dataclass(frozen=True)
class Args:
    """Settings."""

    preset: str = "vpt_4x"
    seconds: float = 10.0
    """Length of the video; two windows of 128 frames are 12.8."""
    quick: bool = False
    """A small model instead."""


def peak(code: str, *arguments: str | Path) -> int:
    """MiB that a fresh process took at most."""
    command = [sys.executable, "-c", code + PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split()[-1])


def main(args: Args) -> None:
    """Print peak memory of each step."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        peak(
            WRITE, folder / "idm.model", "vpt_debug" if args.quick else args.preset
        )  # a child's peak counts its parent's
        frames = made_up(folder / "video.mp4", (1.0 if args.quick else args.seconds) / 60)
        size = (folder / "idm.weights").stat().st_size // 2**20
        nothing = peak(NOTHING)
        print(f"weights {size} MiB; importing the package {nothing} MiB")
        print(
            f"loading: {peak(LOAD, folder / 'idm.model')} MiB; every weight read once: {peak(READ, folder / 'idm.model')} MiB"
        )
        for precision in ("float32", "bfloat16"):
            most = peak(LABEL, folder / "idm.model", folder / "video.mp4", folder / precision, precision)
            print(f"labelling {frames} frames in {precision}: {most} MiB", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
