"""What a parity check says about one file or one group of its arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "vpt"
"""Reference outputs, made by running the published code; they lie beside the checkout."""

NEAR_TIE = 2e-3
"""Two log-probabilities nearer to each other than this may change places in float32."""


def vpt_folder(folder: Path) -> Path:
    """Where VPT's files lie: in `vpt` in a folder, or in the folder itself."""
    inner = folder / "vpt"
    return inner if inner.is_dir() else folder


@dataclass(frozen=True)
class Finding:
    """name: the file, and what of it. error: the largest, in units of `tolerance`'s; 0 where exactness is asked."""

    name: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)

    def __str__(self) -> str:
        mark = "ok  " if self.passed else "MISS"
        return (
            f"{mark} {self.name:<44} largest error {self.error:.3g} (allowed {self.tolerance:.3g}) {self.note}".rstrip()
        )


def largest_error(ours: Any, golden: Any) -> float:
    """The largest absolute difference; infinite where shapes differ or one is not a number."""
    ours, golden = np.asarray(ours), np.asarray(golden)
    if ours.shape != golden.shape:
        return float("inf")
    if ours.size == 0:
        return 0.0
    difference = np.abs(ours.astype(np.float64) - golden.astype(np.float64)).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def misses_beyond_ties(ours: Any, golden: Any, logprobs: NDArray[Any]) -> float:
    """How often the likeliest choice differs where the golden one leads by more than the noise; logprobs: (..., choices)."""
    best = np.sort(logprobs, -1)
    clear = best[..., -1] - best[..., -2] > NEAR_TIE
    return float(((np.asarray(ours) != golden) & clear).sum())


class Seen(dict[str, NDArray[Any]]):
    """Reference arrays that know which of them were looked at, so that none is forgotten."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self.unseen = set(arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.unseen.discard(name)
        return super().__getitem__(name)


def left_over(what: str, names: Iterable[str], missed: Iterable[str] | None = None) -> Finding:
    """Says which arrays were not compared. missed: those of them that should have been; by default all."""
    names = sorted(names)
    wrong = names if missed is None else list(missed)
    note = f"not compared: {', '.join(names)}" if names else ""
    return Finding(f"{what}, arrays left over", float(len(wrong)), 0.0, note)


def guarded(what: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of one part; where it fails, a miss in the place of the rest, so that the other parts still run."""
    try:
        yield from findings
    except Exception as error:  # whatever a file of another making may bring about
        yield Finding(what, float("inf"), 0.0, f"failed: {type(error).__name__}: {error}")
