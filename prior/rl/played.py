"""What a policy did in an episode and what came of it, as reinforcement learning wants it; and how good each action was."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from data.files import atomic_path

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Played:
    """T frames of one episode.

    images: uint8 (T, H, W, C), the frames as the policy reads them; motion: float16 (T, c, h, w), the flow from the frame
    before, (T, 0, 0, 0) for policies that read none. buttons, camera: int64 (T,), joint numbers of what was done on
    seeing each. reward: float32 (T,), what that brought until the next frame. over: whether the episode ended after the last
    frame (the player died); else only its time was up, and there would have been more to get.
    """

    images: NDArray[np.uint8]
    motion: NDArray[np.float16]
    buttons: NDArray[np.int64]
    camera: NDArray[np.int64]
    reward: Floats
    over: bool

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def counts(self) -> NDArray[np.bool_]:
        """bool (T,): frames to learn from, all but the last one of an episode that is not over: what came then is unknown."""
        counts = np.ones(len(self), bool)
        counts[-1] = self.over
        return counts

    def save(self, path: Path) -> None:
        with atomic_path(path) as part, part.open("wb") as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Played:
        """Raises ValueError, naming the file, where it is none of these."""
        try:
            with np.load(path, allow_pickle=False) as found:
                values = {field.name: found[field.name] for field in fields(cls)}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path}: expected an episode as Played.save writes it, but {error}; delete it") from error
        return cls(**{**values, "over": bool(values["over"])})


def advantages(reward: Floats, value: Floats, over: bool, gamma: float, decay: float) -> Floats:
    """How much more each action brought than was expected (T,): generalised advantage estimation (Schulman et al. 2015,
    arXiv 1506.02438).

    reward, value: (T,), the value being what is expected from each frame on. gamma: what a reward is worth a frame later;
    decay: lambda, how far to trust what came rather than what was expected. The last frame of an episode that is not over only
    says what was still to be expected; its advantage is 0.
    """
    found = np.zeros(len(reward), np.float32)
    behind = 0.0
    for index in range(len(reward) - 1, -1, -1):
        last = index + 1 == len(reward)
        if last and not over:
            continue
        expected = 0.0 if last else float(value[index + 1])
        behind = float(reward[index]) + gamma * expected - float(value[index]) + gamma * decay * behind
        found[index] = behind
    return found
