"""How far a query lies from latents, in three metrics: exactly for a few rows, and quickly for all of them.

``l1`` is the published one, the mean of |a - b| over the dimensions; ``l2`` is Euclidean; ``cosine`` is one minus the cosine,
1 where either is zero. Searching goes over all rows in float32, keeps some more than asked for, and orders those by the
exact distance in float64: so the exact and the approximate index give the same numbers for the same row.
"""

from __future__ import annotations

import ctypes
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from search_agent.native import library
from search_agent.segments import Latents, Segments

Metric = Literal["l1", "l2", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)
SPARE = {"l1": 4, "l2": 4, "cosine": 16}
"""Rows kept beyond those asked for, because float32 may order close ones wrongly: the cosine, which subtracts, more often."""

_TORCH_ROWS = 256  # in float32 they stay in the cache


def exact_distances(rows: NDArray[Any], query: NDArray[Any], metric: Metric) -> NDArray[np.float64]:
    """(R, D) and (D) -> (R), computed in float64."""
    a, b = rows.astype(np.float64), query.astype(np.float64)
    if metric == "l1":
        return np.asarray(np.abs(a - b).mean(1))
    if metric == "l2":
        return np.asarray(np.sqrt(np.square(a - b).sum(1)))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    return np.asarray(1 - np.divide(a @ b, lengths, out=np.zeros(len(a)), where=lengths > 0))


def scaled(queries: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Queries (Q, D) as `block_distances` wants them: for the cosine of length one."""
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        queries = (queries / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return np.ascontiguousarray(queries)


def block_distances(
    segments: Segments, first: int, last: int, queries: NDArray[np.float32], metric: Metric
) -> NDArray[np.float32]:
    """Distances (Q, last - first) of scaled queries (Q, D) to flat rows, in float32, on one core; the GIL is free meanwhile."""
    out = np.empty((len(queries), last - first), np.float32)
    native = library()
    if native is None:
        _torch_distances(segments, first, last, queries, metric, out)
        return out
    begin = int(np.searchsorted(segments.offsets, first, side="right")) - 1
    _native_distances(native, segments.addresses[begin:], segments.offsets[begin:], first, queries, metric, out)
    return out


def row_distances(
    segments: Segments, flat: NDArray[np.int64], query: NDArray[np.float32], metric: Metric
) -> NDArray[np.float32]:
    """Distances (R) of a scaled query (D) to some flat rows (R), which are read where they lie."""
    segments.prefetch(flat)
    native = library()
    if native is None:
        return exact_distances(segments.gather(flat), query, metric).astype(np.float32)
    numbers, rows = segments.locate(flat)
    addresses = segments.addresses[numbers] + (rows * segments.dims * 2).astype(np.uintp)  # each a segment of one row
    out = np.empty(len(flat), np.float32)
    _native_distances(native, addresses, np.arange(len(flat) + 1), 0, query[None], metric, out[None])
    return out


def _native_distances(
    native: ctypes.CDLL,
    addresses: NDArray[np.uintp],
    offsets: NDArray[np.int64],
    first: int,
    queries: NDArray[np.float32],
    metric: Metric,
    out: NDArray[np.float32],
) -> None:
    count, rows = out.shape
    native.vpt_distances(
        addresses.ctypes.data,
        offsets.ctypes.data,
        first,
        first + rows,
        queries.shape[1],
        queries.ctypes.data,
        count,
        METRICS.index(metric),
        out.ctypes.data,
    )


def _torch_distances(
    segments: Segments, first: int, last: int, queries: NDArray[np.float32], metric: Metric, out: NDArray[np.float32]
) -> None:
    wide, apart = torch.empty(2, _TORCH_ROWS, segments.dims)
    for flat, rows in segments.blocks(_TORCH_ROWS, first):
        if flat >= last:
            return
        count = min(len(rows), last - flat)
        a, x = wide[:count], apart[:count]
        a.copy_(_tensor(rows[:count]))
        for number, query in enumerate(torch.from_numpy(queries)):
            if metric == "cosine":
                lengths = a.norm(dim=1)
                distances = 1 - (a @ query) / lengths.where(lengths > 0, torch.ones(()))
            else:
                torch.sub(a, query, out=x)
                distances = x.abs_().mean(1) if metric == "l1" else x.square_().sum(1).sqrt_()
            out[number, flat - first : flat - first + count] = distances.numpy()


def _tensor(rows: Latents) -> torch.Tensor:
    """The same memory, only to be read: torch warns where numpy says that it may not write, and numpy widens slowly."""
    memory = (ctypes.c_char * rows.nbytes).from_address(rows.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.float16).view(rows.shape)
