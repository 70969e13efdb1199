"""Plays a fixed script in Luanti and writes down what happened; run in processes of their own by the tests."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vpt_pipeline.envs.luanti import LuantiEnv

SIZE = (160, 96)


def script(steps: int, seed: int) -> list[dict[str, Any]]:
    """Digging, placing, walking, the inventory, throwing things away, all with a moving camera."""
    dice = random.Random(seed)
    actions: list[dict[str, Any]] = []
    for tick in range(steps):
        phase = tick % 150
        action: dict[str, Any] = {"camera": (dice.gauss(0, 2), dice.gauss(0, 4))}
        if phase < 10:
            action = {"camera": (6.0, 0.0)}  # look down
        elif phase < 60:
            action = {"attack": 1, "camera": (0.0, 0.05)}
        elif phase < 66:
            action = {"camera": (-4.0, 0.0), "hotbar.2": int(phase == 61)}
        elif phase < 76:
            action["use"] = int(phase % 3 == 0)
        elif phase < 84:
            action["drop"] = int(phase == 78)
        elif phase < 104:
            action["inventory"] = int(phase in (84, 100))
            action["attack"] = int(phase == 92)
        else:
            action.update(forward=1, sprint=int(phase > 120), jump=int(phase % 12 < 2), left=int(phase > 135))
        actions.append(action)
    return actions


def play(env: LuantiEnv, steps: int, seed: int, ask: bool) -> tuple[list[dict[str, Any]], list[np.ndarray[Any, Any]]]:
    """The truth (answers left out) and the frame at reset and after each step."""
    observation, info = env.reset(
        seed=seed, options={"inventory": ["default:shovel_wood", "default:cobble 20"], "animals": 2}
    )
    truths: list[dict[str, Any]] = []
    frames: list[np.ndarray[Any, Any]] = []
    for tick, action in enumerate([*script(steps, seed), {}]):
        truths.append({name: value for name, value in info.items() if name != "answers"})
        frames.append(observation["pov"])
        if ask and tick % 10 == 0:
            env.ask("near", names=["group:tree", "default:dirt_with_grass"], limit=3)
            env.ask("pointed")
        observation, _, _, _, info = env.step(action)
    return truths, frames


def main(out: str, steps: str, seed: str, ask: str) -> None:
    # On a busy machine clouds lie a little elsewhere now and then.
    env = LuantiEnv(SIZE, settings={"enable_clouds": False})
    try:
        began = time.monotonic()
        truths, frames = play(env, int(steps), int(seed), ask == "ask")
        Path(out).with_suffix(".json").write_text(json.dumps(truths))
        np.save(Path(out).with_suffix(".npy"), np.stack(frames))
        print(f"{time.monotonic() - began:.1f} s")
    finally:
        env.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
