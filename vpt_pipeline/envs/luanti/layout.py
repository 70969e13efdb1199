"""Where the slots of the inventory window are, so that scripted players can click on them.

The engine's own arithmetic for forms in the old coordinate system (which minetest_game's inventory uses): everything
is measured in ``cell``, a fifteenth of the shorter side of the window less a margin of 5 % on each side.
"""

from __future__ import annotations

from typing import Literal

SlotList = Literal["main", "craft", "result"]
COLUMNS = 8
MAIN_SLOTS = 32
"""The window shows 8 columns: slots 0-7 in a row of their own, the hotbar's ninth slot opens the second row."""
_FORM = (8.0, 9.1)
_FIRST_ROW, _NEXT_ROWS = 5.2, 6.35
_CRAFT, _RESULT = (1.75, 0.5), (5.75, 1.5)


def slot_position(size: tuple[int, int], slots: SlotList, index: int = 0) -> tuple[int, int]:
    """The middle (x, y), in pixels of a frame of ``size`` = (width, height), of a slot in the open inventory.

    "main" has 32 slots (0-8 are the hotbar), "craft" 9 (row by row), "result" one. Raises IndexError.
    """
    limit = {"main": MAIN_SLOTS, "craft": 9, "result": 1}[slots]
    if not 0 <= index < limit:
        raise IndexError(f"slot {index} of {slots!r}: expected 0 to {limit - 1}")
    if slots == "craft":
        column, row = _CRAFT[0] + index % 3, _CRAFT[1] + index // 3
    elif slots == "result":
        column, row = _RESULT
    else:
        column, line = float(index % COLUMNS), index // COLUMNS
        row = _FIRST_ROW if line == 0 else _NEXT_ROWS + line - 1
    cell = int(min(size) * 0.9) // 15
    pitch = (cell * 5 / 4, cell * 15 / 13)
    margin = cell * 3 // 8
    footer = (0.0, pitch[1] * 0.35 * 2 / 3)
    form = [2 * margin + pitch[axis] * (_FORM[axis] - 1) + cell + footer[axis] for axis in (0, 1)]
    x, y = (
        (size[axis] - form[axis]) / 2 + margin + place * pitch[axis] + cell / 2
        for axis, place in enumerate((column, row))
    )
    return round(x), round(y)
