"""A demonstration's own files: written once, never changed, and read with doubt, as disks fill up and people copy files about.

latents.npy (float16, T x D), actions.npz; mirrored.npy (float16, T x D) where it is also to be copied the other way round; and
where a text may be asked for goals.npy (float16, T x G).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import ActionTrack
from data.augment import mirror_track
from data.files import atomic_path
from search_agent.segments import first_not_finite

LATENTS, ACTIONS, GOALS, MIRRORED = "latents.npy", "actions.npz", "goals.npy", "mirrored.npy"
KEPT = {"buttons": ("b", 2), "camera": ("f", 2), "gui_open": ("b", 1), "rows": ("iu", 1), "copied": ("b", 1)}
"""The arrays of actions.npz: their kind, in numpy's letters, and how many axes they have."""


@dataclass(frozen=True, eq=False)
class Demo:
    """A demonstration. latents: float16 (T, D), memory-mapped. track: its T actions. rows: int64 (T,), the frames of the video
    that they belong to. copied: bool (T,), False where the action was no example to follow: the player's hand slipped, or it
    was a novice's turn. video: where it was; it is needed to look at, not to play. goals: float16 (T, G), memory-mapped, what
    the set's embedder makes of the frames that end with each; None where that was not asked for. mirrored: as latents, of the
    mirrored pictures; None where it is not to be copied the other way round. turned: whether this is the other way round."""

    name: str
    latents: NDArray[np.float16]
    track: ActionTrack
    rows: NDArray[np.int64]
    copied: NDArray[np.bool_]
    enabled: bool = True
    tags: tuple[str, ...] = ()
    text: str = ""
    video: Path = Path()
    goals: NDArray[np.float16] | None = None
    mirrored: NDArray[np.float16] | None = None
    turned: bool = False

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def both_ways(self) -> list[Demo]:
        """It, and the other way round if it may be copied so: left for right, but the hotbar's keys, which bring the same thing
        to the hand as ever. A GUI is not mirrored, and what was done in one is not copied."""
        copied = self.copied & ~self.track.gui_open
        if self.mirrored is None or not copied.any():
            return [self]
        track = mirror_track(self.track)
        return [self, replace(self, latents=self.mirrored, track=track, copied=copied, mirrored=None, turned=True)]


def require_name(name: str, where: str) -> None:
    """Raises ValueError for what is no name of a folder right below the set's; hidden ones are not finished."""
    if not re.fullmatch(r"[\w+@ -][\w.+@ -]*", name):
        raise ValueError(
            f"{where}: a demonstration cannot be called {name!r}; expected letters, digits, and any of . _ + @ -, not a dot "
            "at the beginning"
        )


def name_for(stem: str) -> str:
    """What a demonstration of such a video is called: as the file, with _ for what no name has (:func:`require_name`)."""
    return re.sub(r"[^\w.+@ -]", "_", stem)


def read_demo(folder: Path, dims: int, goal_dims: int) -> Demo:
    """What never changes of a demonstration. goal_dims: G, 0 where there is no embedder. Raises ValueError, naming the
    folder, for whatever is not as :func:`write_demo` writes it."""
    try:
        latents = np.load(folder / LATENTS, mmap_mode="r", allow_pickle=False)
        with np.load(folder / ACTIONS, allow_pickle=False) as arrays:
            kept = {key: arrays[key] for key in KEPT}
        embedded = goal_dims and (folder / GOALS).is_file()
        goals = np.load(folder / GOALS, mmap_mode="r", allow_pickle=False) if embedded else None
        both = (folder / MIRRORED).is_file()
        mirrored = np.load(folder / MIRRORED, mmap_mode="r", allow_pickle=False) if both else None
        require_whole(latents, kept, goals, mirrored, dims, goal_dims)
        track = ActionTrack(kept["buttons"], kept["camera"], kept["gui_open"])
    except Exception as error:  # over broken bytes numpy and zipfile raise whatever they stumble upon
        raise ValueError(f"{folder}: damaged or not there ({error})") from error
    return Demo(folder.name, latents, track, kept["rows"], kept["copied"], goals=goals, mirrored=mirrored)


def write_demo(
    folder: Path,
    latents: NDArray[np.float16],
    kept: Mapping[str, NDArray[Any]],
    goals: NDArray[np.float16] | None,
    mirrored: NDArray[np.float16] | None,
) -> None:
    """Write a demonstration's files. kept: the arrays of KEPT."""
    for file, array in ((LATENTS, latents), (MIRRORED, mirrored)):
        if array is not None:
            with atomic_path(folder / file) as part, part.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
    with atomic_path(folder / ACTIONS) as part, part.open("wb") as stream:
        np.savez(stream, **kept)  # type: ignore[arg-type]
    if goals is not None:
        write_goals(folder, goals)


def write_goals(folder: Path, goals: NDArray[np.float16]) -> None:
    with atomic_path(folder / GOALS) as part, part.open("wb") as stream:
        np.save(stream, goals, allow_pickle=False)


def require_whole(
    latents: NDArray[Any],
    kept: Mapping[str, NDArray[Any]],
    goals: NDArray[Any] | None,
    mirrored: NDArray[Any] | None,
    dims: int,
    goal_dims: int,
) -> None:
    """Raises ValueError, naming the file, for what could not be searched, copied or compared with the rest of the set."""
    for file, array, width in ((LATENTS, latents, dims), (GOALS, goals, goal_dims), (MIRRORED, mirrored, dims)):
        if array is None:
            continue
        by_rows = array.flags.c_contiguous  # as they are searched, without a copy
        if array.dtype != np.float16 or array.shape != (*latents.shape[:1], width) or not by_rows:
            found = f"{array.dtype} {array.shape}{'' if by_rows else ' by columns'}"
            frames = "frames" if array is latents else len(latents)
            raise ValueError(f"{file}: {found}, expected float16 ({frames}, {width}) by rows as the rest of the set")
        row = first_not_finite(array)
        if row is not None:
            raise ValueError(f"{file}: expected finite numbers, found others in row {row}")
    for key, (kinds, axes) in KEPT.items():
        array = kept[key]
        if array.dtype.kind not in kinds or array.ndim != axes:
            expected = f"{axes} axes of kind {' or '.join(kinds)}"
            raise ValueError(f"{ACTIONS}: {key} is {array.dtype} {array.shape}, expected {expected}")
        if len(array) != len(latents):
            raise ValueError(f"{len(latents)} latents but {len(array)} actions ({key} of {ACTIONS})")
    if not np.isfinite(kept["camera"]).all():
        raise ValueError(f"{ACTIONS}: camera holds turns that are not finite")
    if not kept["copied"].any():
        raise ValueError("no frame of it is to be copied")


def discard(folder: Path) -> None:
    """Delete a demonstration's folder if it is there; of a link to one only the link. Raises OSError if that fails."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
