"""The published search agents' decisions, step by step: ZIP (with its aliasing and without) and TS-BC."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_agent.ts_rules import FILTERS, TsRules, TsSettings, goal_filter
from search_agent.zip_rules import ZipRules, ZipSettings
from tests.parity.finding import Finding, guarded, largest_error, left_over

Golden = Mapping[str, NDArray[Any]]

INPUTS = {"latents_f16", "lens", "demo_buttons", "demo_camera", "queries_f16", "gui_open",
          "ts_lens", "ts_vpt_f16", "ts_mineclip_f16", "ts_goal", "ts_queries_f16"}  # fmt: skip

TURN = -9
"""What a TS-BC trace has for the action's frame while it warms up."""


def find(folder: Path) -> Path | None:
    """The traces in a folder, or in `steve1` in it, or in `steve1` beside `vpt`: the reference outputs' own layout."""
    places = [folder, folder / "steve1", *([folder.parent / "steve1"] if folder.name == "vpt" else [])]
    return next((path for place in places if (path := place / "search.npz").exists()), None)


def check(folder: Path) -> Iterator[Finding]:
    """Every array of search.npz."""
    path = find(folder)
    if path is None:
        return
    with np.load(path) as arrays:
        golden = dict(arrays)
    meta = json.loads(path.with_suffix(".json").read_text())
    seen = set(INPUTS)
    for number, settings in enumerate(meta.get("zip_cfgs", [])):
        seen |= {f"zip{number}_{what}" for what in ("state", "diff", "action", "action_noalias")}
        yield from guarded(f"search zip{number}", _zip(golden, f"zip{number}", settings, meta["keys"]))
    for number, settings in enumerate(meta.get("ts_cfgs", [])):
        seen |= {f"ts{number}_{what}" for what in ("trace", "difflog", "future_goal", "filters")}
        yield from guarded(f"search ts{number}", _ts(golden, f"ts{number}", settings))
    yield left_over("search", set(golden) - seen)


def _zip(golden: Golden, name: str, settings: Mapping[str, Any], keys: Sequence[str]) -> Iterator[Finding]:
    for aliasing, action in ((True, "action"), (False, "action_noalias")):
        latents, lengths, buttons, camera = (
            golden[what] for what in ("latents_f16", "lens", "demo_buttons", "demo_camera")
        )
        rules = ZipRules(latents, lengths, buttons, camera, keys, ZipSettings(**settings), aliasing=aliasing)
        steps = [rules.step(*seen) for seen in zip(golden["queries_f16"], golden["gui_open"], strict=True)]
        actions = [(*step.buttons, *step.camera) for step in steps]
        yield Finding(f"search {name}_{action}", largest_error(actions, golden[f"{name}_{action}"]), 0.0)
    states = [
        (step.searched, step.closest, step.counter, step.switches, step.in_inventory, step.escaped, step.presses,
         *step.rotation)
        for step in steps
    ]  # fmt: skip
    yield Finding(f"search {name}_state", largest_error(states, golden[f"{name}_state"]), 0.0)
    differences = [(step.before, step.difference) for step in steps]
    yield Finding(f"search {name}_diff", largest_error(differences, golden[f"{name}_diff"]), 2e-3)


def _ts(golden: Golden, name: str, settings: Mapping[str, Any]) -> Iterator[Finding]:
    rules = TsRules(golden["ts_vpt_f16"], golden["ts_mineclip_f16"], golden["ts_lens"], TsSettings(**settings))
    rules.set_goal(golden["ts_goal"])
    assert rules.goal_cost is not None
    yield Finding(f"search {name}_future_goal", _relative(rules.goal_cost, golden[f"{name}_future_goal"]), 1e-5)
    kept = [goal_filter(rules.goal_cost, cut).sum() for cut in FILTERS.values()]
    yield Finding(f"search {name}_filters", largest_error(kept, golden[f"{name}_filters"]), 0.0)
    steps = [rules.step(query) for query in golden["ts_queries_f16"]]
    trace = [
        (step.searched, step.nearest, step.follow, step.redo_counter, TURN if step.frame is None else step.frame)
        for step in steps
    ]
    wanted = golden[f"{name}_trace"].copy()
    wanted[wanted[:, 4] == -1, 4] = len(golden["ts_vpt_f16"]) - 1  # numpy's name for the same action
    yield Finding(f"search {name}_trace", largest_error(trace, wanted), 0.0)
    yield Finding(
        f"search {name}_difflog", _relative([step.difference for step in steps], golden[f"{name}_difflog"]), 1e-4
    )


def _relative(ours: Any, golden: NDArray[Any]) -> float:
    """The largest difference relative to the value, or to a hundredth of the largest where the value is less."""
    floor = float(np.abs(golden).max(initial=0)) / 100 or 1.0
    scale = np.maximum(np.abs(golden), floor)
    ours = np.asarray(ours)
    return largest_error(ours / scale, golden / scale) if ours.shape == golden.shape else float("inf")
