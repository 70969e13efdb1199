"""What a parity check says about one file or one group of its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "vpt"
"""Reference outputs, made by running the published code; they lie beside the checkout."""


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
