"""Run a model over a stream of frame inputs: trunk once a frame, transformer over overlapping windows, middles kept.

The grid of blocks and windows is fixed by the video alone, never by what was computed before, so that a labelling that
was interrupted and resumed gives the same numbers to the last bit. And nothing smaller than a block is computed: how a matrix
product sums up depends on its rows (and on the number of threads: idm/threads.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data.actions import HOTBAR_SLOTS
from data.frame_inputs import FrameInputs
from idm.model import InverseDynamicsModel


@dataclass(frozen=True)
class RawPredictions:
    """odds: float32 (T, 20) log-odds of held. camera: float32 (T, 2, 11) log-probabilities. gui: float32 (T,) log-odds of
    an open GUI, NaN where the model does not say. slot: float32 (T, 9) log-probabilities of the hotbar's slots, NaN where the
    model does not say. start: first frame's index."""

    start: int
    odds: NDArray[np.float32]
    camera: NDArray[np.float32]
    gui: NDArray[np.float32]
    slot: NDArray[np.float32]

    @classmethod
    def join(cls, parts: list[RawPredictions]) -> RawPredictions:
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS)
        return cls(parts[0].start, *columns)

    def __len__(self) -> int:
        return len(self.odds)

    def __getitem__(self, span: slice) -> RawPredictions:
        columns = (getattr(self, name)[span] for name in _COLUMNS)
        return RawPredictions(self.start + (span.start or 0), *columns)


_COLUMNS = ("odds", "camera", "gui", "slot")
"""What :class:`RawPredictions` holds of each frame."""


class WindowPredictor:
    """Streams inputs in blocks of half a window; emits half a window of predictions for each.

    A window covers two blocks. Of each window the middle half is kept, of the first also its beginning, of the last also
    its end (VPT labels so). Memory is two blocks of inputs and features, however long the video.
    """

    def __init__(self, model: InverseDynamicsModel) -> None:
        self.model = model
        self.block = model.config.window // 2
        if model.config.window % 4:
            raise ValueError(
                f"window is {model.config.window}, expected a multiple of 4 to label in windows that overlap by half"
            )

    @torch.inference_mode()
    def _features(self, before: FrameInputs, block: FrameInputs, after: FrameInputs) -> torch.Tensor:
        filling = FrameInputs.blank(self.block - len(block), self.model.config.inputs)
        joined = FrameInputs.join([before, block, after, filling])
        device = self.model.device
        images, motion = torch.from_numpy(joined.images).to(device), torch.from_numpy(joined.motion).to(device)
        return in_halves(self.model.frame_features, images, motion, self.model.config.halo)[: len(block)]

    def features(
        self, blocks: Iterable[FrameInputs], begin: int = 0, first: int = 0
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Blocks of inputs in order, the first of them with the index ``begin`` -> (block index, features (T, D)) from
        the index ``first`` on."""
        halo, config = self.model.config.halo, self.model.config
        before, now = FrameInputs.blank(halo, config.inputs), None
        for index, after in enumerate(_with_end(blocks), begin):
            if now is not None:
                if after is None:
                    neighbours = FrameInputs.blank(halo, config.inputs)
                else:
                    neighbours = FrameInputs.join(
                        [after[:halo], FrameInputs.blank(max(halo - len(after), 0), config.inputs)]
                    )
                if index - 1 >= first:
                    yield index - 1, self._features(before, now, neighbours)
                before = FrameInputs.join([before, now])[-halo:] if len(now) < halo else now[-halo:]
            now = after

    @torch.inference_mode()
    def _window(self, features: torch.Tensor, start: int, keep: slice) -> RawPredictions:
        copies = -(-self.block // len(features))
        out = self.model.window_logprobs(features.expand(copies, -1, -1))
        buttons, camera = out.buttons[0, keep].float().cpu().numpy(), out.camera[0, keep].float().cpu().numpy()
        gui = np.full(len(buttons), np.nan, np.float32)
        if out.gui is not None:
            gui = (out.gui[0, keep, 1] - out.gui[0, keep, 0]).float().cpu().numpy()
        slot = np.full((len(buttons), HOTBAR_SLOTS), np.nan, np.float32)
        if out.slot is not None:
            slot = out.slot[0, keep].float().cpu().numpy()
        return RawPredictions(start + keep.start, buttons[..., 1] - buttons[..., 0], camera, gui, slot)

    def predict(
        self, blocks: Iterable[FrameInputs], begin: int = 0, first: int = 0, stop: int | None = None
    ) -> Iterator[RawPredictions]:
        """Predictions in order, every frame once.

        begin: index of the first block given; one before ``first`` is needed (unless that is 0) for its last frames.
        With ``first`` = b the first result begins at the middle of block b (at its beginning if b is 0), and with
        ``stop`` = e the last one ends at the middle of block e: exactly as in a run over the whole video, of which a
        block e and the first ``halo`` frames after it are needed.
        """
        quarter = self.block // 2
        previous: torch.Tensor | None = None
        waiting: tuple[torch.Tensor, int, int] | None = None  # a window, its start, and where its kept part begins
        index = first
        for index, features in self.features(blocks, begin, first):
            if previous is not None:
                if waiting is not None:
                    window, start, kept = waiting
                    yield self._window(window, start, slice(kept, self.block + quarter))
                waiting = (torch.cat([previous, features]), (index - 1) * self.block, quarter if index > 1 else 0)
            previous = features
            if index == stop:
                break
        if waiting is not None:
            window, start, kept = waiting
            end = self.block + quarter if index == stop else len(window)
            yield self._window(window, start, slice(kept, end))
        elif previous is not None and index == 0:
            yield self._window(previous, 0, slice(0, len(previous)))
        # Otherwise a lone last block is left, which the window before it covered in the earlier run.


def in_halves(
    features: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images_THWC: torch.Tensor,
    motion_TCHW: torch.Tensor,
    halo: int,
) -> torch.Tensor:
    """``features`` of T + 2 * halo frames; where the device's memory does not suffice, of the two halves, and so on.

    Raises torch.OutOfMemoryError where not even one frame fits.
    """
    count = len(images_THWC) - 2 * halo
    try:
        return features(images_THWC, motion_TCHW)
    except torch.OutOfMemoryError:
        if count < 2:
            raise
    # Outside the handler: the error's traceback would keep the failed attempt's tensors alive.
    if images_THWC.is_cuda:
        torch.cuda.empty_cache()
    middle = count // 2
    parts = [slice(0, middle + 2 * halo), slice(middle, None)]
    return torch.cat([in_halves(features, images_THWC[part], motion_TCHW[part], halo) for part in parts])


def _with_end(blocks: Iterable[FrameInputs]) -> Iterator[FrameInputs | None]:
    yield from blocks
    yield None
