"""The published search agents' rules: the recorded traces, and one small case for each rule and each defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_agent import zip_rules
from search_agent.published_distances import METRICS, as_halves, distances, float32_blocks, prepared
from search_agent.ts_rules import TsRules, TsSettings, future_minimum
from search_agent.zip_rules import ZIP_PRESETS, ZipRules, ZipSettings, inventory_flags
from tests.parity import search
from tests.parity.finding import GOLDEN

KEYS = ("forward", "inventory", "ESC", "sneak")

recorded = pytest.mark.skipif(search.find(GOLDEN) is None, reason="no reference outputs at ../shared/golden/steve1")


def line(frames: int, dimensions: int = 4) -> np.ndarray:
    """float16 (frames, dimensions): frame i is i everywhere, so that mean differences are differences of numbers."""
    return np.repeat(np.arange(frames, dtype=np.float16)[:, None], dimensions, 1)


def at(value: float, dimensions: int = 4) -> np.ndarray:
    return np.full(dimensions, value, np.float32)


def zip_rules_of(
    frames: int = 40, held: dict[str, list[int]] | None = None, camera: Any = None, lengths: Any = None, **more: Any
) -> ZipRules:
    buttons = np.zeros((frames, len(KEYS)), np.int8)
    for key, when in (held or {}).items():
        buttons[when, KEYS.index(key)] = 1
    camera = np.zeros((frames, 2), int) if camera is None else camera
    settings = ZipSettings(**{"counter_max": 16, "warmup": 1} | more.pop("settings", {}))
    return ZipRules(line(frames), [frames] if lengths is None else lengths, buttons, camera, KEYS, settings, **more)


@recorded
def test_recorded_traces() -> None:
    found = list(search.check(GOLDEN))
    assert len(found) >= 29
    assert not [str(finding) for finding in found if not finding.passed]


@recorded
def test_a_wrong_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_rules, "TURN_LIMIT", 19)
    assert not next(search.check(GOLDEN)).passed


def test_a_folder_without_traces_has_no_findings(tmp_path: Path) -> None:
    assert not list(search.check(tmp_path))


# ZIP


def test_far_away_it_searches_once_half_the_copy_is_done() -> None:
    rules = zip_rules_of()
    steps = [rules.step(at(0), False), *(rules.step(at(30), False) for _ in range(8))]
    assert [step.searched for step in steps] == [True, *[False] * 7, True]
    assert [step.frame for step in steps] == [*range(8), 30]
    assert steps[-1].before == 22 and steps[-1].difference == 0


@pytest.mark.parametrize(("off", "searches_at"), [(0.25, 8), (0.125, 15)])
def test_drifting_searches_after_eight_steps_of_it_and_else_time_does(off: float, searches_at: int) -> None:
    rules = zip_rules_of()
    steps = [rules.step(at(0 if i == 0 else i + off), False) for i in range(searches_at + 1)]
    assert [i for i, step in enumerate(steps) if step.searched] == [0, searches_at]
    assert steps[searches_at - 1].switches == (7 if searches_at == 8 else 0)


def test_differences_are_rounded_as_halves_are() -> None:
    dice = np.random.default_rng(0)
    one, other = (dice.normal(0, scale, 50_000).astype(np.float16) for scale in (1, 1))
    one[:20_000] *= np.float16(1e-3)
    other[:10_000] *= np.float16(1e-5)
    differences = one.astype(np.float32) - other.astype(np.float32)
    np.testing.assert_array_equal(as_halves(differences), (one - other).astype(np.float32))


def test_limits_are_halves_as_torch_compares_them() -> None:
    limit = float(np.float16(0.2))
    assert limit < 0.2  # what is as far away as that drifts all the same
    rules = zip_rules_of()
    rules.step(at(0), False)
    rules.counter = 0
    assert rules.step(at(limit), False).switches == 1


def test_a_power_counts_in_searches_alone() -> None:
    latents = np.array([[0, 0, 0, 2], [0.75, 0.75, 0.75, 0]], np.float16)
    one, two = (
        ZipRules(latents, [2], np.zeros((2, 4)), np.zeros((2, 2), int), KEYS, ZipSettings(warmup=1, power=power))
        for power in (1, 2)
    )
    assert (one.step(np.zeros(4), False).closest, two.step(np.zeros(4), False).closest) == (0, 1)
    assert (one.difference, two.difference) == (0.5, 0.5625)


def test_a_copy_runs_on_into_the_next_trajectory_but_not_past_the_last() -> None:
    rules = zip_rules_of(8, lengths=[3, 5])
    frames = [rules.step(at(i), False).frame for i in range(2, 8)]
    assert frames == [2, 3, 4, 5, 6, 7]
    step = rules.step(at(2), False)
    assert step.searched and step.frame == 2 and step.before == zip_rules.PAST_THE_END


def test_without_a_warm_up_the_first_frame_of_all_is_copied_unsearched() -> None:
    step = zip_rules_of(settings={"warmup": 0}).step(at(30), False)
    assert not step.searched and step.frame == 0


def test_pitch_is_steered_to_the_demonstration_by_20_degrees_a_step() -> None:
    camera = np.tile([15, -30], (40, 1))
    rules = zip_rules_of(camera=camera, settings={"offset": -10})
    assert rules.demo_pitch[:8].tolist() == [5, 20, 35, 50, 65, 80, 90, 90]
    steps = [rules.step(at(i), False) for i in range(2, 12)]
    assert [step.camera[0] for step in steps] == [20, 20, 20, 20, 20, 0, 0, 0, 0, 0]
    assert steps[-1].rotation == (90, -200) and all(step.camera[1] == -20 for step in steps)


@pytest.mark.parametrize("aliasing", [True, False])
def test_aliasing_edits_the_demonstrations_and_no_aliasing_does_not(aliasing: bool) -> None:
    camera = np.tile([15, 30], (40, 1))
    rules = zip_rules_of(camera=camera, aliasing=aliasing, settings={"warmup": 99})
    assert rules.step(at(3), False).camera == (20, 20)
    # With the inventory open, the camera is copied as it stands.
    assert rules.step(at(3), True).camera == ((20, 20) if aliasing else (15, 30))
    rules.reset()
    assert rules.camera[3].tolist() == ([20, 20] if aliasing else [15, 30])
    assert (camera == [15, 30]).all()


def test_inventory_presses_are_never_copied_but_follow_from_the_difference() -> None:
    everywhere = list(range(40))
    rules = zip_rules_of(held={"inventory": [2, 3, 6], "forward": everywhere, "sneak": everywhere})
    assert np.flatnonzero(rules.demo_in_inventory).tolist() == [2, 3, 4, 5]  # a key held on toggles once
    steps = [rules.step(at(i), False) for i in range(8)]
    held = [{key for key, down in zip(KEYS, step.buttons, strict=True) if down} for step in steps]
    walking, pressing = {"forward", "sneak"}, {"inventory", "sneak"}
    assert held == [{"sneak"}, walking, pressing, walking, walking, walking, pressing, walking]
    assert [step.in_inventory for step in steps] == [False, False, True, True, True, True, False, False]


def test_an_inventory_seen_open_is_closed_when_the_demonstration_has_none() -> None:
    rules = zip_rules_of()
    rules.step(at(0), False)
    step = rules.step(at(1), True)
    assert step.buttons[KEYS.index("inventory")] and not step.in_inventory


def test_opening_and_closing_in_neighbouring_steps_gets_stuck_as_published() -> None:
    """The key is held on for the second press, which is none; so the inventory stays open and the key down."""
    rules = zip_rules_of(held={"inventory": [2], "ESC": [3]})
    steps = [rules.step(at(i), False) for i in range(7)]
    assert [bool(step.buttons[KEYS.index("inventory")]) for step in steps] == [False] * 2 + [True] * 5
    assert steps[-1].in_inventory and not rules.demo_in_inventory[steps[-1].frame]


def test_escape_is_kept_back_at_first_unless_it_closes_the_inventory() -> None:
    rules = zip_rules_of(held={"ESC": [1, 3, 5]}, settings={"no_escape": 5})
    escapes = [bool(rules.step(at(i), False).buttons[KEYS.index("ESC")]) for i in range(6)]
    assert escapes == [False] * 5 + [True]
    # Only flags from elsewhere have ESC in an open inventory: what presses say is that it has closed it.
    opened = zip_rules_of(held={"ESC": [3]}, in_inventory=np.arange(40) == 3, settings={"no_escape": 99})
    steps = [opened.step(at(i), i == 3) for i in range(4)]
    assert steps[3].escaped and steps[3].buttons[KEYS.index("ESC")] and not steps[3].in_inventory


def test_presets() -> None:
    warmups = {task: (preset.warmup, preset.offset) for task, preset in ZIP_PRESETS.items()}
    assert warmups == {"FindCave": (10, -10), "Waterfall": (20, 0), "Pen": (20, -10), "House": (20, -5)}
    assert {(p.counter_max, p.scale, p.no_escape) for p in ZIP_PRESETS.values()} == {(128, 2.0, 2000)}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"latents": line(4).astype(np.float32)}, r"float32 \(4, 4\), expected float16"),
        ({"lengths": [1, 2]}, r"\[1 2\], expected positive integers that sum to 4"),
        ({"buttons": np.zeros((4, 3))}, r"buttons has shape \(4, 3\), expected \(4, 4\)"),
        ({"camera": np.zeros((4, 2))}, "camera is float64, expected integers"),
        ({"keys": ("a", "b", "ESC", "c")}, "inventory and ESC among them"),
        ({"in_inventory": [True]}, r"in_inventory has shape \(1,\), expected \(4,\)"),
    ],
)
def test_zip_says_what_it_expected(wrong: dict[str, Any], told: str) -> None:
    right: dict[str, Any] = {
        "latents": line(4),
        "lengths": [4],
        "buttons": np.zeros((4, 4)),
        "camera": np.zeros((4, 2), int),
        "keys": KEYS,
    }
    with pytest.raises(ValueError, match=told):
        ZipRules(**right | wrong)
    with pytest.raises(ValueError, match=r"latent has shape \(3,\), expected \(4,\)"):
        zip_rules_of().step(np.zeros(3), False)
    assert inventory_flags(np.zeros((4, 4)), [2, 2], KEYS).tolist() == [False] * 4


# TS-BC


def ts_rules_of(frames: int = 60, lengths: Any = None, **settings: Any) -> TsRules:
    """Rules with a goal that all frames are equally far from."""
    settings = dict[str, Any](distance="manhatten", warmup_frames=0) | settings
    goals = np.zeros((frames, 2), np.float16)
    rules = TsRules(line(frames), goals, [frames] if lengths is None else lengths, TsSettings(**settings))
    rules.set_goal(at(0, 2))
    return rules


def test_it_turns_first_then_plays_the_frame_before_the_match() -> None:
    rules = ts_rules_of(warmup_frames=19)
    steps = [rules.step(at(30)) for _ in range(22)]
    assert [step.frame for step in steps] == [None] * 19 + [29, 30, 31]
    assert [step.searched for step in steps] == [False] * 19 + [True, False, False]
    assert ts_rules_of().step(at(0)).frame == 59  # there is none before the first: the very last is played


def test_a_choice_and_its_neighbours_cost_more_at_the_next_searches() -> None:
    rules = ts_rules_of(max_follow_frames=0, penalty=100.0)  # searches at every other step
    steps = [rules.step(at(30)) for _ in range(5)]
    assert [step.nearest for step in steps if step.searched] == [30, 35, 24]  # each time just beyond what is charged
    assert rules.penalties[18:41].tolist() == [0, *[100] * 10, 98, *[99] * 10, 0]  # frame 29 is left from the first


def test_by_default_nothing_but_time_searches_however_far_it_drifts() -> None:
    rules = ts_rules_of(frames=400)
    rules.step(at(100))
    steps = [rules.step(at(30000)) for _ in range(22)]
    assert [step.searched for step in steps] == [False] * 21 + [True]
    assert max(step.redo_counter for step in steps) == 0


def test_with_a_threshold_within_reach_three_drifting_frames_search() -> None:
    rules = ts_rules_of(frames=400, diff_threshold=50.0)
    rules.step(at(100))
    steps = [rules.step(at(200)) for _ in range(10)]
    assert [i for i, step in enumerate(steps) if step.searched] == [9]  # not counted before frame 0.33 * 20, which is 7
    assert [step.redo_counter for step in steps] == [*[0] * 7, 1, 2, 0]


def test_the_last_frame_of_an_episode_searches() -> None:
    rules = ts_rules_of(lengths=[20, 40])
    steps = [rules.step(at(17)) for _ in range(4)]
    assert [step.frame for step in steps] == [16, 17, 18, 16]


@pytest.mark.parametrize(("goal_dimensions", "nearest"), [(2, 20), (8, 36)])
def test_the_goal_is_weighed_against_the_present_by_numbers_of_dimensions(goal_dimensions: int, nearest: int) -> None:
    rules = TsRules(
        line(60), line(60, goal_dimensions), [38, 22], TsSettings("manhatten", goal_window=5, warmup_frames=0)
    )
    rules.set_goal(at(40, goal_dimensions))
    assert rules.goal_cost is not None
    # Frame 36 is as good as the goal itself, 4 frames later, though another episode begins in between.
    assert rules.goal_cost[35:42].tolist() == [goal_dimensions, 0, 0, 0, 0, 0, goal_dimensions]
    assert rules.step(at(20)).nearest == nearest


@pytest.mark.parametrize("window", [1, 2, 7, 30, 100])
def test_future_minimum(window: int) -> None:
    values = np.random.default_rng(0).random(30, np.float32)
    wanted = [values[i : i + window].min() for i in range(30)]
    assert future_minimum(values, window).tolist() == wanted


def test_ts_says_what_it_expected() -> None:
    with pytest.raises(ValueError, match=r"distance is 'manhattan', expected one of cosine, euclidean, manhatten"):
        TsSettings(distance="manhattan")
    with pytest.raises(ValueError, match="goal_latents has 3 frames, expected the 4 of latents"):
        TsRules(line(4), line(3), [4])
    with pytest.raises(ValueError, match="expected set_goal before step"):
        TsRules(line(4), line(4), [4]).step(at(0))


# Distances


def test_halves_are_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    finite = np.isfinite(halves)
    widened = np.concatenate([block.copy() for _, block in float32_blocks(halves)])
    assert (widened[finite] == halves.astype(np.float32)[finite]).all() and (np.abs(widened[~finite]) >= 2**16).all()


@pytest.mark.parametrize("metric", METRICS)
def test_distances_over_several_blocks(metric: str) -> None:
    rng = np.random.default_rng(1)
    latents, query = rng.standard_normal((2500, 300)).astype(np.float16), rng.standard_normal(300).astype(np.float32)
    latents[2400] = latents[7]
    store, difference = latents.astype(np.float64), latents.astype(np.float64) - query
    cosine = store @ query / np.linalg.norm(store, axis=1) / np.linalg.norm(query)
    wanted = {
        "cosine": 1 - cosine,
        "euclidean": (difference**2).sum(1),
        "manhatten": np.abs(difference).sum(1),
        "chebyshev": np.abs(difference).max(1),
    }[metric]
    found = distances(prepared(latents, metric), query, metric)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3 if metric == "cosine" else 0)
    assert found[2400] == found[7]
