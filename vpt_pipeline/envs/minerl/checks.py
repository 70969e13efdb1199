"""What VPT's models need of an environment, and how to mend what differs (run_agent.py of openai/Video-Pre-Training)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.actions import ENV_BUTTONS

RESOLUTION = [640, 360]
RANGES: Mapping[str, float] = {
    "fov_range": 70.0,
    "gamma_range": 2.0,
    "guiscale_range": 1.0,
    "cursor_size_range": 16.0,
}
CAMERA = [[2], -180.0, 180.0]


def obstacles(facts: Mapping[str, Any]) -> list[str]:
    """What keeps VPT's models from playing there, a line each with what mends it; empty when nothing does.

    facts: resolution [width, height], ranges [from, to] by name, actions (name -> number of values; camera: shape, low, high).
    """
    wrong = []
    if facts["resolution"] != RESOLUTION:
        wrong.append(
            f"resolution is {facts['resolution']}, expected {RESOLUTION}: leave out --size (size=... in Python)"
        )
    for name, value in RANGES.items():
        if facts[name] != [value, value]:
            wrong.append(f"{name} is {facts[name]}, expected {[value, value]}: leave out {name}=..., or set it to that")
    actions = dict(facts["actions"])
    camera = actions.pop("camera", None)
    missing, more = sorted(set(ENV_BUTTONS) - set(actions)), sorted(set(actions) - set(ENV_BUTTONS))
    if missing or more:
        wrong.append(
            f"the action space lacks {missing or 'nothing'} and has {more or 'nothing'} beyond VPT's 24 keys: expected an "
            "environment with human controls (HumanSurvival, BASALT, ObtainDiamond) of MineRL 1.0, not of 0.4 or of Treechop"
        )
    if values := {name: number for name, number in actions.items() if number != 2}:
        wrong.append(f"keys with other values than 0 and 1: {values}; expected MineRL 1.0's human controls")
    if camera is not None and camera != CAMERA:
        wrong.append(f"the camera is {camera}, expected {CAMERA} (shape, lowest, highest, in degrees)")
    if camera is None and "camera" not in missing:
        wrong.append("the action space has no camera")
    return wrong


def require_vpt(facts: Mapping[str, Any]) -> None:
    """Raises ValueError with everything that is wrong."""
    if wrong := obstacles(facts):
        lines = "".join(f"\n  - {line}" for line in wrong)
        raise ValueError(f"VPT's models cannot play {facts['name']} so (check=False plays it all the same):{lines}")
