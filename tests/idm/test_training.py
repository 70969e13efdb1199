"""Training learns what the frames show, resumes exactly, and refuses to mix runs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.actions import HOTBAR_SLOTS
from data.frame_inputs import FrameInputs
from idm.cache import CachedRecording
from idm.checkpoint import load_model, model_hash
from idm.config import preset
from idm.training import Trainer, TrainingConfig, calibrate, finish
from tests.idm.play import recording

QUICK = TrainingConfig(steps=4, batch=2, clip=16, save_every=2, precision="float32")


@pytest.mark.parametrize("name", ["debug", "vpt_debug"])
def test_two_steps_then_resume_is_the_same_as_four(tmp_path: Path, name: str) -> None:
    config = preset(name)
    data = [recording(config, 64, seed=1)]
    whole = Trainer(tmp_path / "whole", config, QUICK, data).run()

    class StoppedError(Exception):
        pass

    def stop(step: int, metrics: dict[str, float]) -> None:
        if step == 3:  # after the checkpoint of step 2
            raise StoppedError

    with pytest.raises(StoppedError):
        Trainer(tmp_path / "cut", config, QUICK, data).run(stop)
    resumed = Trainer(tmp_path / "cut", config, QUICK, data)
    assert resumed.step == 2
    for ours, theirs in zip(resumed.run().state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    config = preset("debug")
    data = [recording(config, 64, seed=1)]
    Trainer(tmp_path, config, QUICK, data).run()
    with pytest.raises(ValueError, match=r"training\.learning_rate was 0\.0015, is 0\.1"):
        Trainer(tmp_path, config, dataclasses.replace(QUICK, learning_rate=0.1), data)


def test_learns_camera_and_key_and_keeps_them_on_disk(tmp_path: Path) -> None:
    config = preset("debug")
    data = [recording(config, 600, seed=s) for s in range(2)]
    unseen = recording(config, 400, seed=9)
    training = TrainingConfig(steps=150, batch=8, clip=32, learning_rate=4e-3, precision="float32", augment=False)
    trainer = Trainer(tmp_path, config, training, data)
    model = trainer.run()
    _, summary = calibrate(model, [unseen])
    assert summary["camera_r2"]["pitch"] > 0.8
    assert summary["camera_r2"]["yaw"] > 0.8
    # The same model on truth that is one frame late must do far worse: it has learned *when*, not only how much.
    late = dataclasses.replace(unseen, actions=type(unseen.actions)(
        np.roll(unseen.actions.buttons, 1, 0), np.roll(unseen.actions.camera, 1, 0)))  # fmt: skip
    assert calibrate(model, [late])[1]["camera_r2"]["yaw"] < 0.3
    finish(trainer, model, [unseen])
    again, calibration = load_model(tmp_path)
    for ours, theirs in zip(again.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    assert calibration.slope != (1.0,) * 20
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 150


def with_hotbar(recording: CachedRecording, seed: int) -> CachedRecording:
    """The same with nine slots along the bottom of its pictures, the selected one of which is white."""
    slots = np.repeat(np.random.default_rng(seed).integers(0, HOTBAR_SLOTS, len(recording) // 20 + 1), 20)[
        : len(recording)
    ]
    images = recording.inputs.images.copy()
    width = images.shape[2]
    for image, slot in zip(images, slots, strict=True):
        left = width // 2 + round((slot - HOTBAR_SLOTS / 2) * 6)
        image[-6:] = 0
        image[-6:, left : left + 6] = 255
    inputs = FrameInputs(images, recording.inputs.motion)
    return dataclasses.replace(recording, inputs=inputs, slots=slots.astype(np.int8))


def test_it_learns_which_slot_is_selected_mirrored_pictures_included(tmp_path: Path) -> None:
    config = preset("debug")
    data = [with_hotbar(recording(config, 400, seed=s), s) for s in range(2)]
    unseen = with_hotbar(recording(config, 200, seed=9), 9)
    training = TrainingConfig(steps=120, batch=8, clip=32, learning_rate=4e-3, precision="float32")
    model = Trainer(tmp_path, config, training, data).run()
    halo = config.halo
    images, motion = (torch.from_numpy(np.array(part))[None] for part in (unseen.inputs.images, unseen.inputs.motion))
    with torch.no_grad():
        said = model(images, motion).slot[0].argmax(-1).numpy()
    assert (said == unseen.slots[halo:-halo]).mean() > 0.9


def test_a_model_folder_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    config = preset("debug")
    trainer = Trainer(tmp_path, config, QUICK, [recording(config, 64, seed=1)])
    finish(trainer, trainer.run(), [])
    before = model_hash(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"hidden": 64}))
    assert model_hash(tmp_path) != before
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit [\s\S]* net\.\S+ is \(\d+.*expected"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist or is no model; expected a folder"):
        load_model(tmp_path / "nowhere")
