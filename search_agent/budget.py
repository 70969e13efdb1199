"""Which kind of index fits a stated budget: chosen by size and by measuring, never by guessing at the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from data.json_config import JsonConfig
from search_agent.distances import Metric
from search_agent.exact import nearest, rank
from search_agent.held_out import Measured, held_out, measure
from search_agent.segments import Segments

if TYPE_CHECKING:
    from search_agent.approximate import Approximate

SETTINGS = ((4, 32), (8, 64), (16, 64), (32, 128), (64, 256), (128, 256), (256, 512), (512, 1024))
"""Lists looked into and rows ranked exactly, from the quickest to the most thorough."""
LEAST_ROWS = 2048
"""Fewer are not indexed approximately: there would be nothing to train on, and nothing to gain."""
_TRIED_ROWS = 65_536


@dataclass(frozen=True)
class Budget(JsonConfig):
    """What a search may cost, and how often it has to find the nearest row."""

    latency_ms: float = 120
    """Of one search, with all rows allowed."""
    memory_gb: float = 16
    recall: float = 0.95
    """Recall@1 that an approximate index is set to reach, if it can within the latency."""
    kind: Literal["auto", "exact", "approximate"] = "auto"


@dataclass(frozen=True)
class Choice:
    """code: of the approximate index, None for exact search. exact_ms: what exact search takes, by measurement."""

    code: str | None
    reason: str
    exact_ms: float


@dataclass(frozen=True)
class Settings:
    """How thoroughly an approximate index searches, and how well that does."""

    probes: int
    depth: int
    recall: dict[str, Measured]
    reason: str


def exact_milliseconds(segments: Segments, metric: Metric) -> float:
    """Of an exact search, from the best of three searches of at most 65,536 rows."""
    some = segments.head(_TRIED_ROWS)
    query, best = np.full((1, segments.dims), 0.5, np.float32), np.inf
    for _ in range(3):
        begun = time.perf_counter()
        nearest(some, query, 1, metric)
        best = min(best, time.perf_counter() - begun)
    return float(best * 1e3 * segments.rows / max(some.rows, 1))


def choose(segments: Segments, metric: Metric, budget: Budget) -> Choice:
    """Exact search where it keeps to the budget; else the best codes that the memory allows. Raises ValueError if none does."""
    took = exact_milliseconds(segments, metric)
    held = 2 * segments.rows * segments.dims / 1e9
    costs = f"exact search takes about {took:.1f} ms and {held:.1f} GB"
    allows = f"the budget allows {budget.latency_ms:g} ms and {budget.memory_gb:g} GB"
    if budget.kind == "exact" or (budget.kind == "auto" and took <= budget.latency_ms and held <= budget.memory_gb):
        return Choice(None, f"{costs}; " + ("exact was asked for" if budget.kind == "exact" else allows), took)

    approximately = budget.kind == "approximate"
    if segments.rows < LEAST_ROWS:
        if approximately:
            raise ValueError(f"an approximate index needs {LEAST_ROWS} rows, found {segments.rows}; use kind 'auto'")
        return Choice(None, f"{costs}, over the budget, but {segments.rows} rows are too few for anything else", took)
    try:
        from search_agent.approximate import CODES, bytes_needed
    except ModuleNotFoundError as error:
        if approximately:
            raise
        return Choice(None, f"{costs}, over the budget, but {error}", took)
    needs = {code: bytes_needed(segments.rows, segments.dims, code) / 1e9 for code in CODES}
    for code, needed in needs.items():
        if needed <= budget.memory_gb:
            asked = "approximate was asked for" if approximately else allows
            return Choice(code, f"{costs}; {asked}; {code} codes need at most {needed:.1f} GB to build", took)
    least = min(needs.values())
    raise ValueError(
        f"{segments.rows} rows of {segments.dims} need {least:.2f} GB to index, the budget allows {budget.memory_gb:g} GB; "
        f"allow more, or use fewer demonstrations"
    )


def tune(segments: Segments, metric: Metric, approximate: Approximate, budget: Budget) -> Settings:
    """The quickest settings that surely have the recall asked for on every kind of held-out query; within the latency, the best
    if none.

    Surely: at the lower end of what the measurement may mean, or where no query misses. A search may take half of the latency
    in the median, which leaves the rest to the slow ones.
    """
    groups = held_out(segments, metric)
    kept: Settings | None = None
    for probes, depth in SETTINGS:

        def search(query: Any, allowed: Any, probes: int = probes, depth: int = depth) -> float:
            rows = approximate.candidates(query, depth, probes, allowed)
            return float(rank(segments, rows, query, 1, metric)[1][0]) if len(rows) else np.inf

        measured = measure(groups, search)
        worst = min(result.recall for result in measured.values())
        sure = worst == 1 or min(result.least_recall for result in measured.values()) >= budget.recall
        slow = max(result.p50_ms for result in measured.values()) > budget.latency_ms / 2
        if kept is not None and slow:
            break
        if kept is None or worst > min(result.recall for result in kept.recall.values()):
            how = "reaches" if sure else "does not surely reach"
            kept = Settings(
                probes,
                depth,
                measured,
                f"looking into {min(probes, approximate.lists)} of {approximate.lists} lists and ranking {depth} rows "
                f"{how} a recall@1 of {budget.recall:g} (measured: {worst:.3f})",
            )
        if sure or probes >= approximate.lists:
            break
    assert kept is not None
    return kept
