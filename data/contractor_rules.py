"""How contractor files are read: each point on which VPT's published loader goes wrong, as a switch.

:data:`MENDED` is how everything here reads; :data:`AS_PUBLISHED` repeats the published loader, for comparisons with it.
Others come from ``dataclasses.replace(MENDED, ...)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class ContractorRules:
    """The defaults are the mended rules."""

    integer_camera: bool = False
    """Cut the camera's degrees to whole ones, towards 0: a turn of six counts or fewer is then none."""

    wheel_counts: bool = True
    """A slot chosen with the mouse wheel alone makes the frame's action not null; else that choice is dropped and lost."""

    agent_null: bool = True
    """Null is what the agent's action space cannot tell from nothing: none of its 20 buttons and no turn. Else it is
    what no known key, mouse button or mouse count came with: ESC, swapHands, pickItem and turns that are cut to 0 are not
    null."""

    broken_record_ends: bool = False
    """A record in which a needed field fails ends the recording, and a line that is not JSON takes all of it. Else every
    field is checked, and a broken record costs that record alone."""

    press_first_slot: bool = False
    """A recording that starts on a slot other than the first begins with a press of that slot's key."""

    gui_scale_by_version: bool = True
    """Where a GUI is open, take the counts of recorders known to be off (:data:`GUI_MOUSE_SCALES`) at their true scale.
    The published code has this table and never looks at it. It needs the recorder's version, so other files are as ever."""

    esc_is_inventory: bool = False
    """ESC in a GUI is the inventory button and elsewhere nothing, as in OpenAI's own training: an agent without ESC could
    else not learn to leave a GUI. Not the default, for it is not what was pressed."""

    cursor_wraps: bool = False
    """A cursor left of or above the frame appears at the other side or ends the recording. Else it is cut off."""

    compare_lengths: bool = True
    """Report records without frames, and frames without records, once each. Else each record without a frame is noted
    and frames without a record are not."""


MENDED = ContractorRules()

AS_PUBLISHED = ContractorRules(
    integer_camera=True,
    wheel_counts=False,
    agent_null=False,
    broken_record_ends=True,
    press_first_slot=True,
    gui_scale_by_version=False,
    cursor_wraps=True,
    compare_lengths=False,
)

GUI_MOUSE_SCALES: dict[str, float] = {"5.7": 0.5, "5.8": 0.5, "6.7": 2.0, "6.8": 2.0, "6.9": 2.0}
"""By recorder version, what the mouse counts of a record with a GUI open are to be multiplied by."""


def recorder_version(path: PurePath | str) -> str | None:
    """The recorder's version, such as "6.13", from the folder that OpenAI's index files put a recording in.

    The nearest folder whose whole name is a version decides; None when there is none.
    """
    folders = reversed(PurePath(path).parent.parts)
    return next((folder for folder in folders if re.fullmatch(r"\d+\.\d+", folder)), None)


def gui_scale(path: PurePath | str, rules: ContractorRules, version: str | None = None) -> float:
    """What to multiply a GUI's mouse counts by. version: the recorder's; None to take it from the path."""
    if not rules.gui_scale_by_version:
        return 1.0
    return GUI_MOUSE_SCALES.get(version or recorder_version(path) or "", 1.0)
