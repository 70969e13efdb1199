"""One number for all buttons and one for the camera: the action space of VPT's policies, for whole arrays at once.

The buttons fall into groups of which one option each is taken (:data:`GROUPS`); the joint button number counts through
all combinations, the last group fastest, and one more number stands for the inventory. The last group, "camera", only
says whether the camera turns; where to is the joint camera number, pitch bin times bins plus yaw bin. Leading
dimensions are kept everywhere, "..." below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.actions import BUTTON_INDEX, BUTTONS, ActionTrack, CameraQuantizer

Ints = NDArray[np.int64]

GROUPS: dict[str, tuple[str, ...]] = {
    "hotbar": tuple(f"hotbar.{slot}" for slot in range(1, 10)),
    "fore_back": ("forward", "back"),
    "left_right": ("left", "right"),
    "sprint_sneak": ("sprint", "sneak"),
    "use": ("use",),
    "drop": ("drop",),
    "attack": ("attack",),
    "jump": ("jump",),
    "camera": ("camera",),
}
"""The options of each group beside "none", in the order in which they count."""

OPPOSITES: frozenset[str] = frozenset({"fore_back", "left_right"})
"""Groups whose two options, held together, are none. In any other group the later option wins."""

SIZES: tuple[int, ...] = tuple(len(options) + 1 for options in GROUPS.values())
STRIDES: dict[str, int] = {name: int(np.prod(SIZES[at + 1 :])) for at, name in enumerate(GROUPS)}

INVENTORY = int(np.prod(SIZES))
"""The joint number of the inventory button, 8640, which excludes all others."""

BUTTON_CHOICES = INVENTORY + 1
NULL_BUTTONS = 0
CAMERA_ALONE = STRIDES["camera"]
"""The joint number of holding nothing and turning the camera."""


@dataclass(frozen=True)
class JointActions:
    """Translates between factored actions (bits and camera bins), env dictionaries in degrees, and joint numbers."""

    quantizer: CameraQuantizer = field(default_factory=CameraQuantizer)

    @property
    def camera_choices(self) -> int:
        """How many joint camera numbers there are (121)."""
        return self.quantizer.bins**2

    @property
    def null_camera(self) -> int:
        """The joint camera number of no turn (60)."""
        return self.quantizer.null_bin * (self.quantizer.bins + 1)

    @cached_property
    def button_table(self) -> NDArray[np.bool_]:
        """bool (8641, 20): the buttons that each joint number holds."""
        numbers = np.arange(INVENTORY)
        table = np.zeros((BUTTON_CHOICES, len(BUTTONS)), bool)
        for (group, options), size in zip(GROUPS.items(), SIZES, strict=True):
            taken = numbers // STRIDES[group] % size
            for choice, name in enumerate(options, 1):
                if name in BUTTON_INDEX:
                    table[:INVENTORY, BUTTON_INDEX[name]] = taken == choice
        table[INVENTORY, BUTTON_INDEX["inventory"]] = True
        table.flags.writeable = False
        return table

    @cached_property
    def camera_off_table(self) -> NDArray[np.bool_]:
        """bool (8641,): the button numbers that say "no turn"; the published table leaves out the inventory's."""
        off: NDArray[np.bool_] = np.arange(BUTTON_CHOICES) // STRIDES["camera"] % 2 == 0
        off[INVENTORY] = False
        return off

    def from_factored(self, buttons: ArrayLike, camera_bins: ArrayLike) -> tuple[Ints, Ints]:
        """Buttons (..., 20), held where not 0, and bins (..., 2) to joint numbers, int64 (...) each.

        The inventory button wins over everything, also over the camera. Raises ValueError for other shapes and bins.
        """
        bits, bins = np.asarray(buttons), np.asarray(camera_bins)
        if bits.shape[-1:] != (len(BUTTONS),) or bins.shape != (*bits.shape[:-1], 2):
            raise ValueError(
                f"buttons have shape {bits.shape} and camera bins {bins.shape}; expected (..., {len(BUTTONS)}) and (..., 2)"
            )
        bins = _numbers("camera bins", bins, self.quantizer.bins)
        held = np.ascontiguousarray(np.moveaxis(bits != 0, -1, 0))  # a button after another: each is read through
        camera = bins[..., 0] * self.quantizer.bins + bins[..., 1]
        joint: Ints = (camera != self.null_camera) * np.int64(STRIDES["camera"])
        for group, options in GROUPS.items():
            columns = [held[BUTTON_INDEX[name], ...] for name in options if name in BUTTON_INDEX]
            if columns:
                joint += _choice(columns, group in OPPOSITES) * np.int64(STRIDES[group])
        inventory = held[BUTTON_INDEX["inventory"]]
        return np.where(inventory, INVENTORY, joint), np.where(inventory, self.null_camera, camera)

    def to_factored(self, buttons: ArrayLike, camera: ArrayLike) -> tuple[NDArray[np.bool_], Ints]:
        """Joint numbers (...) to buttons, bool (..., 20), and bins, int64 (..., 2).

        Where the buttons say "no turn" the bins are those of no turn. A turn beside the inventory is kept, as published.
        Raises ValueError for numbers out of range.
        """
        joint, turn = self._joint(buttons, camera)
        turn = np.where(self.camera_off_table[joint], self.null_camera, turn)
        return self.button_table[joint], np.stack(np.divmod(turn, self.quantizer.bins), -1)

    def from_degrees(self, buttons: ArrayLike, camera: ArrayLike) -> tuple[Ints, Ints]:
        """Buttons (..., 20) and degrees (..., 2), pitch then yaw, to joint numbers."""
        return self.from_factored(buttons, self.quantizer.discretize(np.asarray(camera)))

    def to_degrees(self, buttons: ArrayLike, camera: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Joint numbers to buttons, bool (..., 20), and degrees at the bins' centres, float64 (..., 2)."""
        bits, bins = self.to_factored(buttons, camera)
        return bits, self.quantizer.centres[bins]

    def from_track(self, track: ActionTrack) -> tuple[Ints, Ints]:
        """Joint numbers (T,) of a track; broken records (``track.valid`` False) count as they stand there."""
        return self.from_degrees(track.buttons, track.camera)

    def to_track(self, buttons: ArrayLike, camera: ArrayLike) -> ActionTrack:
        """The track of joint numbers (T,)."""
        bits, degrees = self.to_degrees(np.asarray(buttons).reshape(-1), np.asarray(camera).reshape(-1))
        return ActionTrack(bits, degrees.astype(np.float32))

    def from_env(self, env: Mapping[str, Any]) -> tuple[Ints, Ints]:
        """An env dictionary, of one action or of arrays of them, to joint numbers; see :func:`env_to_arrays`."""
        return self.from_degrees(*env_to_arrays(env))

    def to_env(self, buttons: ArrayLike, camera: ArrayLike) -> dict[str, Any]:
        """The env dictionary of VPT's agent: an int64 array (...) for each of 20 buttons, camera float64 (..., 2).

        One action gives arrays of one, (1,) and (1, 2). ESC, pickItem and swapHands are not in it.
        """
        bits, degrees = self.to_degrees(np.atleast_1d(buttons), np.atleast_1d(camera))
        return arrays_to_env(bits, degrees)

    def is_null(self, buttons: ArrayLike, camera: ArrayLike, as_published: bool = False) -> NDArray[np.bool_]:
        """bool (...): whether a joint action holds no button and turns nowhere.

        A camera number beside buttons that say "no turn" does not count, nor does a turn into the middle bins. The
        published check (``as_published``) compares with a function instead of its value and never finds an action null.
        """
        joint, turn = self._joint(buttons, camera)
        null: NDArray[np.bool_] = (joint == NULL_BUTTONS) | ((joint == CAMERA_ALONE) & (turn == self.null_camera))
        return null & (not as_published)

    def camera_counts(self, buttons: ArrayLike) -> NDArray[np.bool_]:
        """bool (...): where the button number leaves the camera free; not at "no turn", and not at the inventory.

        VPT's hierarchy means the camera's log-probability to count only there; the published code always adds it.
        """
        joint = _numbers("joint buttons", np.asarray(buttons), BUTTON_CHOICES)
        free: NDArray[np.bool_] = ~self.camera_off_table[joint] & (joint != INVENTORY)
        return free

    def _joint(self, buttons: ArrayLike, camera: ArrayLike) -> tuple[Ints, Ints]:
        joint = _numbers("joint buttons", np.asarray(buttons), BUTTON_CHOICES)
        turn = _numbers("joint camera", np.asarray(camera), self.camera_choices)
        if joint.shape != turn.shape:
            raise ValueError(f"joint buttons have shape {joint.shape}, joint camera {turn.shape}; expected the same")
        return joint, turn


def env_to_arrays(env: Mapping[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """An env dictionary to buttons, bool (..., 20), and degrees, float64 (..., 2); one action becomes a batch of one.

    A missing button is released and a missing camera does not turn; keys that no model predicts are left out. Raises
    ValueError naming the key whose shape does not fit.
    """
    columns = {name: np.asarray(env[name]) for name in BUTTONS if name in env}
    if "camera" in env:
        camera = np.asarray(env["camera"], np.float64)
        if camera.shape[-1:] != (2,):
            raise ValueError(f"camera has shape {camera.shape}; expected (2,) or (..., 2), pitch and yaw in degrees")
    else:
        camera = np.zeros((*np.broadcast_shapes(*(column.shape for column in columns.values())), 2))
    camera = camera if camera.ndim > 1 else camera[None]
    bits = np.zeros((*camera.shape[:-1], len(BUTTONS)), bool)
    for name, column in columns.items():
        if column.shape not in ((), camera.shape[:-1]):
            raise ValueError(
                f"{name} has shape {column.shape} beside a camera of {camera.shape}; expected as many actions"
            )
        bits[..., BUTTON_INDEX[name]] = column != 0
    return bits, camera


def arrays_to_env(buttons: ArrayLike, degrees: ArrayLike) -> dict[str, Any]:
    """Buttons (..., 20) and degrees (..., 2) to an env dictionary of int64 arrays (...), camera float64 (..., 2)."""
    columns = np.moveaxis(np.asarray(buttons) != 0, -1, 0).astype(np.int64)
    env: dict[str, Any] = dict(zip(BUTTONS, columns, strict=True))
    env["camera"] = np.asarray(degrees, np.float64)
    return env


def stack_env(actions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """N env dictionaries of one action each, all with one set of keys, as one dictionary of arrays (N,)."""
    names = list(actions[0]) if actions else [*BUTTONS, "camera"]
    stacked: dict[str, Any] = {name: np.array([action[name] for action in actions]) for name in names}
    for name, column in stacked.items():
        stacked[name] = column.reshape(-1, 2) if name == "camera" else column.reshape(-1)
    return stacked


def idm_to_env(buttons: ArrayLike, camera_bins: ArrayLike, quantizer: CameraQuantizer | None = None) -> dict[str, Any]:
    """What an inverse dynamics model says, bits (..., 20) and bins (..., 2), as an env dictionary of arrays.

    Its action space is factored, so nothing clashes: every bit is a button, every bin its centre.
    """
    quantizer = quantizer or CameraQuantizer()
    return arrays_to_env(buttons, quantizer.centres[_numbers("camera bins", np.asarray(camera_bins), quantizer.bins)])


def env_to_idm(env: Mapping[str, Any], quantizer: CameraQuantizer | None = None) -> tuple[NDArray[np.bool_], Ints]:
    """The inverse: bits, bool (..., 20), and bins, int64 (..., 2), of an env dictionary."""
    bits, degrees = env_to_arrays(env)
    return bits, (quantizer or CameraQuantizer()).discretize(degrees)


def _choice(columns: Sequence[NDArray[np.bool_]], opposites: bool) -> NDArray[np.uint8]:
    """The option taken in a group, 0 for none: of several held, the last; of two opposites, none."""
    taken = columns[0].astype(np.uint8)
    for choice, column in enumerate(columns[1:], 2):
        np.maximum(taken, column * np.uint8(choice), out=taken)
    if opposites:
        taken[columns[0] & columns[1]] = 0
    return taken


def _numbers(name: str, values: NDArray[Any], choices: int) -> Ints:
    """Whole numbers from 0 to below ``choices``, as int64."""
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} are {values.dtype}; expected whole numbers")
    if values.size and (values.min() < 0 or values.max() >= choices):
        raise ValueError(f"{name} go from {values.min()} to {values.max()}; expected 0 to {choices - 1}")
    return values.astype(np.int64)
