"""The names of OpenAI's contractor format: which key or mouse button is which button of the action space."""

from __future__ import annotations

KEYS: dict[str, str] = {
    f"key.keyboard.{key}": button
    for key, button in {
        "escape": "ESC", "s": "back", "q": "drop", "w": "forward", "e": "inventory", "space": "jump", "a": "left",
        "d": "right", "left.shift": "sneak", "left.control": "sprint", "f": "swapHands",
        **{str(slot): f"hotbar.{slot}" for slot in range(1, 10)},
    }.items()
}  # fmt: skip
"""The button of each keyboard key; a record's other keys mean nothing."""

MOUSE_BUTTONS: tuple[str, ...] = ("attack", "use", "pickItem")
"""The button of each mouse button's number."""

WINDOW_CENTRE = (640.0, 360.0)
"""Where the cursor rests, in pixels of a window of 1280x720: cursors are counted at that height whatever the video's."""
