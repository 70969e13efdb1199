"""A small CLIP learns what texts name, goes on as if it had not been stopped, and is judged without flattery."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prior.nn.precision import Precision
from prior.text.embedding.clip_data import ClipLoader, Film
from prior.text.embedding.clip_training import ClipTrainer, ClipTraining
from prior.text.embedding.judging import balanced, judge, judge_draws
from prior.text.embedding.small_clip import SmallClip, embedder_of, preset
from tests.prior.text.clips import COLOURS, coloured_films

CONFIG = preset("debug")
TRAINING = ClipTraining(
    steps=50, batch=8, sampled=2, learning_rate=3e-3, average=0.8, save_every=1000, validate_every=1000
)


def trainer(folder: Path, films: list[Film], training: ClipTraining, held: list[Film] | None = None) -> ClipTrainer:
    torch.manual_seed(0)
    loader = ClipLoader(films, CONFIG, training.batch, training.seed, training.sampled, training.augment)
    judged = ClipLoader(held, CONFIG, 8) if held else None
    return ClipTrainer(folder, SmallClip(CONFIG), training, loader, judged)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_texts_find_what_they_name_in_films_never_trained_on(tmp_path: Path, precision: Precision) -> None:
    films, training = coloured_films(16), replace(TRAINING, precision=precision)
    last: dict[str, float] = {}
    network = trainer(tmp_path, films[:12], training, films[12:]).run(lambda _, metrics: last.update(metrics))
    assert last["validation_same_kind"] > 0.8 > 2 * last["validation_same_kind_chance"], last
    assert network.clip_centre.norm() > 0.05 and network.text_centre.norm() > 0.05, "it counts from the middle"
    assert np.isfinite(last["validation_loss"]) and last["validation_recall"] > last["validation_chance"]
    embedder = embedder_of(network, "new", "key")
    video = np.concatenate([film.images for film in films[12:]]).reshape(-1, 6, 24, 32, 3)
    kinds = [clip.kind for film in films[12:] for clip in film.clips]
    near = (
        embedder.encode_text([f"the player sees something {name}" for name in COLOURS]) @ embedder.encode_video(video).T
    )
    assert np.mean([list(COLOURS)[row] == kind for row, kind in zip(near.argmax(0), kinds, strict=True)]) > 0.8


def test_stopped_and_begun_again_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    films, training = coloured_films(4), replace(TRAINING, steps=6, save_every=3)
    whole = trainer(tmp_path / "whole", films, training).run()

    class StoppedError(Exception):
        pass

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        trainer(tmp_path / "parts", films, training).run(stop)
    again = trainer(tmp_path / "parts", films, training)
    assert again.step == 3
    for ours, theirs in zip(again.run().parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=r"training\.batch was 8, is 4"):
        trainer(tmp_path / "parts", films, replace(training, batch=4))


def test_a_step_sees_what_seed_and_step_say() -> None:
    films = coloured_films(4)
    one, same, other = (ClipLoader(films, CONFIG, 8, seed, 3, True) for seed in (1, 1, 2))
    assert one.steps_an_epoch == 4 and one.draw(0).now.shape == (8, 3, 24, 32, 3)
    for step in (0, 3, 7):
        ours, theirs = one.draw(step), same.draw(step)
        assert np.array_equal(ours.now, theirs.now) and ours.texts == theirs.texts
        assert ours.places.min() >= 1 and (np.diff(ours.places) > 0).all()
    assert not np.array_equal(one.draw(0).now, other.draw(0).now)
    seen = [text for step in range(4) for text in one.draw(step).kinds]
    assert len(seen) == 32 and sorted(seen) == sorted(clip.kind for film in films for clip in film.clips)
    loader = ClipLoader(films, CONFIG, 8)
    batch, *more = loader.some(8, 8)
    assert not more and np.array_equal(batch.before[:, 1:], batch.now[:, :-1])
    assert sorted(kind for part in loader.some(99, 8) for kind in part.kinds) == sorted(seen)
    with pytest.raises(ValueError, match="a batch of 99 of 32 clips"):
        ClipLoader(films, CONFIG, 99)
    with pytest.raises(ValueError, match=r"f0\.mp4: 4 frames, expected at least the 6"):
        ClipLoader([replace(films[0], images=films[0].images[:4])], CONFIG, 4)


def test_judged_are_as_many_of_each_kind_as_can_be() -> None:
    films = coloured_films(6)
    rare = replace(films[0], clips=tuple(replace(clip, kind="rare") for clip in films[0].clips[:2]))
    loader = ClipLoader([rare, *films[1:]], CONFIG, 8)
    kinds = Counter(kind for part in loader.some(14, 8) for kind in part.kinds)
    assert kinds.pop("rare") == 2 and max(kinds.values()) - min(kinds.values()) <= 1, kinds
    plain = Counter(kind for part in loader.some(14, 8, even=False) for kind in part.kinds)
    assert plain.total() == 14 and plain["rare"] < 2, "as they come"
    assert "rare" not in {kind for part in loader.some(99, 8, without=["rare"]) for kind in part.kinds}
    rows = balanced(["a"] * 30 + [""] * 10, np.random.default_rng(0))
    assert len(rows) == 40 and set(rows[:11]) > set(range(30, 40)), "each unknown kind is its own"


def test_the_loss_held_back_is_that_of_training(tmp_path: Path) -> None:
    films = coloured_films(4)
    last: dict[str, float] = {}
    alone = replace(TRAINING, steps=1, batch=32, sampled=0, learning_rate=1e-9, average=0.0, augment=False)
    torch.manual_seed(0)
    loader = ClipLoader(films, CONFIG, 32)
    network = SmallClip(CONFIG)
    ClipTrainer(tmp_path, network, replace(alone, precision="float32"), loader, loader).run(
        lambda _, metrics: last.update(metrics)
    )
    assert abs(last["validation_loss"] - last["loss"]) < 1e-3, last


def test_kinds_hardly_trained_on_are_not_judged_by(tmp_path: Path) -> None:
    films = coloured_films(16)
    odd = replace(films[12], clips=tuple(replace(clip, kind="odd") for clip in films[12].clips[:3]))
    run = trainer(tmp_path, films[:12], TRAINING, [odd, *films[13:]])
    trained = run.loader.kinds
    assert run.rare_kinds() == sorted({"odd"} | {kind for kind in trained if trained[kind] < 20})
    assert run.validation is not None
    assert run.retrieval(run.network, run.validation).clips == sum(
        count for kind, count in run.validation.kinds.items() if kind not in run.rare_kinds()
    )
    few = trainer(tmp_path / "few", films[:1], TRAINING, [odd, films[13]])
    assert few.rare_kinds() == [], "there would be none to judge by"


def test_retrieval_counts_what_is_found_and_a_point_finds_nothing() -> None:
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((40, 16)).astype(np.float32)
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    kinds = [str(number % 4) for number in range(40)]
    assert judge(clips, clips, kinds).recall == 1
    shifted = judge(clips, np.roll(clips, 1, 0), kinds)
    assert shifted.recall < 0.4 and shifted.chance == 5 / 40 and shifted.same_kind_chance == 0.25
    point = np.repeat(clips[:1], 40, 0)
    assert judge(clips, point, kinds).recall == 0
    by_kind = np.eye(16, dtype=np.float32)[[int(kind) for kind in kinds]]
    assert judge(by_kind, by_kind, kinds).same_kind == 1 and judge(by_kind, by_kind, kinds).by_kind == 0.5
    assert judge(clips[:20], clips[:20], ["a"] * 10 + [str(number) for number in range(10)]).by_kind == 0.75
    unknown = judge(clips, clips, [""] * 40)
    assert (unknown.recall, unknown.ceiling) == (1, 1) and unknown.by_kind is unknown.same_kind is None
    some = judge(by_kind, by_kind, ["0", *[""] * 3] * 10)
    assert (some.same_kind, some.same_kind_chance, some.by_kind) == (1, 0.25, 0.5), "of those whose kind is known"
    assert judge(clips, clips, kinds, ["dig"] * 20 + kinds[:20]).ceiling == (20 * 5 / 20 + 20) / 40
    one, many = (judge_draws(clips, np.roll(clips, 1, 0), kinds, kinds, 20, draws) for draws in (1, 200))
    assert (
        many.clips == 20
        and one.recall != many.recall
        and many == judge_draws(clips, np.roll(clips, 1, 0), kinds, kinds, 20)
    )
    common = ["dig"] * 38 + ["a", "b"]
    even, plain = (judge_draws(clips, clips, common, kinds, 20, even=even) for even in (True, False))
    assert even.by_kind is not None and plain.by_kind is not None and even.by_kind > plain.by_kind + 0.03
    assert many.ceiling == many.by_kind == 1 and judge_draws(clips, clips, kinds, kinds, 99) == judge(
        clips, clips, kinds, kinds
    )
    with pytest.raises(ValueError, match="3 clips to judge by"):
        judge(clips[:3], clips[:3], kinds[:3])
