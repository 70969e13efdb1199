"""Whether a labelling job loses anything: killed hard again and again, on two nodes, with poison among its videos.

    python -m benchmarks.label_soak --kills 20

Makes clips of mixed codecs, containers, rates, lengths and defects, labels them in one process, and then on a Ray cluster
of two nodes on this machine, while workers, decoding processes, a node's raylet and the driver itself are killed with
SIGKILL at random moments; a killed driver's command is given again. In the end every label must be there once and equal.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import tyro
from ray.cluster_utils import Cluster

from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import POISON, make_model
from vpt_pipeline.cluster.books import Books
from vpt_pipeline.label import LabelConfig, label_videos
from vpt_pipeline.progress import say

POISONED = ("segfault", "hang", "raise", "eat")


@dataclass(frozen=True)
class Args:
    """Settings."""

    clips: int = 64
    """Clips to make, beside those given."""
    real: tuple[Path, ...] = ()
    """Other clips to label with them."""
    kills: int = 20
    """Processes to kill."""
    longest: int = 2400
    """Frames of the longest clips."""
    minutes: float = 20
    """When to give up."""
    seed: int = 0
    folder: Path = Path("runs/soak")
    """Where everything goes; emptied first."""
    quick: bool = False
    """A few short clips and two kills."""


_KINDS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("mp4", "libx264", {"bf": "2", "g": "60"}),
    ("mkv", "libx264", {"bf": "0", "g": "250"}),
    ("mp4", "mpeg4", {}),
    ("avi", "mpeg4", {}),
    ("ts", "libx264", {"bf": "2", "g": "50"}),
    ("mov", "mjpeg", {}),
    ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    ("mkv", "libx265", {"x265-params": "log-level=none"}),
    ("flv", "flv", {}),
)


def make_clips(folder: Path, args: Args) -> None:
    """Mixed codecs, rates (constant or not), sizes and lengths; some broken; and the poison."""
    rng = random.Random(args.seed)
    folder.mkdir(parents=True)
    pictures, _ = turning_world(600, args.seed, (72, 128))
    for number in range(args.clips):
        suffix, codec, options = _KINDS[number % len(_KINDS)]
        rate = rng.choice([15, 20, 20, 24, 30, 60])
        frames = rng.choice([1, 7, 40, 200, 500, 900, args.longest])
        size = rng.choice([(128, 72), (192, 108), (162, 90)])
        path = folder / f"clip-{number:03d}.{suffix}"
        _encode(
            path,
            pictures,
            frames,
            codec,
            rate,
            size,
            dict(options),
            rng.random() < 0.2 and suffix in ("mp4", "mkv"),
            rng,
        )
        harm = rng.random()
        content = bytearray(path.read_bytes())
        if harm < 0.08:
            path.write_bytes(content[: len(content) * 2 // 3])
        elif harm < 0.16:
            for _ in range(6):
                content[rng.randrange(len(content) // 4, len(content))] ^= 0xFF
            path.write_bytes(content)
        elif harm < 0.2:
            path.write_bytes(b"" if harm < 0.18 else os.urandom(5000))
    for name in POISONED:
        _encode(folder / f"{name}.mp4", pictures, 300, "libx264", 20, (128, 72), {}, False, rng)
    for clip in args.real:
        shutil.copy(clip, folder / f"real-{clip.name}")


def _encode(
    path: Path,
    pictures: list[np.ndarray],
    frames: int,
    codec: str,
    rate: int,
    size: tuple[int, int],
    options: dict[str, str],
    uneven: bool,
    rng: random.Random,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate * 10) if uneven else Fraction(1, rate)
        pts = 0
        for index in range(frames):
            # Through the pictures and back, so that every clip moves all the time.
            turn = index % (2 * len(pictures))
            picture = pictures[min(turn, 2 * len(pictures) - 1 - turn)]
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
                *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            )
            frame.pts, frame.time_base = pts, stream.codec_context.time_base
            pts += rng.choice([5, 10, 15]) if uneven else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def processes(word: str) -> list[int]:
    """Those of this machine whose command line has the word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


class Killer:
    """Ends something at random, and says what. The driver is started again, a node is joined again."""

    def __init__(self, cluster: Cluster, command: list[str], log: Path, seed: int) -> None:
        self.cluster, self.command, self.log = cluster, command, log
        self.random = random.Random(seed)
        self.node = cluster.add_node(num_cpus=1)
        self.driver = self.start()
        self.counts = dict.fromkeys(("worker", "decoder", "raylet", "driver"), 0)

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as stream:
            return subprocess.Popen(self.command, stdout=stream, stderr=stream)

    def kill(self) -> str | None:
        what = self.random.choice(("worker", "worker", "decoder", "decoder", "raylet", "driver", "driver"))
        if what == "driver":
            self.driver.kill()
            self.driver.wait()
            self.driver = self.start()
        elif what == "raylet":
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = self.cluster.add_node(num_cpus=1)
        else:
            pids = processes("ray::LabelWorker" if what == "worker" else "vpt_pipeline.cluster.decode_process")
            if not pids:
                return None
            try:
                os.kill(self.random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return None
        self.counts[what] += 1
        return what


def main(args: Args) -> int:
    if args.quick:
        args = replace(args, clips=6, kills=2, longest=900)
    shutil.rmtree(args.folder, ignore_errors=True)
    clips, labels = args.folder / "clips", args.folder / "labels"
    make_clips(clips, args)
    model = make_model(args.folder / "model")
    whole = [str(path) for path in sorted(clips.iterdir()) if path.stem not in POISONED]
    begun = time.monotonic()
    label_videos(LabelConfig(videos=tuple(whole), model=model, out=str(args.folder / "expected")))
    expected = {path.name: path.read_bytes() for path in (args.folder / "expected").glob("*.parquet")}
    say(f"{len(whole)} clips labelled by one process in {time.monotonic() - begun:.0f} s: {len(expected)} tables")

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    command = [
        sys.executable,
        "-m",
        "vpt_pipeline",
        "label",
        str(clips),
        "--model",
        str(model),
        "--out",
        str(labels),
    ]
    command += ["--cluster", cluster.address, "--cpus", "1", "--span-minutes", "0.4", "--reader", POISON]
    command += ["--patience", "10", "--memory-gb", "1"]
    killer = Killer(cluster, command, args.folder / "driver.log", args.seed)
    begun, waits = time.monotonic(), random.Random(args.seed + 1)
    code: int | None = None
    try:
        time.sleep(15)
        while time.monotonic() - begun < args.minutes * 60:
            code = killer.driver.poll()
            if code is not None:
                break
            if sum(killer.counts.values()) < args.kills and (what := killer.kill()):
                say(f"{time.monotonic() - begun:5.0f} s: killed a {what}")
                time.sleep(waits.uniform(0.5, 4))
            else:
                time.sleep(0.5)
    finally:
        killer.driver.kill()
        cluster.shutdown()  # type: ignore[no-untyped-call]
    return judge(args, killer.counts, code, time.monotonic() - begun, expected)


def judge(args: Args, counts: dict[str, int], code: int | None, seconds: float, expected: dict[str, bytes]) -> int:
    found = {path.name: path.read_bytes() for path in (args.folder / "labels" / "v1" / "labels").glob("*.parquet")}
    books = Books(args.folder / "labels" / "v1" / "books.sqlite")
    given_up = {video.name: video.error for video in books.videos() if video.state == "quarantined"}
    open_ones = [video.name for video in books.videos() if video.state == "open"]
    books.close()
    for name, error in given_up.items():
        say(f"  given up: {name}: {error}")
    different = sorted(name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name))
    killed = ", ".join(f"{count} {what}" for what, count in counts.items())
    say(f"{sum(counts.values())} kills ({killed}) in {seconds:.0f} s; the last command ended with {code}")
    equal = sum(found.get(name) == table for name, table in expected.items())
    say(
        f"{len(found)} tables of {len(expected)}, {equal} equal byte for byte; {len(given_up)} given up, {len(open_ones)} open"
    )
    for name in different:
        wrong = "unexpected" if name not in expected else "missing" if name not in found else "different"
        say(f"[red]{name}: {wrong}[/red]")
    poison = set(POISONED) <= set(given_up)
    good = not different and not open_ones and poison and sum(counts.values()) >= args.kills
    say("[green]nothing lost[/green]" if good else "[red]not as it should be[/red]")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
