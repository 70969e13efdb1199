"""Behavioural cloning over sequences: what is drawn, what is learnt, and that a stopped run goes on as if it had not been."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from data.actions import BUTTON_INDEX, ActionTrack
from data.augment import mirror_joint
from data.frame_inputs import FrameInputs, InputMaker
from data.joint_actions import JointActions
from prior.checkpoint import load_policy
from prior.cloning import CloningLoss, means
from prior.config import PolicyConfig, preset
from prior.episodes import LEAD_IN, Choices, Episode, episode_of
from prior.policy import Policy
from prior.sequences import Chunks, SequenceLoader, Source, Variation, slots_for
from prior.training import RECIPES, Cloner, CloningConfig, DivergedError, begin_with_frequencies

CONFIG = preset("debug")


def episode(frames: int, seed: int, choices: Choices | None = None, config: PolicyConfig = CONFIG) -> Episode:
    """Red frames are walked in with the fourth slot selected, others stood still in with the first; each picture tells its
    episode and frame."""
    rng = np.random.default_rng(seed)
    walking = np.repeat(rng.random(frames // 5 + 1) < 0.5, 5)[:frames]
    images = rng.integers(0, 60, (frames, *config.image_size, 3), dtype=np.uint8)
    images[walking, ..., 0] += 180
    images[:, 0, 0, 1], images[:, 0, 0, 2] = seed, np.arange(frames) % 256
    buttons = np.zeros((frames, 20), bool)
    buttons[:, 2] = walking
    camera = np.where(walking[:, None], 0, [[0, 5]]).astype(np.float32)
    inputs = next(InputMaker(config.inputs, block=frames).stream(images))
    hotbar = np.roll(3 * walking, -1).astype(np.int8)  # the slot after each action
    return episode_of(f"e{seed}", "", inputs, ActionTrack(buttons, camera), choices or Choices(), hotbar=hotbar)


def loader(slots: int = 4, config: PolicyConfig = CONFIG) -> SequenceLoader:
    episodes = [episode(100 + 7 * n, n, config=config) for n in range(6)]
    return SequenceLoader([Source(episodes)], slots, config.chunk, seed=3)


def cloner(folder: Path, **changed: object) -> Cloner:
    torch.manual_seed(0)
    training = replace(RECIPES["debug"], **changed)  # type: ignore[arg-type]
    return Cloner(folder, Policy(CONFIG), training, loader(training.batch))


def test_slots_go_on_where_they_were_and_every_frame_comes_once() -> None:
    drawn = loader()
    seen: list[tuple[int, int]] = []
    slots: list[list[tuple[int, int, bool]]] = [[] for _ in range(drawn.slots)]
    for step in range(drawn.steps_an_epoch):
        chunks = drawn.draw(step)
        for slot in range(drawn.slots):
            names, frames = chunks.images[slot, :, 0, 0, 1].tolist(), chunks.images[slot, :, 0, 0, 2].tolist()
            slots[slot] += list(zip(names, frames, chunks.first[slot].tolist(), strict=True))
            seen += list(zip(names, frames, strict=True))
    assert len(seen) == len(set(seen)) == drawn.steps_an_epoch * 4 * CONFIG.chunk
    assert len(seen) > 0.9 * sum(100 + 7 * n for n in range(6))
    for frames_of_slot in slots:
        assert frames_of_slot[0][2]
        for before, now in pairwise(frames_of_slot):
            follows = now[0] == before[0] and now[1] == before[1] + 1
            assert follows != now[2], (before, now)


def test_shares_of_sources_are_kept() -> None:
    sources = [Source([episode(200, 1)], 1.0), Source([episode(200, 2)], 3.0)]
    drawn = SequenceLoader(sources, 2, 8, seed=0)
    names = torch.cat([drawn.draw(step).images[:, :, 0, 0, 1].flatten() for step in range(drawn.steps_an_epoch)])
    assert (names == 2).float().mean() == pytest.approx(0.75, abs=0.05)
    with pytest.raises(ValueError, match="every one a share"):
        SequenceLoader([Source([episode(50, 1)]), Source([episode(50, 2)], 1.0)], 2, 8, seed=0)
    with pytest.raises(ValueError, match="fewer than one chunk"):
        SequenceLoader([Source([episode(50, 1)])], 8, 8, seed=0)


@pytest.mark.parametrize(("most", "slots"), [(8, 6), (4, 4)])
def test_few_frames_held_back_fill_fewer_slots(most: int, slots: int) -> None:
    held = [episode(30, 1), episode(20, 2)]
    assert slots_for(held, most, 8) == slots
    assert len(SequenceLoader([Source(held)], slots, 8, seed=0).draw(0).images) == slots


def test_chunks_vary_each_in_itself_alike_and_the_same_again() -> None:
    config = preset("debug_motion")
    episodes = [episode(200, 1, config=config)]

    def drawn(**how: float) -> Chunks:
        return SequenceLoader([Source(episodes)], 4, 8, 0, Variation(**how)).draw(1)  # type: ignore[arg-type]

    plain = SequenceLoader([Source(episodes)], 4, 8, 0).draw(1)
    assert torch.equal(drawn().images, plain.images)
    moved = drawn(pixels=2)
    assert torch.equal(moved.images, drawn(pixels=2).images)
    whole, places = plain.images[:, :, 4:-4, 4:-4], set()
    for slot in range(4):
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(moved.images[slot, :, 4 - down : 32 - down, 4 - right : 60 - right], whole[slot])
        ]
        assert len(fits) == 1  # every frame of the chunk by as much
        places.add(fits[0])
    assert len(places) > 1
    tinted = drawn(colour=0.3)
    change = (tinted.images.float() - plain.images.float()).mean((1, 2, 3))
    assert (change.abs() > 3).any() and not torch.allclose(change[0], change[1], atol=1)
    assert torch.equal(tinted.buttons, plain.buttons) and torch.equal(tinted.motion, plain.motion)
    stilled = drawn(still=1.0)
    assert torch.equal(stilled.images[..., 6:], plain.images[..., :6]) and not stilled.motion.any()
    some = [bool(row.any()) for step in range(6) for row in SequenceLoader(
        [Source(episodes)], 4, 8, 0, Variation(still=0.5)
    ).draw(step).motion]  # fmt: skip
    assert 6 <= sum(some) <= 18


def test_episodes_are_mirrored_as_a_whole_with_their_actions() -> None:
    config = preset("debug_motion")
    episodes = [episode(200, n, config=config) for n in range(4)]
    plain, turned = (
        SequenceLoader([Source(episodes)], 4, 8, 0, Variation(mirror=share)) for share in (0.0, 1.0)
    )  # fmt: skip
    before, after = plain.draw(1), turned.draw(1)
    assert torch.equal(after.images, before.images.flip(3))
    assert torch.equal(after.motion[:, :, 0], -before.motion[:, :, 0].flip(3))
    assert torch.equal(after.motion[:, :, 1:], before.motion[:, :, 1:].flip(4))
    actions = JointActions()
    bits, turns = actions.to_degrees(before.buttons, before.camera)
    bits_after, turns_after = actions.to_degrees(after.buttons, after.camera)
    assert turns[..., 1].any() and np.array_equal(turns_after, turns * [1, -1])
    assert np.array_equal(bits_after, bits)  # none of these walks sideways; which buttons do is told by their pairs:
    names = ("left", "right", "hotbar.2")
    left, right, axe = (actions.from_factored(np.eye(20, dtype=bool)[BUTTON_INDEX[name]], [5, 5])[0] for name in names)
    assert mirror_joint(np.array([left, axe]), np.array([60, 60]))[0].tolist() == [right, axe]  # the same tool as ever

    half = SequenceLoader([Source(episodes)], 4, 8, 0, Variation(mirror=0.5))
    flipped: dict[tuple[int, int], set[bool]] = {}
    for step in range(half.steps_an_epoch):
        ours, theirs = half.draw(step), plain.draw(step)
        order = theirs.images[:, :, 0, 0, 1]
        for slot in range(4):
            for at in range(8):
                same = torch.equal(ours.images[slot, at], theirs.images[slot, at])
                flipped.setdefault((slot, int(order[slot, at])), set()).add(same)
    assert {len(ways) for ways in flipped.values()} == {1}  # never turned in the middle of an episode
    assert len({way for ways in flipped.values() for way in ways}) == 2


def test_a_novice_is_not_copied_but_remembered_for_a_moment() -> None:
    frames = LEAD_IN + 60
    inputs = FrameInputs(np.zeros((frames, 32, 32, 3), np.uint8), np.zeros((frames, 0, 0, 0), np.float16))
    buttons = np.ones((frames, 20), bool)
    copied = np.ones(frames, bool)
    copied[10 : LEAD_IN + 30] = copied[-5:] = False  # long before a turn of the player's, and after the last one
    episode = episode_of(
        "e", "", inputs, ActionTrack(buttons, np.zeros((frames, 2), np.float32)), Choices(), copied=copied
    )
    assert episode.rows.tolist() == [*range(10), *range(30, frames - 5)]
    assert episode.rows[episode.weight > 0].tolist() == [*range(10), *range(LEAD_IN + 30, frames - 5)]
    assert episode.rows[episode.first].tolist() == [0, 30]


def test_null_actions_are_dropped_masked_or_kept() -> None:
    buttons, camera = np.zeros((6, 20), bool), np.zeros((6, 2), np.float32)
    buttons[[1, 4], 2] = True
    images, cut = np.zeros((6, 32, 32, 3), np.uint8), np.array([0, 0, 1, 0, 0, 0], bool)
    inputs = FrameInputs(images, np.zeros((6, 0, 0, 0), np.float16))
    track = ActionTrack(buttons, camera, valid=np.array([1, 1, 1, 1, 1, 0], bool))
    dropped, masked, kept = (
        episode_of("e", "", inputs, track, Choices(nulls), cut=cut) for nulls in ("drop", "mask", "keep")
    )
    assert dropped.rows.tolist() == [1, 4, 5] and dropped.weight.tolist() == [1, 1, 0]
    assert dropped.first.tolist() == [True, True, False]  # the cut lay in a dropped frame
    assert masked.rows.tolist() == list(range(6)) and masked.weight.tolist() == [0, 1, 0, 0, 1, 0]
    assert kept.weight.tolist() == [1, 1, 1, 1, 1, 0] and kept.first.tolist() == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]


def test_the_loss_of_chunks_is_that_of_the_whole(tmp_path: Path) -> None:
    """Memory carries: two chunks give what both at once give."""
    torch.manual_seed(0)
    policy = Policy(CONFIG).eval()
    drawn = SequenceLoader([Source([episode(64, 1)])], 1, 16, seed=0)
    halves = SequenceLoader([Source([episode(64, 1)])], 1, 8, seed=0)
    loss = CloningLoss(policy)
    with torch.no_grad():
        whole, _ = loss(drawn.draw(0), policy.empty_memory(1))
        first, memory = loss(halves.draw(0), policy.empty_memory(1))
        second, _ = loss(halves.draw(1), memory)
        without, _ = loss(halves.draw(1), policy.empty_memory(1))
    torch.testing.assert_close(first + second, whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(first + without, whole, rtol=1e-5, atol=1e-5)


def test_what_can_be_seen_is_learnt(tmp_path: Path) -> None:
    trained = cloner(tmp_path / "run", steps=150, learning_rate=3e-3)
    before = means(trained.loss(trained.loader.draw(0), trained.memory)[0])
    trained.run()
    after = trained._update(trained.loader.draw(3))
    assert before["loss"] > 8 and after["loss"] < 0.5 and after["accuracy_buttons"] > 0.95
    assert after["accuracy_camera"] > 0.95


def test_a_slot_that_shows_is_learnt_beside_and_the_policy_is_none_the_larger(tmp_path: Path) -> None:
    plain, told = cloner(tmp_path / "plain", steps=150), cloner(tmp_path / "told", steps=150, hotbar=0.3)
    first = told._update(told.loader.draw(0))
    assert first["loss_hotbar"] == pytest.approx(np.log(9), rel=1e-4)
    assert first["loss"] == pytest.approx(plain._update(plain.loader.draw(0))["loss"], rel=1e-4)  # of the actions alone
    assert told.run().state_dict().keys() == plain.policy.state_dict().keys()
    after = told._update(told.loader.draw(3))
    assert after["accuracy_hotbar"] > 0.95 and "accuracy_hotbar" not in plain._update(plain.loader.draw(3))
    chunks = told.loader.draw(0)
    unknown = replace(chunks, hotbar=torch.full_like(chunks.hotbar, -1))
    assert "loss_hotbar" not in means(told.loss(unknown, told.memory)[0])


def test_a_frame_shows_the_slot_that_was_selected_before() -> None:
    inputs = FrameInputs(np.zeros((4, 32, 32, 3), np.uint8), np.zeros((4, 0, 0, 0), np.float16))
    buttons = np.ones((4, 20), bool)
    hotbar = np.array([0, 2, 2, 5], np.int8)
    track = ActionTrack(buttons, np.zeros((4, 2), np.float32))
    assert episode_of("e", "", inputs, track, Choices(), hotbar=hotbar).hotbar.tolist() == [-1, 0, 2, 2]
    assert episode_of("e", "", inputs, track, Choices()).hotbar.tolist() == [-1] * 4  # nobody says
    cut = np.array([False, False, True, False])
    assert episode_of("e", "", inputs, track, Choices(), cut=cut, hotbar=hotbar).hotbar.tolist() == [-1, 0, -1, 2]


@pytest.mark.parametrize(("recipe", "size"), [*((r, "debug") for r in sorted(RECIPES)), ("scratch", "debug_motion")])
def test_two_steps_then_resume(recipe: str, size: str, tmp_path: Path) -> None:
    """Every recipe and stem, at the debug size: stopped and started again equals undisturbed, bit for bit."""
    small = {"steps": 4, "batch": 4, "chunk": 8, "save_every": 2, "average": 0.9, "precision": "float32", "hotbar": 0.3}
    training = replace(RECIPES[recipe], **small)  # type: ignore[arg-type]

    def make(folder: str) -> Cloner:
        torch.manual_seed(0)
        return Cloner(tmp_path / folder, Policy(preset(size)), training, loader(4, preset(size)))

    undisturbed = make("whole").run()

    class StoppedError(Exception):
        pass

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        make("stopped").run(stop)
    resumed = make("stopped")
    assert resumed.step == 2
    for (name, one), other in zip(undisturbed.state_dict().items(), resumed.run().state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    whole, parts = cloner(tmp_path / "a"), cloner(tmp_path / "b", accumulate=2, checkpointed=5)
    for step in range(2):
        one, other = whole._update(whole.loader.draw(step)), parts._update(parts.loader.draw(step))
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)
    assert torch.equal(whole.memory.valid, parts.memory.valid)


def test_clipping_clips_and_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    run = cloner(tmp_path, clip_gradients=1e-3)
    assert run._update(run.loader.draw(0))["gradient_norm"] > 1e-3
    norm = torch.stack([(p.grad**2).sum() for p in run.learnt if p.grad is not None]).sum().sqrt()
    assert float(norm) <= 1.01e-3
    run.save()
    saved = (tmp_path / "resume.pt").read_bytes()
    with torch.no_grad():
        run.policy.net.final_ln.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"resume\.pt.*lower learning rate"):
        run.run()
    assert (tmp_path / "resume.pt").read_bytes() == saved


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    cloner(tmp_path, steps=2).run()
    with pytest.raises(ValueError, match=r"training\.learning_rate was 0\.001, is 0\.5"):
        cloner(tmp_path, steps=2, learning_rate=0.5)
    with pytest.raises(ValueError, match="does not divide"):
        CloningConfig(batch=4, accumulate=3)
    with pytest.raises(ValueError, match=r"at least 0; got -0\.1"):
        CloningConfig(hotbar=-0.1)


_ONE_OF_SEVERAL = """
import sys
from pathlib import Path
from prior.training import start_processes, finish
from tests.prior.test_cloning import cloner

assert start_processes("cpu") == "cpu"
folder = Path(sys.argv[1])
whole = cloner(folder / "whole", steps=4, batch=4, hotbar=3.0)
finish(whole, whole.run())
stopped = cloner(folder / "stopped", steps=4, batch=4, hotbar=3.0, save_every=2)

class StoppedError(Exception):
    pass

def stop(step, _):
    if step == 3:
        raise StoppedError

try:
    stopped.run(stop)
except StoppedError:
    pass
"""


def test_two_processes_take_the_same_steps_as_one(tmp_path: Path) -> None:
    """With gloo, as `torchrun --nproc-per-node 2` starts them; and what they saved, one process goes on with."""
    run = cloner(tmp_path / "alone", steps=4, batch=4, hotbar=3.0)
    alone = run.run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_OF_SEVERAL, str(tmp_path)],
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in together] == [0, 0]
    resumed = cloner(tmp_path / "stopped", steps=4, batch=4, hotbar=3.0, save_every=2)
    assert resumed.step == 2
    resumed.run()
    expected = metrics_of(tmp_path / "alone")
    for folder in ("whole", "stopped"):
        found = metrics_of(tmp_path / folder)
        assert len(found) == 4
        for one, other in zip(expected, found, strict=True):
            # Of the gradients, not of the weights: Adam makes whole steps of the rounding of gradients that are nearly 0.
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
            assert one["loss_hotbar"] == pytest.approx(other["loss_hotbar"], rel=1e-3)
            assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=5e-3)
    both = zip(alone.state_dict().values(), load_policy(tmp_path / "whole")[0].state_dict().values(), strict=True)
    assert max(float((one - other).abs().max()) for one, other in both) < run.training.learning_rate


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """A row a step; of steps that were taken again, the last."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return list({row["step"]: row for row in rows}.values())


def test_a_new_policy_begins_with_how_often_things_are_done() -> None:
    torch.manual_seed(0)
    episodes = [episode(300, seed) for seed in range(4)]
    policy = Policy(CONFIG)
    loader_ = SequenceLoader([Source(episodes)], 4, CONFIG.chunk, 0)
    told = []
    for _ in range(2):
        with torch.no_grad():
            sums, _ = CloningLoss(policy)(loader_.draw(0), policy.empty_memory(4))
        told.append(means(sums)["loss_buttons"])
        begin_with_frequencies(policy, episodes)
    assert told[0] > 8 and told[1] < 2.5, told
    with torch.no_grad():
        out, _ = policy(loader_.draw(0).images, policy.empty_memory(4))
    taken = np.unique(np.concatenate([e.buttons for e in episodes]))
    assert float(out.buttons.exp()[..., taken].sum(-1).min()) > 0.99
