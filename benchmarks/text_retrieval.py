"""Do texts find their clips in recordings that no part of an embedding has seen, and what does that hang on?

    vpt record fresh --task logs dirt seeds flowers travel --player focused --minutes 1 --episodes 3 --seed 800000
    python -m benchmarks.text_retrieval fresh --embedder runs/clip

Fifty clips at a time, many draws. Beside the clips' whole texts: the deed alone, clips from a moment later and texts of other
clips, which must find less, and nothing but chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks._small import small_follower, small_play
from prior.text.embedding.clip_training import JUDGED
from prior.text.embedding.embedder import Embedder, Floats
from prior.text.embedding.features import video_features, window_embeddings
from prior.text.embedding.judging import judge_draws
from prior.text.embedding.load import load_embedder
from prior.text.embedding.pairs import TextClip, by_video
from vpt_pipeline.train_clip import captions_of


@dataclass(frozen=True)
class Args:
    """Settings."""

    play: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of recordings (`vpt record`)."""
    embedder: str = "runs/clip"
    later: int = 32
    """Frames by which clips are late in one row."""
    cache: Path = Path("runs/cache")
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


def embedded(
    embedder: Embedder, clips: list[TextClip], late: int, cache: Path
) -> tuple[list[TextClip], Floats, Floats]:
    """Those clips after which as many frames follow, their embeddings (N, D), and those of clips so many frames later."""
    kept, own, later = list[TextClip](), list[Floats](), list[Floats]()
    for video, told in by_video(clips).items():
        windows = window_embeddings(embedder, video_features(embedder, video, cache))
        inside = [clip for clip in told if clip.start + late < len(windows)]
        starts = np.array([clip.start for clip in inside], int)
        kept += inside
        own.append(windows[starts])
        later.append(windows[starts + late])
    return kept, np.concatenate(own), np.concatenate(later)


def row(
    name: str, embedder: Embedder, clips: list[TextClip], seen: Floats, said: list[str], which: NDArray[np.int64]
) -> None:
    """A line of the table. which: rows to draw from."""
    texts, kinds = embedder.encode_text([said[at] for at in which]), [clips[at].kind for at in which]
    words = [said[at] for at in which]
    even, plain = (judge_draws(texts, seen[which], kinds, words, JUDGED, even=even) for even in (True, False))
    cells = [f"{found.recall:.2f} (at best {found.ceiling:.2f})" for found in (even, plain)]
    print(f"| {name} | {' | '.join(cells)} | {even.chance:.2f} |")


def main(args: Args) -> None:
    """Embed, and print the table."""
    if args.quick:
        out = Path("runs/text_retrieval/quick")
        play = small_play(out / "play")
        small_follower(out, play)
        args = replace(args, play=play, embedder=str(out / "clip"), later=16, cache=out / "cache")
    if not args.play:
        raise ValueError("no recordings: record some with `vpt record`, and give their folders")
    embedder = load_embedder(args.embedder)
    clips = [clip for folder in args.play for clip in captions_of(folder, embedder.window, 16, 0, embedder.shape.rate)]
    if not clips:
        raise ValueError(
            f"{', '.join(map(str, args.play))}: no recording has a NAME.meta.json beside it that tells what happens; expected "
            "recordings of `vpt record`"
        )
    clips, seen, later = embedded(embedder, clips, args.later, args.cache)
    said, every = [clip.texts[0] for clip in clips], np.arange(len(clips))
    deeds = np.flatnonzero([" " in clip.kind for clip in clips])
    print(f"{len(clips)} clips of {len({clip.video for clip in clips})} recordings\n")
    print("| texts | recall@5, as many of each kind as can be | recall@5, as they come | chance |\n|---|---|---|---|")
    row("all that is known", embedder, clips, seen, said, every)
    if len(deeds) > 5:
        row("the deed alone", embedder, clips, seen, [clip.texts[1 % len(clip.texts)] for clip in clips], deeds)
    row(f"all, clips {args.later} frames later", embedder, clips, later, said, every)
    row("texts of other clips", embedder, clips, np.random.default_rng(0).permutation(seen), said, every)


if __name__ == "__main__":
    main(tyro.cli(Args))
