"""The judge is judged by breaking labels in known ways and asking for the scores that must follow."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from data.actions import BUTTONS, ActionTrack
from idm.events import Timeline, match_events, match_sorted, random_presses
from idm.metrics import Predictions, evaluate
from idm.reliability import calibration_error, reliability
from idm.scores import IdmScores

LENGTHS = (3000, 2500, 2000, 500)
PLAYED = 11  # keys that are ever pressed; the hotbar's nine never are


def play(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> ActionTrack:
    """A track of keys held for about 25 frames and released for about 50, and a camera that sweeps."""
    rng = np.random.default_rng(seed)
    frames = sum(lengths)
    buttons = np.zeros((frames, len(BUTTONS)), bool)
    for k in range(PLAYED):
        state, at = False, 0
        while at < frames:
            dwell = int(rng.integers(5, 45 if state else 95))
            buttons[at : at + dwell, k] = state
            state, at = not state, at + dwell
    camera = np.convolve(rng.normal(size=frames), np.ones(9) / 3, "same")[:, None] * (1.0, 2.0)
    return ActionTrack(buttons, camera.astype(np.float32))


def copy_of(
    truth: ActionTrack, probabilities: np.ndarray | None = None, camera: np.ndarray | None = None
) -> Predictions:
    probabilities = truth.buttons.astype(float) if probabilities is None else probabilities
    confidence = np.maximum(probabilities, 1 - probabilities).min(1)
    return Predictions(probabilities, truth.camera if camera is None else camera, confidence, confidence)


@pytest.fixture(scope="module")
def truth() -> ActionTrack:
    return play()


@pytest.fixture(scope="module")
def perfect(truth: ActionTrack) -> IdmScores:
    return evaluate(truth, copy_of(truth), LENGTHS)


def test_perfect_labels_score_one(perfect: IdmScores) -> None:
    assert perfect.mean.counted_keys == BUTTONS[:PLAYED]
    for score in perfect.mean.events:
        assert score.f1 == score.precision == score.recall == 1.0
        assert score.interval == pytest.approx((1.0, 1.0))
    assert perfect.mean.average_precision == 1.0
    assert perfect.mean.accuracy == 1.0
    assert perfect.mean.calibration_error_pooled == 0.0
    for axis in perfect.camera:
        assert axis.r2 == pytest.approx(1.0)
        assert axis.pearson == pytest.approx(1.0)
        assert axis.scale_ratio == pytest.approx(1.0)
        assert axis.slope == pytest.approx(1.0)
        assert axis.mae_degrees == 0.0
        assert axis.mae_no_turn > 0.1
    for point in perfect.kept_by_button_confidence:
        assert point.change_accuracy == point.change_exact == point.event_f1 == 1.0


def test_labels_late_by_one_frame_lose_exact_events_only(truth: ActionTrack) -> None:
    late = np.roll(truth.buttons, 1, axis=0).astype(float)
    scores = evaluate(truth, copy_of(truth, late), LENGTHS)
    assert scores.mean.f1(0) == 0.0
    assert scores.mean.f1(1) == pytest.approx(1.0, abs=0.03)  # not all: an event leaves its recording at each end
    assert scores.mean.f1(2) == scores.mean.f1(1)
    # It is the 'delayed truth' baseline, up to what np.roll carries from one recording into the next.
    assert scores.mean.events[0].delayed_truth_f1 == 0.0
    assert scores.mean.events[1].delayed_truth_f1 == pytest.approx(1.0, abs=0.02)
    assert scores.mean.accuracy == pytest.approx(scores.mean.accuracy_previous_frame, abs=1e-3)
    assert scores.mean.accuracy > 0.95  # which is why frame accuracy is not the number to look at


def test_labels_of_another_game_score_like_random_presses(truth: ActionTrack) -> None:
    scores = evaluate(truth, copy_of(truth, play(seed=1).buttons.astype(float), play(seed=2).camera), LENGTHS)
    for score in scores.mean.events:
        assert score.random_presses_f1 is not None and score.f1 is not None
        assert score.f1 == pytest.approx(score.random_presses_f1, abs=0.04)
        assert score.f1 < 0.2
    assert scores.mean.average_precision == pytest.approx(scores.mean.prevalence, abs=0.06)
    for axis in scores.camera:
        assert axis.r2 == pytest.approx(-1.0, abs=0.25)  # as varied as the truth and unrelated to it
        assert axis.pearson == pytest.approx(0.0, abs=0.1)
        assert axis.scale_ratio == pytest.approx(1.0, abs=0.1)


def test_labels_that_never_press_equal_the_always_released_baseline(truth: ActionTrack) -> None:
    silent = evaluate(truth, copy_of(truth, np.zeros((len(truth), 20)), np.zeros((len(truth), 2))), LENGTHS)
    assert silent.mean.accuracy == silent.mean.accuracy_always_released
    assert silent.mean.accuracy > 0.7
    assert silent.mean.average_precision == pytest.approx(silent.mean.prevalence)
    for score in silent.mean.events:
        assert (score.f1, score.precision, score.recall) == (0.0, None, 0.0)
        assert score.always_released_f1 == 0.0
    for axis in silent.camera:
        assert axis.r2 is not None and axis.r2 <= 0
        assert (axis.pearson, axis.scale_ratio, axis.slope) == (None, 0.0, 0.0)
        assert axis.mae_degrees == axis.mae_no_turn


def test_undefined_values_are_null_in_json(truth: ActionTrack) -> None:
    still = ActionTrack(np.zeros((40, 20), bool), np.full((40, 2), 0.1, np.float32))
    scores = evaluate(still, copy_of(still), (40,))
    text = json.dumps(scores.to_dict(), allow_nan=False)
    assert scores.mean.counted_keys == ()
    assert scores.mean.f1(1) is None and scores.keys[0].f1(1) is None and scores.keys[0].average_precision is None
    assert scores.camera[0].r2 is None and scores.camera[0].scale_ratio is None and scores.camera[0].pearson is None
    assert json.loads(text)["keys"][0]["random_presses_f1"] == [None, None, None]


def test_keys_with_few_events_stay_out_of_the_mean(truth: ActionTrack) -> None:
    buttons = truth.buttons.copy()
    buttons[:, BUTTONS.index("drop")] = False
    buttons[100:110, BUTTONS.index("drop")] = True
    scores = evaluate(ActionTrack(buttons, truth.camera), copy_of(truth), LENGTHS)
    drop = scores.keys[BUTTONS.index("drop")]
    assert (drop.true_events, drop.counted) == (2, False)
    assert "drop" not in scores.mean.counted_keys
    assert scores.mean.f1(0) == 1.0


def test_no_event_across_recordings_or_unknown_frames() -> None:
    held = np.zeros((30, 20), bool)
    held[10:, 0] = True  # the change falls on the seam of two recordings
    held[15:20, 0] = False  # and both others on frames without truth
    valid = np.ones(30, bool)
    valid[15:20] = False
    scores = evaluate(
        ActionTrack(held, np.zeros((30, 2), np.float32), valid=valid),
        copy_of(ActionTrack(held, np.zeros((30, 2), np.float32))),
        (10, 20),
    )
    assert scores.frames == 25 and scores.frames_unknown == 5
    assert scores.keys[0].true_events == 0
    assert scores.keys[0].accuracy_previous_frame == pytest.approx(23 / 25)


def test_presses_never_match_releases() -> None:
    true, predicted = np.zeros(20, bool), np.zeros(20, bool)
    true[10:15], predicted[5:10] = True, True  # the predicted release lies on the true press
    timeline = Timeline.of((20,), np.ones(20, bool), gap=5)
    score = match_events(true, predicted, timeline, 2).score(2)
    assert (score.true_events, score.predicted_events, score.matched, score.f1) == (2, 2, 0, 0.0)


def test_greedy_matching_is_a_largest_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        a = np.sort(rng.choice(14, rng.integers(0, 5), replace=False))
        b = np.sort(rng.choice(14, rng.integers(0, 5), replace=False))
        small, large = sorted((a.tolist(), b.tolist()), key=len)
        best = max(
            (
                sum(abs(x - y) <= 2 for x, y in zip(small, chosen, strict=True))
                for chosen in itertools.permutations(large, len(small))
            ),
            default=0,
        )
        first, second = match_sorted(a, b, 2)
        assert first.sum() == second.sum() == best


def test_random_presses_keep_the_habits_of_the_key(truth: ActionTrack) -> None:
    timeline = Timeline.of(LENGTHS, np.ones(len(truth), bool), gap=5)
    key = truth.buttons[:, 0]
    draws = np.stack([random_presses(key, timeline, np.random.default_rng(seed)) for seed in range(40)])
    assert draws.mean() == pytest.approx(key.mean(), rel=0.1)
    rate = np.mean([timeline.changes(draw).sum() for draw in draws])
    assert rate == pytest.approx(timeline.changes(key).sum(), rel=0.1)


def test_calibration_error_sees_overconfidence() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=50_000)
    held = rng.uniform(size=50_000) < probability
    honest = calibration_error(reliability(probability, held))
    sharpened = calibration_error(reliability(probability**3 / (probability**3 + (1 - probability) ** 3), held))
    assert honest is not None and honest < 0.01
    assert sharpened is not None and sharpened > 0.1


def test_kept_curve_rises_when_confidence_is_honest_and_not_when_it_is_noise(truth: ActionTrack) -> None:
    rng = np.random.default_rng(0)
    bad = rng.uniform(size=len(truth)) < 0.3
    wrong = truth.buttons ^ (bad[:, None] & (rng.uniform(size=truth.buttons.shape) < 0.2))
    camera = truth.camera + np.where(bad[:, None], rng.normal(0, 3, truth.camera.shape), 0)
    for confidence, rises in ((1.0 - bad, True), (rng.uniform(size=len(truth)), False)):
        scores = evaluate(truth, Predictions(wrong.astype(float), camera, confidence, confidence), LENGTHS)
        points = {round(p.share, 2): p for p in scores.kept_by_button_confidence}
        some, whole = (np.array([p.change_exact, p.event_f1, p.camera_r2[1]]) for p in (points[0.6], points[1.0]))
        assert (some - whole > 0.1).all() if rises else (abs(some - whole) < 0.1).all()
        assert points[1.0].events_kept == 1.0


def test_bad_input_is_refused_by_name(truth: ActionTrack) -> None:
    with pytest.raises(ValueError, match=r"8000 frames of truth, 8000 predicted, recordings of 10"):
        evaluate(truth, copy_of(truth), (10,))
    with pytest.raises(ValueError, match=r"Predictions\.camera is not finite at frame 7"):
        camera = truth.camera.copy()
        camera[7] = np.nan
        copy_of(truth, camera=camera)
    nothing = ActionTrack(truth.buttons, truth.camera, valid=np.zeros(len(truth), bool))
    with pytest.raises(ValueError, match="no frame of 8000 has known truth"):
        evaluate(nothing, copy_of(truth), LENGTHS)


def test_the_same_input_gives_the_same_scores(truth: ActionTrack, perfect: IdmScores) -> None:
    assert evaluate(truth, copy_of(truth), LENGTHS) == perfect
