"""How fast a labelling job went, from progress.jsonl: the lines of all its runs, and the pauses between them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vpt_pipeline.cluster.progress import EVERY_S

_PAUSE_S = 12 * EVERY_S
"""A longer silence is a pause: a run ended there, or its machine slept."""
_KEPT = ("time", "frames", "frames_s", "busy", "workers", "deaths")


@dataclass(frozen=True)
class Stretch:
    """Unbroken work: arrays float64 (n,), n >= 1, of what vpt_pipeline.cluster.progress.State holds.

    time: seconds since 1970. frames: labelled within it. deaths: workers that died within it.
    """

    time: NDArray[np.float64]
    frames_s: NDArray[np.float64]
    busy: NDArray[np.float64]
    workers: NDArray[np.float64]
    frames: int
    deaths: int

    @property
    def seconds(self) -> float:
        """How long it was; its first line was written up to EVERY_S after its beginning."""
        return float(self.time[-1] - self.time[0]) + EVERY_S

    @property
    def worker_seconds(self) -> float:
        return float((self.workers * self._steps()).sum())

    @property
    def model_seconds(self) -> float:
        """Those of the workers' seconds in which their models computed."""
        return float((self.workers * self.busy * self._steps()).sum())

    def _steps(self) -> NDArray[np.float64]:
        return np.diff(self.time, prepend=self.time[0] - EVERY_S)


def read_stretches(path: Path) -> list[Stretch]:
    """In the order of the file; nothing if there is none. Lines that a killed run left unfinished are passed over.

    Memory is about 50 bytes a line, of which a day writes 17,000.
    """
    lines: list[NDArray[np.float64]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                values = _values(line)
                if values is not None:
                    lines.append(values)
    except FileNotFoundError:
        return []
    if not lines:
        return []
    table = np.stack(lines)
    time, frames = table[:, 0], table[:, 1]
    step = np.diff(time)
    new_run = np.diff(frames) < 0  # frames and deaths are counted from the beginning of a run
    borders = np.flatnonzero(new_run | (step < 0) | (step > _PAUSE_S)) + 1
    stretches: list[Stretch] = []
    last = np.zeros(len(_KEPT))
    for piece, begins_run in zip(np.split(table, borders), [True, *new_run[borders - 1]], strict=True):
        gained = piece[-1] - (0 if begins_run else last)
        last = piece[-1]
        stretches.append(Stretch(piece[:, 0], piece[:, 2], piece[:, 3], piece[:, 4], int(gained[1]), int(gained[5])))
    return stretches


def _values(line: str) -> NDArray[np.float64] | None:
    try:
        found = json.loads(line)
        values = np.array([float(found[name]) for name in _KEPT])
    except (ValueError, KeyError, TypeError):
        return None
    return values if all(map(math.isfinite, values)) else None
