"""What each step of training an embedding sees: clips of frames that were decoded once, with one of their texts each.

Which clips, frames, texts and changes of the picture a step sees depends on (seed, step) alone, so that a run that was
stopped goes on with the same numbers.

Shape suffixes: B clips, S frames looked at of each, L frames of a clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prior.text.embedding.caption_words import mirrored as mirrored_text
from prior.text.embedding.judging import balanced
from prior.text.embedding.pairs import TextClip
from prior.text.embedding.small_clip import SmallClipConfig


@dataclass(frozen=True, eq=False)
class Film:
    """A video's frames uint8 (T, H, W, 3) as the model wants them, or what a trunk has made of them, features float16 (T, F),
    memory-mapped, and clips of it. player: who played what, so that recordings of every kind are held back. mirrored: features
    of the mirrored video, where there are any."""

    video: Path
    player: str
    images: NDArray[Any]
    clips: tuple[TextClip, ...]
    mirrored: NDArray[np.float16] | None = None

    @property
    def can_be_mirrored(self) -> bool:
        return self.images.ndim == 4 or self.mirrored is not None

    def part(self, begin: int, length: int, mirrored: bool = False) -> NDArray[Any]:
        """Some frames, or their features."""
        span = slice(begin, begin + length)
        if not mirrored:
            return self.images[span]
        return self.images[span, :, ::-1] if self.mirrored is None else self.mirrored[span]


@dataclass(frozen=True)
class ClipBatch:
    """before, now: uint8 (B, S, H, W, 3), frames and those before them, or features float16 (B, S, F); places: int64 (S,),
    which of a clip's frames they are."""

    before: NDArray[Any]
    now: NDArray[Any]
    places: NDArray[np.int64]
    texts: tuple[str, ...]
    kinds: tuple[str, ...]


class ClipLoader:
    """Clips of several films in a random order, each once an epoch. sampled: frames of each that a step looks at, 0: all.

    A longer clip gives a window somewhere in it, a shorter one the window around it. With augmentation half of the clips are
    mirrored, with left for right in their texts; features only where there are some of the mirrored video. Raises ValueError
    for a film without a whole window, and for a batch that is more than all clips.
    """

    def __init__(
        self,
        films: Sequence[Film],
        config: SmallClipConfig,
        batch: int,
        seed: int = 0,
        sampled: int = 0,
        augment: bool = False,
    ) -> None:
        self.films, self.length, self.batch, self.seed, self.augment = tuple(films), config.frames, batch, seed, augment
        self.sampled = min(sampled or config.frames - 1, config.frames - 1)
        for film in films:
            if len(film.images) < self.length:
                raise ValueError(
                    f"{film.video}: {len(film.images)} frames, expected at least the {self.length} of a clip; leave it out"
                )
        self._clips = [(number, clip) for number, film in enumerate(films) for clip in film.clips]
        if not 2 <= batch <= len(self._clips):
            raise ValueError(
                f"a batch of {batch} of {len(self._clips)} clips; expected 2 to as many. Give more clips or a smaller batch"
            )

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def steps_an_epoch(self) -> int:
        """What is left over at an epoch's end is another each time."""
        return len(self) // self.batch

    def draw(self, step: int) -> ClipBatch:
        """The batch of a step."""
        epoch, part = divmod(step, self.steps_an_epoch)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self))
        rng = np.random.default_rng([self.seed, 1, step])
        places = np.sort(rng.choice(np.arange(1, self.length), self.sampled, replace=False))
        return self._batch(order[part * self.batch : (part + 1) * self.batch], places, rng)

    @property
    def kinds(self) -> Counter[str]:
        """How many clips there are of each kind."""
        return Counter(clip.kind for _, clip in self._clips)

    def some(
        self, count: int, size: int, seed: int = 0, without: Collection[str] = (), even: bool = True
    ) -> Iterator[ClipBatch]:
        """So many clips (or all) as they are, with their first texts, all frames, up to ``size`` at a time: to judge by.

        even: as many of each kind as can be, see :func:`prior.text.embedding.judging.balanced`; else as they come. without:
        kinds to leave out.
        """
        rng = np.random.default_rng(seed)
        rows = balanced([clip.kind for _, clip in self._clips], rng) if even else rng.permutation(len(self))
        chosen = np.sort([row for row in rows if self._clips[row][1].kind not in without][:count])
        for start in range(0, len(chosen), size):
            yield self._batch(chosen[start : start + size], np.arange(1, self.length), None)

    def _batch(self, rows: NDArray[np.int64], places: NDArray[np.int64], rng: np.random.Generator | None) -> ClipBatch:
        before, now, texts, kinds = [], [], [], []
        for row in rows:
            number, clip = self._clips[row]
            film, text = self.films[number], clip.texts[0]
            begin = clip.window(self.length, len(film.images), rng)
            mirrored = False
            if rng is not None:
                text = clip.texts[int(rng.integers(len(clip.texts)))]
                mirrored = self.augment and rng.random() < 0.5 and film.can_be_mirrored
            frames = film.part(begin, self.length, mirrored)
            now.append(frames[places])
            before.append(frames[places - 1])
            texts.append(mirrored_text(text) if mirrored else text)
            kinds.append(clip.kind)
        return ClipBatch(np.stack(before), np.stack(now), places, tuple(texts), tuple(kinds))
