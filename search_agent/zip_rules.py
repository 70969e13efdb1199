"""The rules by which ZIP, the BASALT 2022 entry of team UniTeam, copies demonstrations.

Papers: arXiv 2212.13326, 2306.09082 and 2401.16398; code: github.com/fmalato/basalt_2022_submission. Find the demonstration
frame whose latent is nearest, copy that player's actions from there on, and search again when play has drifted away. Here
are the decisions alone, with their defects: latents come from anywhere, actions are arrays, no network and no game is known.

The published code computes in half precision, and which of two frames is nearer, or whether play has drifted, can hang on it:
differences, their mean and the limits that it is compared with are rounded to halves here, too, where torch rounds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_agent.published_distances import (
    as_halves,
    checked,
    checked_latents,
    checked_lengths,
    checked_query,
    float32_blocks,
)

PAST_THE_END = 0.4
"""The difference that counts when the copy has run past the last frame of all."""

TURN_LIMIT = 20
"""Degrees that one step may turn on either axis."""

STILLED = ("inventory", "ESC", "back", "drop", "forward", "jump", "left", "right", "sprint", "swapHands", "use",
           "pickItem", "attack")  # fmt: skip
"""Keys let go while warming up or pressing the inventory key; sneak and the hotbar are held on, as published."""


@dataclass(frozen=True)
class ZipSettings:
    """counter_max: steps until a search is due; from half of them on, drifting away brings it forward.
    scale: how many times the difference at the search counts as drifting, if it is `least` or more.
    lost: a difference that needs no confirmation. Both limits are in units of VPT 1x's latents.
    offset: pitch in degrees at which every demonstration and the player are taken to begin.
    warmup: steps that only look around, with a search each. no_escape: steps in which ESC, which ends an episode, is kept back.
    power: that differences are raised to in a search, and only there.
    """

    counter_max: int = 128
    scale: float = 2.0
    offset: int = 0
    warmup: int = 0
    no_escape: int = 0
    least: float = 0.2
    lost: float = 0.45
    power: float = 1.0


ZIP_PRESETS = {
    "FindCave": ZipSettings(offset=-10, warmup=10, no_escape=2000),
    "Waterfall": ZipSettings(offset=0, warmup=20, no_escape=2000),
    "Pen": ZipSettings(offset=-10, warmup=20, no_escape=2000),
    "House": ZipSettings(offset=-5, warmup=20, no_escape=2000),
}
"""The submission's settings for BASALT 2022's four tasks."""


@dataclass(frozen=True)
class ZipStep:
    """What one step decided; counters and flags are those after it.

    frame: the demonstration frame whose action was copied, counted over all trajectories; closest: where the copy began.
    before, difference: to the frame about to be copied before any search, and at the latest search (a mean over dimensions).
    escaped: ESC closed the inventory. presses: inventory presses still due. rotation: own turn so far, pitch and yaw.
    buttons: bool (K,), in the order of the rules' keys. camera: whole degrees, pitch and yaw.
    """

    searched: bool
    frame: int
    closest: int
    counter: int
    switches: int
    in_inventory: bool
    escaped: bool
    presses: int
    rotation: tuple[int, int]
    before: float
    difference: float
    buttons: NDArray[np.bool_]
    camera: tuple[int, int]


class ZipRules:
    """State and rules of one player; see :meth:`step`."""

    def __init__(
        self,
        latents: NDArray[np.float16],
        lengths: ArrayLike,
        buttons: ArrayLike,
        camera: ArrayLike,
        keys: Sequence[str],
        settings: ZipSettings | None = None,
        in_inventory: ArrayLike | None = None,
        aliasing: bool = False,
    ) -> None:
        """latents: float16 (N, D), the frames of all trajectories one after the other. lengths: int (R,), sums to N.
        buttons: 0 or 1 (N, K). camera: integer (N, 2), degrees, pitch and yaw. keys: the K names of buttons.
        in_inventory: bool (N,); without it, what the demonstrations' presses say (:func:`inventory_flags`).
        aliasing: as published, where what was played overwrites the camera of the demonstration it was copied from, to be
        found there by later copies, of later episodes too.
        """
        self.settings = settings or ZipSettings()
        self.latents = checked_latents(latents)
        lengths = checked_lengths(lengths, len(latents))
        self.keys = tuple(keys)
        self.buttons = checked("buttons", buttons, (len(latents), len(self.keys))).astype(bool)
        self.camera = checked("camera", camera, (len(latents), 2)).astype(np.int64)  # a copy: aliasing writes into it
        if not np.issubdtype(np.asarray(camera).dtype, np.integer):
            raise ValueError(f"camera is {np.asarray(camera).dtype}, expected integers: ZIP plays whole degrees")
        flags = inventory_flags(self.buttons, lengths, self.keys) if in_inventory is None else in_inventory
        self.demo_in_inventory = checked("in_inventory", flags, (len(latents),)).astype(bool)
        self.demo_pitch = _pitches(self.camera[:, 0], self.demo_in_inventory, lengths, self.settings.offset)
        self.aliasing = aliasing
        self._inventory, self._escape = _columns(self.keys)
        self._stilled = np.isin(self.keys, STILLED)
        self.reset()

    def reset(self) -> None:
        """Begin an episode. What aliasing did to the demonstrations stays."""
        self.steps = self.closest = self.counter = self.switches = self.presses = 0
        self.difference = 0.0
        self.in_inventory = self.pressed = False
        self.rotation = (self.settings.offset, 0)

    def step(self, latent: ArrayLike, gui_open: bool) -> ZipStep:
        """latent: (D,), of the frame seen now. gui_open: whether that frame looks like an open inventory."""
        query = checked_query(latent, self.latents).astype(np.float16).astype(np.float32)
        warming, self.steps = self.steps < self.settings.warmup, self.steps + 1
        self.in_inventory |= bool(gui_open)
        before, searched = self._follow(query, warming)
        frame = self.closest + self.counter  # right after a search this is the matched frame itself
        self.counter += 1
        buttons = self.buttons[frame].copy()
        escaped = self._inventory_presses(frame, buttons, warming)
        camera = self._turn(frame)
        if self.steps <= self.settings.no_escape and not escaped:
            buttons[self._escape] = False
        return ZipStep(
            searched, frame, self.closest, self.counter, self.switches, self.in_inventory, escaped, self.presses,
            self.rotation, before, self.difference, buttons, camera,
        )  # fmt: skip

    def _follow(self, query: NDArray[np.float32], warming: bool) -> tuple[float, bool]:
        """Search if it is due. Returns the difference before it, and whether it was."""
        settings, frame = self.settings, self.closest + self.counter
        over = frame >= len(self.latents)  # only the very last end is one: copies run on into the next trajectory
        before = PAST_THE_END if over else float(self._differences(query, slice(frame, frame + 1))[0])
        # torch compares a half with a number as two halves; past the end two numbers are compared
        scaled, least, lost = (
            limit if over else float(np.float16(limit))
            for limit in (settings.scale * self.difference, settings.least, settings.lost)
        )
        drifting = before >= scaled and before >= least
        self.switches = min(8, self.switches + 1) if drifting else max(0, self.switches - 1)
        away = self.counter >= settings.counter_max / 2 and (self.switches >= 8 or before >= lost)
        searched = warming or over or away or self.counter >= settings.counter_max - 1
        if searched:
            self.closest = int(self._differences(query, power=settings.power).argmin())
            self.difference = float(self._differences(query, slice(self.closest, self.closest + 1))[0])
            self.counter = self.switches = 0
        return before, searched

    def _differences(
        self, query: NDArray[np.float32], rows: slice = slice(None), power: float = 1.0
    ) -> NDArray[np.float16]:
        """float16 (rows,): the mean of |latents - query| ** power over dimensions, summed up in float32 as torch does."""
        latents = self.latents[rows]
        result = np.empty(len(latents), np.float16)
        for part, block in float32_blocks(latents):
            block -= query
            np.abs(as_halves(block), out=block)
            if power != 1:
                block **= power
                as_halves(block)
            result[part] = block.sum(1) / np.float32(len(query))
        return result

    def _inventory_presses(self, frame: int, buttons: NDArray[np.bool_], warming: bool) -> bool:
        """Edit the copied `buttons`: the inventory key is pressed when player and demonstration differ, never copied.

        Published defect: two presses in neighbouring steps are one long one, so the inventory stays as it is, and the key
        is held until a demonstration frame agrees. Returns whether ESC closed the inventory.
        """
        if self.in_inventory != self.demo_in_inventory[frame]:
            self.presses = 1
        if warming or self.presses:
            buttons[self._stilled] = False
        press = buttons[self._inventory] = self.presses > 0
        self.presses -= press
        if press and not self.pressed:
            self.in_inventory = not self.in_inventory
        self.pressed = press
        escaped = self.in_inventory and bool(buttons[self._escape]) and not press
        self.in_inventory &= not escaped
        return escaped

    def _turn(self, frame: int) -> tuple[int, int]:
        """The camera's degrees. Outside the inventory the pitch is steered to the demonstration's own, not copied."""
        pitch, yaw = (int(degrees) for degrees in self.camera[frame])
        if not self.in_inventory and not self.pressed:
            pitch = _within(int(self.demo_pitch[frame]) - self.rotation[0], TURN_LIMIT)
            yaw = _within(yaw, TURN_LIMIT)
            self.rotation = (self.rotation[0] + pitch, self.rotation[1] + yaw)
            if self.aliasing:
                self.camera[frame] = pitch, yaw
        return pitch, yaw


def inventory_flags(buttons: ArrayLike, lengths: ArrayLike, keys: Sequence[str]) -> NDArray[np.bool_]:
    """bool (N,): whether the demonstrator's inventory is open, judged by presses of its key and of ESC."""
    held = np.asarray(buttons, bool)
    inventory, escape = (held[:, column].tolist() for column in _columns(keys))
    flags, begin = np.zeros(len(held), bool), 0
    for end in np.cumsum(checked_lengths(lengths, len(held))).tolist():
        opened = before = False
        for frame in range(begin, end):
            opened ^= inventory[frame] and not before  # a key held on toggles once
            before = inventory[frame]
            opened &= before or not escape[frame]
            flags[frame] = opened
        begin = end
    return flags


def _columns(keys: Sequence[str]) -> tuple[int, int]:
    missing = {"inventory", "ESC"} - set(keys)
    if missing or len(set(keys)) != len(keys):
        raise ValueError(f"keys are {list(keys)}, expected different names, inventory and ESC among them")
    return list(keys).index("inventory"), list(keys).index("ESC")


def _pitches(
    pitch: NDArray[np.int64], in_inventory: NDArray[np.bool_], lengths: NDArray[np.int64], offset: int
) -> NDArray[np.int64]:
    """int (N,): where each demonstrator looks after each frame, in degrees; the inventory's mouse moves no view."""
    moves = np.where(in_inventory, 0, pitch).tolist()
    looks, begin = np.empty(len(moves), np.int64), 0
    for end in np.cumsum(lengths).tolist():
        look = offset
        for frame in range(begin, end):
            look = looks[frame] = _within(look + moves[frame], 90)
        begin = end
    return looks


def _within(degrees: int, limit: int) -> int:
    return max(-limit, min(limit, degrees))
