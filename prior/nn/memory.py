"""What a causal transformer remembers of earlier frames (Transformer-XL, Dai et al. 2019; VPT's lib/xf.py and lib/util.py).

Shape suffixes: B batch, T frames at hand, L remembered frames, S = L + T, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prior.nn.attention import KeysValues


@dataclass(frozen=True)
class Memory:
    """valid: bool (B, L), which of the remembered frames belong to the running episode; layers: the keys and values
    (B, L, D) of each layer. Only `valid` forgets at the start of an episode; what is stored is pushed out by new frames."""

    valid: Tensor
    layers: tuple[KeysValues, ...]

    @classmethod
    def empty(
        cls, batch: int, length: int, hidden: int, layers: int, device: torch.device, dtype: torch.dtype
    ) -> Memory:
        """Nothing remembered."""
        store = torch.zeros(batch, length, hidden, device=device, dtype=dtype)
        valid = torch.zeros(batch, length, dtype=torch.bool, device=device)
        return cls(valid, tuple((store, store) for _ in range(layers)))

    def detach(self) -> Memory:
        """The same, with no gradient beyond this point (truncated back-propagation through time)."""
        return Memory(self.valid, tuple((k.detach(), v.detach()) for k, v in self.layers))

    def forget(self, episodes: Tensor) -> Memory:
        """The same, with everything forgotten where ``episodes``, bool (B,), is True."""
        return Memory(self.valid & ~episodes[:, None], self.layers)

    def __len__(self) -> int:
        return len(self.valid)


def visible_frames(first_BT: Tensor, valid_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Which frames each frame may see, and which of the newest L belong to the episode of the last one.

    first_BT: True where an episode begins; a frame sees its own episode alone, at most L - 1 frames back.
    Returns allowed (B, T, S) and the next valid (B, L).
    """
    frames, length = first_BT.shape[1], valid_BL.shape[1]
    episode_BT = first_BT.long().cumsum(1)  # what is remembered belongs to episode 0
    key_episode_BS = torch.cat([torch.where(valid_BL, 0, -1), episode_BT], 1)
    query = torch.arange(frames, device=first_BT.device)[:, None] + length
    distance_TS = query - torch.arange(length + frames, device=first_BT.device)[None, :]
    near_TS = (distance_TS >= 0) & (distance_TS < length)
    allowed_BTS = near_TS[None] & (key_episode_BS[:, None, :] == episode_BT[:, :, None])
    return allowed_BTS, (key_episode_BS == episode_BT[:, -1:])[:, frames:]
