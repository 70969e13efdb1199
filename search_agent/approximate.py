"""Approximate search: faiss names some hundred rows that may be near, in about a millisecond, however many rows there are.

Rows are turned to their 256 main directions (PCA), sorted into lists by the nearest of some thousand centres (IVF), and kept
there as codes of 64 to 256 bytes. A search looks into the lists whose centres are nearest. Codes are L2 in the reduced
space whatever the metric is (for the cosine rows are scaled to length one first): what is found is ordered by the exact
metric afterwards, from the full rows. HNSW is no choice here, because nothing can be removed from it.

faiss's numbers of rows are the flat rows of the segments, always: after a removal all later ones are counted down.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from search_agent.distances import Metric
from search_agent.segments import Allowed, Segments

try:
    faiss: Any = importlib.import_module("faiss")  # its types are wrong about much that its Python half adds
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("approximate search needs faiss: pip install faiss-cpu", name="faiss") from error

Reduce: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]

CODES = {"sq8": 256, "sq4": 128, "pq64": 64}
"""Codes, best first, and the bytes of a row's: 256 numbers of 8 or of 4 bits, or 64 numbers of a codebook each."""
_DIMS = 256
_PCA_ROWS = 32_768
_ROWS_A_LIST = 40  # faiss warns below 39
_BLOCK = 8192


def bytes_needed(rows: int, dims: int, code: str) -> int:
    """Memory to build for that many rows: codes and numbers, twice, since lists that grow have room for up to twice what
    they hold; and what training takes."""
    training = _PCA_ROWS * dims * 6 + 2 * list_count(rows) * _ROWS_A_LIST * _DIMS * 4
    return 2 * rows * (CODES[code] + 8) + training


def list_count(rows: int) -> int:
    """About four times the root of the rows, a power of two, and such that each list has rows to be trained on."""
    most = max(1, rows // _ROWS_A_LIST)
    return int(2 ** min(round(np.log2(4 * np.sqrt(rows))), int(np.log2(most))))


class Approximate:
    """faiss's index of the codes. `candidates` names flat rows; the distances are the caller's."""

    def __init__(self, index: Any, metric: Metric, path: Path | None = None) -> None:
        """path: the file that ``index`` is mapped from, which is read in full before the first change."""
        self._index, self._metric, self._path = index, metric, path

    @classmethod
    def trained(cls, segments: Segments, metric: Metric, code: str, seed: int = 0) -> Approximate:
        """An index without rows, its directions, centres and codes fitted to a sample. Equal seeds give equal samples."""
        rng = np.random.default_rng(seed)
        count, dims = list_count(segments.rows), min(_DIMS, segments.dims)
        parts = int(np.gcd(dims, CODES["pq64"]))
        reduce = faiss.PCAMatrix(segments.dims, dims)
        lists = faiss.index_factory(dims, f"IVF{count}," + (f"PQ{parts}x8" if code == "pq64" else code.upper()))
        lists.cp.niter = 10
        if code == "pq64":
            lists.do_polysemous_training = False  # minutes, for a kind of search that is not used
            lists.pq.cp.niter, lists.pq.cp.max_points_per_centroid = 10, 64
        index = faiss.IndexPreTransform(reduce, lists)
        own = cls(index, metric)
        reduce.train(own._points(_sample(segments, _PCA_ROWS, rng)))
        lists.train(_sample(segments, count * _ROWS_A_LIST, rng, own._reduced))
        index.is_trained = True
        return own

    @property
    def rows(self) -> int:
        return int(self._index.ntotal)

    @property
    def lists(self) -> int:
        return int(self._lists.nlist)

    @property
    def _lists(self) -> Any:
        return faiss.downcast_index(self._index.index)

    def _points(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        points = np.array(rows, np.float32, order="C")
        if self._metric == "cosine":
            lengths = np.linalg.norm(points, axis=1, keepdims=True)
            points /= np.where(lengths > 0, lengths, 1)
        return points

    def _reduced(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        reduced: NDArray[np.float32] = faiss.downcast_VectorTransform(self._index.chain.at(0)).apply(self._points(rows))
        return reduced

    def add(self, segments: Segments) -> None:
        """Add the flat rows that are not in yet: those behind the last one. A block at a time is held as floats."""
        self._thaw()
        for first, rows in segments.blocks(_BLOCK, self.rows):
            numbers = np.arange(first, first + len(rows), dtype=np.int64)
            self._index.add_with_ids(self._points(rows), numbers)

    def remove(self, first: int, last: int) -> None:
        """Take the codes of flat rows first..last out of the lists; later rows are counted down."""
        self._thaw()
        self._index.remove_ids(faiss.IDSelectorRange(first, last))
        lists = self._lists.invlists
        for number in range(self._lists.nlist):
            if size := lists.list_size(number):
                rows = faiss.rev_swig_ptr(lists.get_ids(number), size)  # faiss's own memory
                rows[rows >= last] -= last - first

    def candidates(
        self, query: NDArray[np.float32], count: int, probes: int, allowed: Allowed | None
    ) -> NDArray[np.int64]:
        """Up to ``count`` allowed flat rows, those whose codes are nearest in the ``probes`` nearest lists."""
        settings: dict[str, Any] = {"nprobe": min(probes, self.lists)}
        if allowed is not None:
            settings["sel"] = faiss.IDSelectorBitmap(allowed.bits)
        found = self._lists.search(self._reduced(query[None]), count, params=faiss.SearchParametersIVF(**settings))[1][
            0
        ]
        return np.asarray(found[found >= 0], np.int64)

    def spread(self, segments: Segments, first: int = 0, most: int = 1000) -> float:
        """Mean squared distance of rows from ``first`` on to the nearest centre: larger for rows unlike those trained on."""
        flat = np.unique(np.linspace(first, segments.rows - 1, most).astype(np.int64))
        return float(self._lists.quantizer.search(self._reduced(segments.gather(flat)), 1)[0].mean())

    def write(self, path: Path) -> None:
        self._thaw()  # of a mapped index faiss would write where its lists lie, and not what is in them
        faiss.write_index(self._index, str(path))

    @classmethod
    def mapped(cls, path: Path, metric: Metric) -> Approximate:
        """Codes stay on the disk until they are looked at. Raises ValueError if faiss cannot read the file."""
        try:
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP), metric, path)
        except RuntimeError as error:
            raise ValueError(
                f"{path}: faiss {faiss.__version__} cannot read this index ({error}); build it again"
            ) from error

    def _thaw(self) -> None:
        if self._path is None:
            return
        try:
            self._index, self._path = faiss.read_index(str(self._path)), None
        except RuntimeError as error:
            raise ValueError(
                f"{self._path}: the codes of this index are gone ({error}); another process saved it anew. Open it again"
            ) from error


def _sample(segments: Segments, most: int, rng: np.random.Generator, reduced: Reduce | None = None) -> NDArray[Any]:
    """Random rows, in the order in which they lie; ``reduced`` is applied block by block, so that few are whole at a time."""
    flat = np.sort(rng.choice(segments.rows, min(most, segments.rows), replace=False, shuffle=False))
    blocks = (segments.gather(flat[at : at + _BLOCK]) for at in range(0, len(flat), _BLOCK))
    return np.concatenate([block if reduced is None else reduced(block) for block in blocks])
