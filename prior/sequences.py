"""Batches of chunks in which time runs on: the next batch goes on where this one ends, slot by slot, so that memory carries.

An epoch is one long film: the episodes in a random order, end to end, from a random place on. It is cut into as many equal
pieces as the batch has slots, and each slot plays its piece, chunk after chunk. So every frame is seen once an epoch (but for
less than a chunk a slot at the film's end, which is elsewhere each time), no slot waits for another, no chunk is padded, and
only as many episodes are cut as there are slots. Where an episode begins in the middle of a chunk, ``first`` says so.

What a step sees depends on (seed, step) alone: a resumed run needs no state of the loader's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.augment import colour_jitter, mirror_joint, mirror_views, shift
from prior.episodes import Episode


@dataclass(frozen=True)
class Chunks:
    """images: uint8 (B, T, H, W, 3), motion: float16 (B, T, C, h, w), see :class:`data.frame_inputs.Views`; first: bool (B, T),
    True where what was before is to be forgotten; buttons, camera: int64 (B, T), joint numbers; weight: float32 (B, T); goals:
    float32 (B, T, G), what is wanted in each frame; G = 0 for policies without goals; hotbar: int64 (B, T), the slot that is
    selected, -1 where that is not known."""

    images: Tensor
    motion: Tensor
    first: Tensor
    buttons: Tensor
    camera: Tensor
    weight: Tensor
    goals: Tensor
    hotbar: Tensor

    def slots(self, part: slice) -> Chunks:
        return Chunks(*(getattr(self, name)[part] for name in self.__dataclass_fields__))

    def to(self, device: str) -> Chunks:
        return Chunks(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


class Goals(Protocol):
    """What is wanted in the frames of each of a loader's episodes: drawn anew each epoch, the same again for the same."""

    def __call__(self, epoch: int, episode: int, part: slice, mirrored: bool = False) -> NDArray[np.float32]:
        """(T, G) for a part of an episode's frames. mirrored: it is played the other way round."""


@dataclass(frozen=True)
class Source:
    """Episodes that belong together. share: of an epoch's frames; shares are relative to each other, None: as many as there
    are, each once."""

    episodes: Sequence[Episode]
    share: float | None = None

    @property
    def frames(self) -> int:
        return sum(map(len, self.episodes))


@dataclass(frozen=True)
class Variation:
    """How chunks are varied, each in itself alike. colour: strength of the change of brightness, contrast, saturation and hue;
    pixels: that the picture moves at most; still: share of chunks without motion, as if each frame were an episode's first: who
    always sees the last action learns to go on with it rather than to look (de Haan et al. 2019, arXiv 1905.11979); mirror:
    share of episodes that are played the other way round, drawn anew each epoch."""

    colour: float = 0.0
    pixels: int = 0
    still: float = 0.0
    mirror: float = 0.0

    def __call__(
        self, images: NDArray[np.uint8], motion: NDArray[np.float16], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """images: uint8 (T, H, W, C); motion: float16 (T, C, h, w); see :class:`data.frame_inputs.Views`."""
        if self.pixels:
            images = shift(images, rng, self.pixels)
        if self.colour:
            images = colour_jitter(images.reshape(*images.shape[:2], -1, 3), rng, self.colour).reshape(images.shape)
        if self.still and motion.shape[1] and rng.random() < self.still:
            images, motion = np.concatenate([images[..., : images.shape[-1] // 2]] * 2, -1), np.zeros_like(motion)
        return images, motion


def slots_for(episodes: Sequence[Episode], most: int, chunk: int) -> int:
    """How many slots the frames have a chunk for, up to ``most``: of what is held back there may be little."""
    return min(most, sum(map(len, episodes)) // chunk)


class SequenceLoader:
    """``draw(step)`` is a batch of ``slots`` chunks of ``chunk`` frames. threads: so many slots at a time, for videos that are
    decoded while they are used.

    Raises ValueError where there is not one chunk for each slot, or where some sources have shares and others have none.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        slots: int,
        chunk: int,
        seed: int,
        variation: Variation | None = None,
        goals: Goals | None = None,
        threads: int = 1,
    ) -> None:
        given = [source.share for source in sources]
        if any(share is None for share in given) and any(share is not None for share in given):
            raise ValueError(
                "some sources have a share of the epoch and others have none; give every one a share, or none"
            )
        if any(share is not None and share <= 0 for share in given):
            raise ValueError(f"the shares are {given}; expected numbers above 0")
        self.slots, self.chunk, self.seed, self.variation, self.goals = slots, chunk, seed, variation, goals
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._episodes = [episode for source in sources for episode in source.episodes]
        total = sum(source.frames for source in sources)
        shares = np.array([source.frames if source.share is None else source.share for source in sources], float)
        self._wanted = np.round(total * shares / max(shares.sum(), 1e-9)).astype(int)
        starts = np.cumsum([0, *(len(source.episodes) for source in sources)])
        self._of_source = [np.arange(a, b) for a, b in pairwise(starts)]
        self.steps_an_epoch = int(self._wanted.sum()) // (slots * chunk)
        if not self.steps_an_epoch:
            raise ValueError(
                f"{total} frames are fewer than one chunk of {chunk} frames for each of {slots} slots; record more, or make "
                "the batch or the chunk smaller"
            )

    def draw(self, step: int, slots: slice = slice(None)) -> Chunks:
        """The batch of a step, or some slots of it."""
        epoch, at = divmod(step, self.steps_an_epoch)

        def row(slot: int) -> tuple[NDArray[Any], ...]:
            return self._varied(self._chunk(epoch, slot, at), step, slot)

        if self._pool is None:
            rows = [row(slot) for slot in range(self.slots)[slots]]
        else:
            rows = list(self._pool.map(row, range(self.slots)[slots]))
        return Chunks(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _varied(self, row: tuple[NDArray[Any], ...], step: int, slot: int) -> tuple[NDArray[Any], ...]:
        if self.variation is None:
            return row
        images, motion, *others = row
        return (*self.variation(images, motion, np.random.default_rng([self.seed, step, slot])), *others)

    def _chunk(self, epoch: int, slot: int, at: int) -> tuple[NDArray[Any], ...]:
        order, ends = _film(self, epoch)
        start = (slot * self.steps_an_epoch + at) * self.chunk
        stop = start + self.chunk
        pieces = []
        while start < stop:
            place = int(np.searchsorted(ends, start, "right"))
            begin = int(ends[place - 1]) if place else 0
            episode, inside = self._episodes[order[place, 0]], int(order[place, 1]) + start - begin
            end = min(stop, int(ends[place]))
            part = slice(inside, inside + end - start)
            first = episode.first[part].copy()
            first[0] |= start == begin
            # Where the loader alone begins anew, there is a frame before, and a player would have seen it.
            seen = episode.inputs.views(episode.rows[part], episode.first[part])
            views, actions = (seen.images, seen.motion), (episode.buttons[part], episode.camera[part])
            mirrored = self._mirrored(epoch, place)
            if mirrored:  # slots of the hotbar stay what they are, as their keys do
                views, actions = mirror_views(*views), mirror_joint(*actions)
            wanted = np.zeros((end - start, 0), np.float32)
            if self.goals is not None:
                wanted = self.goals(epoch, int(order[place, 0]), part, mirrored)
            pieces.append((*views, first, *actions, episode.weight[part], wanted, episode.hotbar[part]))
            start = end
        joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        if at == 0:
            joined[2][0] = True  # a slot's piece of the film has nothing to do with its piece of the last epoch
        return tuple(joined)

    def _mirrored(self, epoch: int, piece: int) -> bool:
        """Whether this piece of the film is turned; the whole of it, or what is remembered would not fit what is seen."""
        share = 0.0 if self.variation is None else self.variation.mirror
        return bool(share) and bool(np.random.default_rng([self.seed, epoch, piece]).random() < share)

    def film(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(pieces, 2): which episode plays and from which of its frames; (pieces,): where in the epoch each ends."""
        rng = np.random.default_rng([self.seed, epoch])
        pieces: list[tuple[int, int, int]] = []
        for members, wanted in zip(self._of_source, self._wanted, strict=True):
            left = int(wanted)
            while left > 0:
                for index in rng.permutation(members):
                    count = min(len(self._episodes[index]), left)
                    if count:
                        pieces.append((int(index), 0, count))
                    left -= count
        pieces = [pieces[index] for index in rng.permutation(len(pieces))]
        # From a random place on, so that the cuts between slots and the end that is left out fall elsewhere each time.
        cut = int(rng.integers(pieces[0][2]))
        if cut:
            index, begin, count = pieces[0]
            pieces = [(index, begin + cut, count - cut), *pieces[1:], (index, begin, cut)]
        table = np.array(pieces, np.int64)
        return table[:, :2], np.cumsum(table[:, 2])


@lru_cache(maxsize=4)
def _film(loader: SequenceLoader, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return loader.film(epoch)
