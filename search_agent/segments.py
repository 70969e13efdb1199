"""The rows that are searched: one float16 array a demonstration, put one after the other without being copied.

A *flat row* counts rows over all segments in their order. It is how the index speaks of rows inside; outside, a row is its
segment's number and its number there, so that nobody runs over the end of a demonstration into the next one.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Latents: TypeAlias = NDArray[np.float16]
Source: TypeAlias = Path | str | Latents
"""A .npy file, or an array (which may be memory-mapped): (rows, D) float16."""
Left: TypeAlias = NDArray[np.bool_] | Sequence[tuple[int, int]]
"""Flat rows to leave out: a mask over all of them, or ranges (first, last), last excluded."""

_SAMPLED = 16
_READ_ROWS = 4096
_NEAR_ROWS = 4  # rows that are closer to each other are asked for together


@dataclass(frozen=True)
class Segment:
    """A demonstration's latents (rows, D) float16, memory-mapped where they came from a file."""

    name: str
    latents: Latents
    path: Path | None = None

    @classmethod
    def of(cls, name: str, source: Source) -> Segment:
        """Raises ValueError, naming file and segment, where there are no float16 rows of numbers."""
        path = None if isinstance(source, np.ndarray) else Path(source)
        what = f"segment {name!r}" if path is None else f"{path} (segment {name!r})"
        again = "encode that demonstration again"
        if isinstance(source, np.ndarray):
            latents: NDArray[Any] = source
        else:
            try:
                latents = np.asanyarray(np.load(source, mmap_mode="r", allow_pickle=False))
            except FileNotFoundError as error:
                raise ValueError(f"{what}: there is no such file; {again}, or say where its latents are") from error
            except (OSError, ValueError, EOFError) as error:
                raise ValueError(f"{what} is not a whole .npy file of latents ({error}); {again}") from error
        if latents.dtype != np.float16 or latents.ndim != 2 or not latents.flags.c_contiguous or not latents.shape[-1]:
            raise ValueError(
                f"{what}: expected rows of float16 latents (rows, D), one after the other in memory, "
                f"found {latents.dtype} {latents.shape}; {again}"
            )
        return cls(name, latents, path)

    def digest(self) -> str:
        """SHA-256 of the shape and of 16 rows spread evenly: tells other latents at once, not a single changed number.

        Reading all of them would cost as much as many searches, and what holds the files may keep full hashes.
        """
        rows = len(self.latents)
        sample = self.latents[np.unique(np.linspace(0, max(rows - 1, 0), _SAMPLED).astype(np.int64))[:rows]]
        return hashlib.sha256(repr(self.latents.shape).encode() + sample.tobytes()).hexdigest()


class Allowed:
    """The flat rows that may be found: a mask (N), and what searches need to know of it, computed once."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask

    @functools.cached_property
    def count(self) -> int:
        return int(np.count_nonzero(self.mask))

    @functools.cached_property
    def bits(self) -> NDArray[np.uint8]:
        """Eight rows a byte, the lowest bit first."""
        return np.packbits(self.mask, bitorder="little")


class Segments:
    """Segments in order. It does not change: adding and removing make another list of the same arrays."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        """Raises ValueError for no segment, a name that comes twice, or rows of different length."""
        if not segments:
            raise ValueError("an index needs at least one segment of latents, found none; add a demonstration")
        self.all = tuple(segments)
        self.dims = self.all[0].latents.shape[1]
        self.numbers: dict[str, int] = {}
        for number, segment in enumerate(self.all):
            if self.numbers.setdefault(segment.name, number) != number:
                raise ValueError(f"two segments are called {segment.name!r}; rename or remove one")
            if segment.latents.shape[1] != self.dims:
                raise ValueError(
                    f"{segment.path or 'segment'} {segment.name!r}: expected {self.dims} numbers a row, as in "
                    f"{self.all[0].name!r}, found {segment.latents.shape[1]}; encode all with the same model"
                )
        self.offsets: NDArray[np.int64] = np.cumsum([0, *(len(s.latents) for s in self.all)], dtype=np.int64)
        self.addresses = np.array([s.latents.ctypes.data for s in self.all], np.uintp)
        self.rows = int(self.offsets[-1])
        self._mapped = any(isinstance(segment.latents, np.memmap) for segment in self.all)

    def __len__(self) -> int:
        return len(self.all)

    def head(self, rows: int) -> Segments:
        """At least the first ``rows`` rows, if there are as many, by whole segments cut at the last."""
        cut = [
            Segment(s.name, s.latents[: max(rows - int(at), 0)]) for s, at in zip(self.all, self.offsets, strict=False)
        ]
        return Segments(cut)

    def number(self, name: str) -> int:
        """Raises ValueError for a name that is not here."""
        if name not in self.numbers:
            raise ValueError(
                f"no segment {name!r} in this index, which has {len(self)}: {', '.join(self.numbers)[:200]}"
            )
        return self.numbers[name]

    def span(self, number: int) -> tuple[int, int]:
        """The flat rows of a segment: first, and one past the last."""
        return int(self.offsets[number]), int(self.offsets[number + 1])

    def locate(self, flat: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Flat rows (R) -> segment numbers (R), rows there (R)."""
        numbers: NDArray[np.int64] = np.searchsorted(self.offsets, flat, side="right") - 1
        return numbers, flat - self.offsets[numbers]

    def gather(self, flat: NDArray[np.int64]) -> Latents:
        """Flat rows (R) -> copies (R, D)."""
        self.prefetch(flat)
        out = np.empty((len(flat), self.dims), np.float16)
        for at, (number, row) in enumerate(zip(*self.locate(flat), strict=True)):
            out[at] = self.all[number].latents[row]
        return out

    def prefetch(self, flat: NDArray[np.int64]) -> None:
        """Ask the system for flat rows (R) of memory-mapped segments, so that the disk brings many at once and not one after
        the other. Returns at once; rows in memory cost nearly nothing."""
        if not len(flat) or not self._mapped:
            return
        flat = np.sort(flat)
        numbers, rows = self.locate(flat)
        cuts = np.flatnonzero((np.diff(flat) > _NEAR_ROWS) | (np.diff(numbers) > 0)) + 1
        for first, last in zip([0, *cuts], [*cuts, len(flat)], strict=True):
            _advise(self.all[numbers[first]].latents, int(rows[first]), int(rows[last - 1]) + 1)

    def blocks(self, size: int, first: int = 0) -> Iterator[tuple[int, Latents]]:
        """The flat rows from ``first`` on, in order: where a block begins, and its rows (at most size, D), not copied."""
        for number, segment in enumerate(self.all):
            begin, end = self.span(number)
            for flat in range(max(begin, first), end, size):
                yield flat, segment.latents[flat - begin : min(flat + size, end) - begin]

    def require_finite(self, first: int = 0) -> None:
        """Raises ValueError for a row, from flat row ``first`` on, with a number that is infinite or none."""
        for number, segment in enumerate(self.all):
            row = first_not_finite(segment.latents, max(first - self.span(number)[0], 0))
            if row is not None:
                raise ValueError(
                    f"{segment.path or 'latents'} (segment {segment.name!r}): expected finite numbers, found others in row "
                    f"{row}; encode that demonstration again"
                )

    def allowed(self, segments: Collection[int] = (), rows: Left | None = None) -> Allowed | None:
        """The flat rows that may be found, or None for all, where some segments and flat rows are left out."""
        if not segments and rows is None:
            return None
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_:
            if rows.shape != (self.rows,):
                raise ValueError(f"the mask of left-out rows has shape {rows.shape}, the index has {self.rows} rows")
            allowed = ~rows
        else:
            allowed = np.ones(self.rows, np.bool_)
            for first, last in () if rows is None else rows:
                allowed[max(int(first), 0) : max(int(last), 0)] = False
        for number in segments:
            if not 0 <= number < len(self):
                raise ValueError(f"cannot leave out segment {number}: the index has segments 0 to {len(self) - 1}")
            allowed[slice(*self.span(number))] = False
        return Allowed(allowed)


def first_not_finite(latents: Latents, first: int = 0) -> int | None:
    """The first row, from ``first`` on, with a number that is infinite or none; None if there is no such row."""
    for begin in range(first, len(latents), _READ_ROWS):
        broken = ((latents[begin : begin + _READ_ROWS].view(np.uint16) & 0x7C00) == 0x7C00).any(1)
        if broken.any():
            return begin + int(broken.argmax())
    return None


def _advise(latents: Latents, first: int, last: int) -> None:
    """Have rows first..last of a memory-mapped array read; nothing for other arrays."""
    memory: Any = latents.base
    if isinstance(latents, np.memmap) and isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
        begin = latents.offset % mmap.ALLOCATIONGRANULARITY
        page = (begin + first * latents.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
        memory.madvise(mmap.MADV_WILLNEED, page, begin + last * latents.strides[0] - page)
