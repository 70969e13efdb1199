"""Distances as the published search agents compute them, and checks of what they are computed on.

Rows are compared one block after the other in float32 on the float16 store: the published decisions, at a fraction of their
cost. The index of our own agent is search_agent/index.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 2**18  # float32 numbers in work at a time: 1 MiB stays in a core's cache

_FOLDS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "euclidean": lambda block: np.asarray(np.square(block, out=block).sum(1)),  # squared: published without the root
    "manhatten": lambda block: np.asarray(np.abs(block, out=block).sum(1)),
    "chebyshev": lambda block: np.asarray(np.abs(block, out=block).max(1)),
}

METRICS = ("cosine", *_FOLDS)
"""The published metrics by their published names, one misspelt."""


def distances(store: NDArray[np.float16], query: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """float32 (N,): from each row of a :func:`prepared` store (N, D) to `query` (D,). Equal rows are equally far."""
    result = np.empty(len(store), np.float32)
    unit = query / max(float(np.linalg.norm(query)), 1e-8)
    for rows, block in float32_blocks(store):
        if metric == "cosine":
            block *= unit
            result[rows] = 1 - block.sum(1)
        else:
            block -= query
            result[rows] = _FOLDS[metric](block)
    return result


def prepared(latents: NDArray[np.float16], metric: str) -> NDArray[np.float16]:
    """float16 (N, D): what `metric` is computed on, which for the cosine is a copy with rows of length 1.

    torch's cosine_similarity brings each side to length 1 in its own precision, so the published latents are rounded to
    halves once more. That moves a distance by some 1e-4; done beforehand, it makes a search cheaper besides.
    """
    if metric != "cosine":
        return latents
    units = np.empty_like(latents)
    for rows, block in float32_blocks(latents):
        lengths = np.sqrt(np.einsum("bd,bd->b", block, block)).astype(np.float16).astype(np.float32)
        units[rows] = block / np.where(lengths > 0, lengths, 1)[:, None]
    return units


def float32_blocks(latents: NDArray[np.float16]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Rows and their float32 values, block after block in one scratch array, which the caller may overwrite.

    numpy's own widening takes most of a search. Shifting a half's exponent and mantissa to where a float's lie leaves an
    exponent too small by 112: exact, also below the normal range, and in half the time. Infinities become 65536.
    """
    frames, dimensions = latents.shape
    bits = latents.view(np.int16)
    scratch = np.empty((min(frames, max(1, _BLOCK // dimensions)), dimensions), np.int32)
    for begin in range(0, frames, len(scratch)):
        rows = slice(begin, min(begin + len(scratch), frames))
        wide = scratch[: rows.stop - begin]
        np.copyto(wide, bits[rows])
        wide <<= 13
        wide &= np.int32(-0x70002000)  # the sign, and a half's 15 other bits; not the copies of the sign between them
        block = wide.view(np.float32)
        block *= np.float32(2.0**112)
        yield rows, block


def as_halves(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded in place to what a half can hold, ties to even. For sums and differences of halves, which below the normal range
    are halves already; beyond 65504 nothing becomes infinite."""
    bits = values.view(np.int32)
    bits += 0x0FFF + ((bits >> 13) & 1)
    bits &= -0x2000
    return values


def checked_latents(latents: NDArray[np.float16]) -> NDArray[np.float16]:
    """The store of latents, in rows that lie one after the other."""
    if latents.ndim != 2 or latents.dtype != np.float16 or not latents.size:
        raise ValueError(f"latents are {latents.dtype} {latents.shape}, expected float16 (frames, dimensions)")
    return np.ascontiguousarray(latents)


def checked_lengths(lengths: ArrayLike, frames: int) -> NDArray[np.int64]:
    array = np.asarray(lengths)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or (array < 1).any() or array.sum() != frames:
        found = np.array2string(array, threshold=8)
        raise ValueError(f"lengths are {found}, expected positive integers that sum to {frames} latents")
    return array.astype(np.int64)


def checked_query(latent: ArrayLike, latents: NDArray[np.float16]) -> NDArray[np.float32]:
    query = checked("latent", latent, latents.shape[1:]).astype(np.float32)
    if not np.isfinite(query).all():
        raise ValueError("latent holds infinite or undefined numbers, expected finite ones")
    return query


def checked(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array
