"""From records to actions, one after another, under any rules."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTON_INDEX, BUTTONS, DEGREES_PER_COUNT, ENV_BUTTONS
from data.contractor_record import AnyRecord
from data.contractor_rules import ContractorRules


@dataclass(frozen=True, eq=False)
class Step:
    """What one record's action is.

    held: buttons, of the 23. camera: degrees (2,), pitch and yaw; float64, or int64 under rules that cut fractions off.
    null: whether there is nothing to learn from it.
    """

    held: frozenset[str]
    camera: NDArray[np.float64] | NDArray[np.int64]
    null: bool

    def to_env(self) -> dict[str, Any]:
        """MineRL's dictionary: an int for each of the 23 keys, and ``camera`` as it is here."""
        env: dict[str, Any] = {name: int(name in self.held) for name in ENV_BUTTONS}
        env["camera"] = self.camera
        return env


class Interpreter:
    """Reads records in their order: which button is stuck and which slot is selected depends on those before.

    slot: the selected slot from 0, None before the first record. Fields that fail do so here (FIELD_ERRORS).
    """

    def __init__(self, rules: ContractorRules, gui_scale: float = 1.0) -> None:
        self.rules = rules
        self.slot: int | None = 0 if rules.press_first_slot else None
        self._gui_scale = gui_scale
        self._stuck = False
        self._started = False

    def skip(self) -> None:
        """Pass over a record of which nothing is known."""
        self._started = True

    def step(self, record: AnyRecord) -> Step:
        """The action of the next record."""
        return self.select_slot(record, self.convert(record))

    def convert(self, record: AnyRecord) -> Step:
        """The action without the slot's rule, which must follow."""
        # A click that started the recording is sometimes never seen released: attack then counts from its next press.
        if not self._started:
            self._stuck = record.starts_stuck
        elif self._stuck:
            self._stuck = not record.clicks
        self._started = True
        held = record.held(self._stuck)
        dx, dy = record.counts
        scale = self._gui_scale if self._gui_scale != 1 and record.gui_open else 1.0
        degrees = dy * DEGREES_PER_COUNT * scale, dx * DEGREES_PER_COUNT * scale
        camera: NDArray[np.float64] | NDArray[np.int64] = np.array(degrees, np.float64)
        if self.rules.integer_camera:
            camera = np.array([math.trunc(angle) for angle in degrees], np.int64)
        if self.rules.esc_is_inventory and "ESC" in held:
            held = held - {"ESC"} | (frozenset({"inventory"}) if record.gui_open else frozenset())
        none_held = held.isdisjoint(BUTTONS) if self.rules.agent_null else not held
        still = not camera.any() if self.rules.agent_null else dx == 0 and dy == 0
        return Step(held, camera, none_held and still)

    def select_slot(self, record: AnyRecord, step: Step) -> Step:
        """Add the key of the slot that the record changes to, also when the mouse wheel chose it."""
        slot, before = record.hotbar, self.slot
        key = f"hotbar.{slot + 1}"
        self.slot = slot
        if before is None or slot == before or key not in BUTTON_INDEX:
            return step
        return dataclasses.replace(step, held=step.held | {key}, null=step.null and not self.rules.wheel_counts)
