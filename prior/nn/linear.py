"""A linear layer that can be made ready for acting: a frame at a time, its time is that of reading its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOST_ROWS = 16
"""With more rows at a time the plain product is as fast."""
_FEWEST_WEIGHTS = 2**16


def version(parameter: Tensor) -> int:
    """Counts the changes of a parameter in place, from 0; those made in inference mode are not counted."""
    return 0 if parameter.is_inference() else parameter._version


class Linear(nn.Linear):
    """``nn.Linear``; after :meth:`pack`, small products without gradients read the weights about twice as fast on CPUs."""

    _packed: Tensor | None = None
    _rows = _version = 0

    def pack(self, rows: int) -> None:
        """Lay out a copy of the weights for inputs of so many rows. Dropped when the weights move, change type or train."""
        self._packed = None
        if rows > MOST_ROWS or not self.weight.is_cpu or self.weight.numel() < _FEWEST_WEIGHTS:
            return
        if self.weight.dtype not in (torch.float32, torch.bfloat16):
            return
        try:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), rows)
        except (AttributeError, RuntimeError):  # a build of torch without oneDNN
            self._packed = None
        self._rows, self._version = rows, version(self.weight)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # copies and pickles are plain

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Linear:
        self._packed = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Linear:
        if mode:
            self._packed = None
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self._packed is not None and (torch.is_grad_enabled() or version(self.weight) != self._version):
            self._packed = None  # the weights have changed, or are about to
        if self._packed is not None and x.numel() == self._rows * self.in_features:
            flat = x.reshape(self._rows, self.in_features)
            out: Tensor = torch.ops.mkldnn._linear_pointwise(flat, self._packed, self.bias, "none", [], "")
            return out.view(*x.shape[:-1], self.out_features)
        return super().forward(x)


def pack_linears(network: nn.Module, rows: int) -> None:
    """Pack every large linear layer of a network for inputs of so many rows (streams times frames)."""
    for module in network.modules():
        if isinstance(module, Linear):
            module.pack(rows)
