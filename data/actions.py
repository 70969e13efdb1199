"""The action space, written down once: what a frame's action is, and how it is laid out in arrays.

Names and order are VPT's (openai/Video-Pre-Training): twenty buttons that its models predict, a camera in
degrees (pitch first, then yaw; pitch grows downwards, yaw grows to the right), and MineRL 1.0's dictionary of
24 keys around them. Every model, env, loader and viewer takes the names and the order from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUTTONS: tuple[str, ...] = (
    "attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "drop", "inventory",
    *(f"hotbar.{slot}" for slot in range(1, 10)),
)  # fmt: skip
"""The 20 buttons of VPT's action heads, in the order of the heads' outputs."""

BUTTON_INDEX: dict[str, int] = {name: index for index, name in enumerate(BUTTONS)}

HOTBAR_SLOTS = sum(name.startswith("hotbar.") for name in BUTTONS)
UNKNOWN_SLOT = -1
"""In place of a slot of the hotbar, from 0, where nobody says which is selected."""

UNMODELLED_BUTTONS: tuple[str, ...] = ("ESC", "pickItem", "swapHands")
"""Keys of MineRL's dictionary that no VPT model predicts."""

ENV_BUTTONS: tuple[str, ...] = (*BUTTONS, *UNMODELLED_BUTTONS)
"""The 23 binary keys of MineRL 1.0's action dictionary (the 24th is ``camera``)."""

DEGREES_PER_COUNT = 360.0 / 2400.0
"""Degrees of view that one mouse count turns (0.15), as in OpenAI's contractor recordings."""

MIRRORED_BUTTONS: tuple[tuple[str, str], ...] = (
    ("left", "right"), *((f"hotbar.{slot}", f"hotbar.{10 - slot}") for slot in range(1, 5)),
)  # fmt: skip
"""Pairs of buttons that trade places when a frame is flipped left to right (the hotbar is centred)."""


@dataclass(frozen=True)
class Action:
    """What a player does for one frame: the buttons held and the camera's turn in degrees (pitch, yaw)."""

    buttons: frozenset[str] = frozenset()
    camera: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        unknown = self.buttons - set(ENV_BUTTONS)
        if unknown:
            raise ValueError(f"unknown buttons {sorted(unknown)}; expected some of {', '.join(ENV_BUTTONS)}")

    def to_env(self) -> dict[str, Any]:
        """MineRL 1.0's dictionary: an int for each of the 23 keys, ``camera`` float32 (2,)."""
        env: dict[str, Any] = {name: int(name in self.buttons) for name in ENV_BUTTONS}
        env["camera"] = np.asarray(self.camera, dtype=np.float32)
        return env

    @classmethod
    def from_env(cls, env: Mapping[str, Any]) -> Action:
        """The inverse of :meth:`to_env`; missing keys count as released."""
        camera = np.asarray(env.get("camera", (0.0, 0.0)), dtype=np.float64).reshape(2)
        held = frozenset(name for name in ENV_BUTTONS if np.any(env.get(name, 0)))
        return cls(held, (float(camera[0]), float(camera[1])))


@dataclass(frozen=True)
class ActionTrack:
    """The actions of T consecutive frames as arrays.

    buttons: bool (T, 20), in the order of :data:`BUTTONS`.
    camera: float32 (T, 2), degrees, pitch then yaw, not clipped.
    gui_open: bool (T,), whether a GUI covered the frame in which the action was taken.
    valid: bool (T,), False where the record of a frame was broken and the action is unknown.
    """

    buttons: NDArray[np.bool_]
    camera: NDArray[np.float32]
    gui_open: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    valid: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        frames = len(self.buttons)
        if self.gui_open.size == 0 and frames:
            object.__setattr__(self, "gui_open", np.zeros(frames, bool))
        if self.valid.size == 0 and frames:
            object.__setattr__(self, "valid", np.ones(frames, bool))
        for name, shape in (
            ("buttons", (frames, len(BUTTONS))),
            ("camera", (frames, 2)),
            ("gui_open", (frames,)),
            ("valid", (frames,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"ActionTrack.{name} has shape {getattr(self, name).shape}, expected {shape}")

    def __len__(self) -> int:
        return len(self.buttons)

    def __getitem__(self, span: slice) -> ActionTrack:
        return ActionTrack(self.buttons[span], self.camera[span], self.gui_open[span], self.valid[span])

    def action(self, index: int) -> Action:
        held = frozenset(name for name, down in zip(BUTTONS, self.buttons[index], strict=True) if down)
        return Action(held, (float(self.camera[index, 0]), float(self.camera[index, 1])))

    @property
    def is_null(self) -> NDArray[np.bool_]:
        """bool (T,): no button held and no camera motion at all."""
        null: NDArray[np.bool_] = ~self.buttons.any(1) & (self.camera == 0).all(1)
        return null

    @classmethod
    def join(cls, tracks: Sequence[ActionTrack]) -> ActionTrack:
        """Tracks laid end to end."""
        names = ("buttons", "camera", "gui_open", "valid")
        return cls(*(np.concatenate([getattr(track, name) for track in tracks]) for name in names))

    @classmethod
    def from_actions(cls, actions: Sequence[Action], gui_open: Sequence[bool] | None = None) -> ActionTrack:
        buttons = np.array([[name in a.buttons for name in BUTTONS] for a in actions], bool).reshape(-1, len(BUTTONS))
        camera = np.array([a.camera for a in actions], np.float32).reshape(-1, 2)
        gui = np.zeros(len(actions), bool) if gui_open is None else np.asarray(gui_open, bool)
        return cls(buttons, camera, gui)


@dataclass(frozen=True)
class CameraQuantizer:
    """Camera degrees to bins and back by mu-law, as VPT's ``CameraQuantizer`` (lib/actions.py).

    The defaults are the published ones: 11 bins a axis, the middle one meaning "no turn", clipped at 10 degrees.
    """

    max_degrees: float = 10.0
    bin_size: float = 2.0
    mu: float = 10.0

    @property
    def bins(self) -> int:
        return round(2 * self.max_degrees / self.bin_size) + 1

    @property
    def null_bin(self) -> int:
        return self.bins // 2

    @property
    def centres(self) -> NDArray[np.float64]:
        """float64 (bins,): the degrees that each bin stands for."""
        return self.undiscretize(np.arange(self.bins))

    def discretize(self, degrees: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Degrees of any shape to bin indices of the same shape."""
        # The order of operations is the published one, so that ties fall the same way.
        clipped = np.clip(np.asarray(degrees, np.float64), -self.max_degrees, self.max_degrees) / self.max_degrees
        scaled = np.sign(clipped) * (np.log(1 + self.mu * np.abs(clipped)) / np.log(1 + self.mu)) * self.max_degrees
        bins: NDArray[np.int64] = np.round((scaled + self.max_degrees) / self.bin_size).astype(np.int64)
        return bins

    def undiscretize(self, bins: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Bin indices of any shape to the degrees at their centres."""
        scaled = (np.asarray(bins) * self.bin_size - self.max_degrees) / self.max_degrees
        grown = (1 + self.mu) ** np.abs(scaled) - 1
        degrees: NDArray[np.float64] = np.sign(scaled) * (1 / self.mu) * grown * self.max_degrees
        return degrees
