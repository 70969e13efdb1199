"""Packed hindsight relabelling: which later frame of an episode is each frame's goal, for a stretch of training frames.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937), section 3.3: an episode is cut into segments of random length, and every
frame is taught as if it had wanted what its segment's last frame shows. Drawn anew each time that a stretch is asked for.

The published code moves on to the next goal a frame late, so that one frame in each segment wants what has already been: about
a hundredth of all frames. Here a goal lies never behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_GOAL = -1
"""In the place of a goal's frame: the goal is the zero vector, and the policy learns to play without one."""

FIRST_FRAME = 15
"""The first frame with an embedding: MineCLIP's is of 16 frames, counted to the frame that ends them."""


@dataclass(frozen=True)
class Relabelling:
    """shortest, longest: frames in a segment, both included (the published setting "15 to 200" never draws the 200).
    unconditional: the share of stretches that learn without a goal. as_published: with the goals a frame late."""

    shortest: int = 15
    longest: int = 199
    unconditional: float = 0.1
    as_published: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(
                f"expected segments of 1 <= shortest <= longest frames, got {self.shortest} and {self.longest}"
            )
        if not 0 <= self.unconditional <= 1:
            raise ValueError(f"unconditional is a share of stretches, from 0 to 1; got {self.unconditional}")

    def segment_ends(self, frames: int, rng: np.random.RandomState) -> NDArray[np.int64]:
        """The last frame of each segment of an episode, rising to ``frames - 1``.

        Every segment but the last has ``shortest`` to ``longest`` frames (the first one more: it has frame 0, too). The last
        takes in what would be too short for another, or is cut off by the episode's end.
        """
        ends: list[int] = []
        end = 0
        while not ends or end < frames - 1:
            end += int(rng.randint(self.shortest, self.longest + 1))
            if frames - end < self.shortest:
                end = frames - 1
            ends.append(end)
        return np.array(ends, dtype=np.int64)

    def goal_frames(self, frames: int, start: int, end: int, rng: np.random.RandomState) -> NDArray[np.int64]:
        """The goal of each frame from ``start`` up to ``end`` of an episode; int64 (end - start,), or NO_GOAL throughout.

        rng: numpy's older generator, as the published code draws from it; its draws, and so its goals, can be repeated.
        """
        if not 0 <= start < end <= frames:
            raise ValueError(f"expected a stretch within the episode's {frames} frames, got {start} up to {end}")
        ends = self.segment_ends(frames, rng)
        if rng.random_sample() < self.unconditional:
            return np.full(end - start, NO_GOAL)
        late = 1 if self.as_published else 0
        goals: NDArray[np.int64] = ends[np.searchsorted(ends, np.arange(start, end) - late)]
        return goals


def goals_at(embeddings_NG: NDArray[np.float32], goal_frames_T: NDArray[np.int64]) -> NDArray[np.float32]:
    """The goals themselves, (T, G), from an episode's embeddings (N, G), entry t of the frames that end with t.

    Zero where there is none. Raises ValueError where a goal's embedding would be one that no 16 frames lie behind.
    """
    wanted = goal_frames_T[goal_frames_T != NO_GOAL]
    if len(wanted) and not FIRST_FRAME <= wanted.min() <= wanted.max() < len(embeddings_NG):
        raise ValueError(
            f"expected goals from frame {FIRST_FRAME}, the first with an embedding, up to {len(embeddings_NG) - 1}, the "
            f"episode's last; got frames {wanted.min()} to {wanted.max()}"
        )
    return np.where(goal_frames_T[:, None] == NO_GOAL, np.float32(0), embeddings_NG[goal_frames_T])


def stretches(frames: int, length: int, *, as_published: bool = False, shortest: int = 15) -> list[tuple[int, int]]:
    """An episode cut for training, from the first frame that has an embedding: (start, end), the end not included.

    The last is what is left, however short. ``as_published`` shifts it back to full length, over frames that the one before
    has, too (a single frame left over brings a whole stretch again), and leaves episodes out that are shorter than one, or
    than a segment of goals may be (``shortest``).
    """
    if length < 1:
        raise ValueError(f"a stretch has at least 1 frame, got length {length}")
    if as_published and frames < FIRST_FRAME + max(length, shortest):
        return []
    spans = [(start, min(start + length, frames)) for start in range(FIRST_FRAME, frames, length)]
    if as_published:
        spans[-1] = (frames - length, frames)
    return spans
