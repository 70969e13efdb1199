"""STEVE-1's packed hindsight relabelling: goals of stretches, how episodes are cut, and how far off goals are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prior.text.relabel import NO_GOAL, Relabelling, stretches
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over
from tests.parity.steve1_recipes import read

CUT = re.compile(r"chunks_T(\d+)_min(\d+)")
DRAWS = 1000


def check_relabelling(place: Path) -> Iterator[Finding]:
    """Everything of ``relabel.npz`` and the json beside it; its histograms by what the json says of them."""
    meta, arrays = read(place / "relabel.npz")
    golden = Seen(arrays)
    if "trace_cases" in golden:
        yield from guarded("steve1 relabel", _traces(golden))
    for name in meta:
        if cut := CUT.fullmatch(name):
            what = "steve1 relabel, stretches" + ("" if name == "chunks_T640_min15" else f" {name}")
            yield from guarded(what, _cuts(what, int(cut[1]), int(cut[2]), meta[name]))
    if "dist_mean" in meta:
        yield from guarded("steve1 relabel, distances", _distances(meta))
    yield left_over("steve1 relabel", golden.unseen, [name for name in golden.unseen if name.startswith("trace_")])


def _traces(golden: Seen) -> Iterator[Finding]:
    """Stretches may be of different lengths; then a row of the file goes on beyond its own."""
    worst, failed = 0.0, []
    for row, case in zip(golden["trace_goals"], golden["trace_cases"], strict=True):
        count, start, end, least, most, share, seed = case.tolist()
        try:
            rules = Relabelling(int(least), int(most) - 1, share, as_published=True)
            goals = rules.goal_frames(int(count), int(start), int(end), np.random.RandomState(int(seed)))
        except ValueError as error:
            failed.append(f"{case.tolist()}: {error}")
            continue
        worst = max(worst, largest_error(np.where(goals == NO_GOAL, 0, goals), row[: len(goals)]))
    note = f"{len(golden['trace_cases'])} stretches" + "".join(f"; {what}" for what in failed)
    yield Finding("steve1 relabel", float("inf") if failed else worst, 0.0, note)


def _cuts(what: str, length: int, shortest: int, golden: Mapping[str, list[list[int]]]) -> Iterator[Finding]:
    ours = {n: stretches(int(n), length, as_published=True, shortest=shortest) for n in golden}
    wrong = [n for n, spans in golden.items() if [list(span) for span in ours[n]] != spans]
    yield Finding(what, float(len(wrong)), 0.0, f"{len(golden)} episodes")


def _distances(meta: Mapping[str, Any]) -> Iterator[Finding]:
    """How far off goals are, on average, in the middle of an episode. The segments' bounds are those that were drawn."""
    frames, (start, end) = meta.get("hist_n", 3000), meta.get("hist_chunk", (1295, 1935))
    bounds = meta.get("segment_min", 15), meta.get("segment_max", 199)
    rng, rules = np.random.RandomState(0), Relabelling(*bounds, unconditional=0.0, as_published=True)
    seen = [rules.goal_frames(frames, start, end, rng) - np.arange(start, end) for _ in range(DRAWS)]
    mean, behind = float(np.mean(seen)), float(np.mean(np.array(seen) == -1))
    apart = abs(mean / meta["dist_mean"] - 1)
    yield Finding("steve1 relabel, mean distance", apart, 0.0229, f"relative, of {DRAWS} draws")
    apart = abs(behind / meta["frac_dist_minus1"] - 1)
    yield Finding("steve1 relabel, goals behind", apart, 0.064, f"relative, of {DRAWS} draws")
