"""The compiled reading of pixels gives what torch computes, to the bit."""

from __future__ import annotations

import pytest
import torch

from prior.nn import pixels
from prior.nn.pixels import pixel_pairs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ahead", [False, True])
def test_compiled_and_plain_pairs_are_equal(dtype: torch.dtype, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if pixels.library() is None:
        pytest.skip("no C compiler here")
    views = torch.randint(0, 256, (3, 5, 7, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views[0, 0, :2] = torch.tensor([0, 255])[:, None]
    views[0, 0, :2, 6:] = torch.tensor([255, 0])[:, None]
    whole, fovea = (views[..., :3], views[..., 6:9]), (views[..., 3:6], views[..., 9:])
    frames = views[..., :3].contiguous()
    uneven = views.permute(0, 2, 1, 3)[..., :3], views.permute(0, 2, 1, 3)[..., 6:9]
    for shown, neighbour in (whole, fovea, (frames[:-1], frames[1:]), uneven):
        fast = pixel_pairs(shown, neighbour, ahead, dtype)
        with monkeypatch.context() as patched:
            patched.setattr(pixels, "library", lambda: None)
            plain = pixel_pairs(shown, neighbour, ahead, dtype)
        assert fast.shape == (len(shown), 6, *shown.shape[1:3])
        assert fast.dtype == dtype and torch.equal(fast, plain)
        assert fast.is_contiguous(memory_format=torch.channels_last)
    assert pixel_pairs(*whole, ahead, torch.float32).abs().max() <= 4.0
