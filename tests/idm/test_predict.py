"""Streaming prediction: every frame once, the same numbers however the stream was cut, features computed once."""

import numpy as np
import pytest
import torch

from data.frame_inputs import FrameInputs, InputMaker
from idm.config import preset
from idm.model import InverseDynamicsModel
from idm.predict import RawPredictions, WindowPredictor
from tests.idm.play import turning_world


@pytest.fixture(scope="module", params=["debug", "vpt_debug"])
def model(request: pytest.FixtureRequest) -> InverseDynamicsModel:
    torch.manual_seed(0)
    return InverseDynamicsModel(preset(request.param)).eval()


def run(model: InverseDynamicsModel, pictures: list[np.ndarray], first: int = 0) -> list[RawPredictions]:
    predictor = WindowPredictor(model)
    maker = InputMaker(model.config.inputs, block=predictor.block)
    begin = max(first - 1, 0)
    return list(predictor.predict(maker.stream(pictures[begin * predictor.block :]), begin, first))


@pytest.mark.parametrize("frames", [1, 2, 8, 15, 16, 17, 24, 25, 32, 33, 47, 64, 81])
def test_every_frame_is_predicted_once_and_resuming_changes_nothing(model: InverseDynamicsModel, frames: int) -> None:
    pictures, _ = turning_world(frames, seed=frames)
    pieces = run(model, pictures)
    whole = RawPredictions.join(pieces)
    assert len(whole) == frames
    assert [p.start for p in pieces] == list(np.cumsum([0] + [len(p) for p in pieces])[:-1])
    block = model.config.window // 2
    for first in range(1, -(-frames // block)):
        rest = run(model, pictures, first)
        begin = first * block + block // 2
        if first == -(-frames // block) - 1:  # the window before covers a lone last block
            assert not rest
            continue
        joined = RawPredictions.join(rest)
        assert joined.start == begin
        np.testing.assert_array_equal(joined.odds, whole.odds[begin:])
        np.testing.assert_array_equal(joined.camera, whole.camera[begin:])
        np.testing.assert_array_equal(joined.slot, whole.slot[begin:])
    if model.config.slot_head:
        np.testing.assert_allclose(np.exp(whole.slot).sum(1), 1, rtol=1e-5)
    else:
        assert np.isnan(whole.slot).all()  # VPT's does not say


def test_features_at_a_seam_see_the_true_neighbours(model: InverseDynamicsModel) -> None:
    pictures, _ = turning_world(48, seed=3)
    predictor, halo = WindowPredictor(model), model.config.halo
    blocks = list(InputMaker(model.config.inputs, block=predictor.block).stream(pictures))
    cut = torch.cat([features for _, features in predictor.features(blocks)])
    joined = FrameInputs.join(
        [FrameInputs.blank(halo, model.config.inputs), *blocks, FrameInputs.blank(halo, model.config.inputs)]
    )
    with torch.no_grad():
        once = model.frame_features(torch.from_numpy(joined.images), torch.from_numpy(joined.motion))
    torch.testing.assert_close(cut, once, atol=1e-5, rtol=1e-4)


def test_each_frame_passes_the_trunk_once(model: InverseDynamicsModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, _ = turning_world(80, seed=4)
    counted = []
    original = InverseDynamicsModel.frame_features

    def counting(self: InverseDynamicsModel, images: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        counted.append(len(images) - 2 * self.config.halo)
        return original(self, images, motion)

    monkeypatch.setattr(InverseDynamicsModel, "frame_features", counting)
    run(model, pictures)
    assert sum(counted) == 80
