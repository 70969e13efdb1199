"""Env actions to VPT's joint numbers and back: whole arrays at once against one action after another.

    python -m benchmarks.action_conversion

The other way is the published code's plan restated in plain Python: for each action loops over the groups of buttons,
a tuple looked up in a dictionary that `itertools.product` filled, and back by the table's rows. It is given Python's own
numbers, without a numpy call in its loop, which makes it faster than the original. Both must agree on every action.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tyro
from numpy.typing import NDArray

from data.actions import BUTTONS
from data.joint_actions import GROUPS, JointActions, stack_env

Env = dict[str, Any]
_Value = TypeVar("_Value")


class OneByOne:
    """Joint numbers of one action at a time: env dictionaries of numbers, camera a pair of degrees."""

    def __init__(self) -> None:
        self.groups = {name: ("none", *options) for name, options in GROUPS.items()}
        self.combinations: list[Any] = [*itertools.product(*self.groups.values()), "inventory"]
        self.number_of = {combination: number for number, combination in enumerate(self.combinations)}
        self.turns = list(itertools.product(range(11), range(11)))
        self.number_of_turn = {turn: number for number, turn in enumerate(self.turns)}

    def from_env(self, env: Env) -> tuple[int, int]:
        """The joint numbers of an action."""
        pitch, yaw = env["camera"]
        turn = self.bin_of(pitch), self.bin_of(yaw)
        if env["inventory"]:
            return self.number_of["inventory"], self.number_of_turn[5, 5]
        taken = []
        for group, options in self.groups.items():
            if group == "camera":
                taken.append("none" if turn == (5, 5) else "camera")
                continue
            option = "none"
            held = [name for name in options[1:] if env[name]]
            if held and not (group in ("fore_back", "left_right") and len(held) == 2):
                option = held[-1]
            taken.append(option)
        return self.number_of[tuple(taken)], self.number_of_turn[turn]

    def to_env(self, buttons: int, camera: int) -> Env:
        """The action of joint numbers."""
        env: Env = dict.fromkeys(BUTTONS, 0)
        combination, turn = self.combinations[buttons], self.turns[camera]
        if combination == "inventory":
            env["inventory"] = 1
        else:
            for option in combination[:-1]:
                if option != "none":
                    env[option] = 1
            if combination[-1] == "none":
                turn = (5, 5)
        env["camera"] = tuple(self.degrees_of(number) for number in turn)
        return env

    @staticmethod
    def bin_of(degrees: float) -> int:
        x = max(-10.0, min(10.0, degrees)) / 10
        return round((math.copysign(math.log(1 + 10 * abs(x)) / math.log(11), x) * 10 + 10) / 2)

    @staticmethod
    def degrees_of(number: int) -> float:
        x = (number * 2 - 10) / 10
        return math.copysign((11 ** abs(x) - 1) / 10 * 10, x)


def made_up(count: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Buttons (N, 20), each action with its own share of held ones, and degrees (N, 2), a third without any turn."""
    rng = np.random.default_rng(seed)
    buttons = rng.random((count, len(BUTTONS))) < rng.random((count, 1)) * 0.5
    camera = rng.normal(0, 4, (count, 2)) * (rng.random((count, 2)) < 0.67)
    return buttons, camera


@dataclass(frozen=True)
class Args:
    """Settings."""

    actions: int = 100_000
    repeats: int = 5
    """The fastest of so many runs counts."""
    quick: bool = False
    """A fifth of the actions, three runs."""


def fastest(repeats: int, work: Callable[[], _Value]) -> tuple[float, _Value]:
    """Seconds of the fastest run, and its result."""
    best, result = math.inf, work()
    for _ in range(repeats):
        begun = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - begun)
    return best, result


def singles(envs: Env) -> Sequence[Env]:
    """A dictionary of arrays as dictionaries of Python's numbers."""
    columns = [envs[name].tolist() for name in (*BUTTONS, "camera")]
    return [dict(zip((*BUTTONS, "camera"), row, strict=True)) for row in zip(*columns, strict=True)]


def main(args: Args) -> None:
    """Print both ways' times and their ratio."""
    count, repeats = (args.actions // 5, 3) if args.quick else (args.actions, args.repeats)
    buttons, camera = made_up(count)
    joint, slow = JointActions(), OneByOne()
    arrays: Env = {name: buttons[:, at].astype(np.int64) for at, name in enumerate(BUTTONS)}
    arrays["camera"] = camera
    envs = singles(arrays)
    print(f"{count} actions, fastest of {repeats} runs")

    there, numbers = fastest(repeats, lambda: joint.from_env(arrays))
    back, again = fastest(repeats, lambda: joint.to_env(*numbers))
    slow_there, pairs = fastest(repeats, lambda: [slow.from_env(env) for env in envs])
    slow_back, slow_again = fastest(repeats, lambda: [slow.to_env(*pair) for pair in pairs])
    np.testing.assert_array_equal(np.stack(numbers, 1), pairs)
    for name in BUTTONS:
        np.testing.assert_array_equal(again[name], [env[name] for env in slow_again])
    np.testing.assert_allclose(again["camera"], [env["camera"] for env in slow_again], rtol=0, atol=1e-14)

    bits, _ = fastest(repeats, lambda: joint.to_degrees(*joint.from_degrees(buttons, camera)))
    stacked, same = fastest(repeats, lambda: joint.from_env(stack_env(envs)))
    np.testing.assert_array_equal(np.stack(same, 1), pairs)
    for what, ours, theirs in (
        ("env dictionary to joint numbers", there, slow_there),
        ("joint numbers to env dictionary", back, slow_back),
        ("both ways", there + back, slow_there + slow_back),
        ("both ways, ours from and to (N, 20) and (N, 2)", bits, slow_there + slow_back),
        ("dictionaries of one action each to joint numbers", stacked, slow_there),
    ):
        print(f"{what:<50} {ours * 1e3:8.1f} ms, one by one {theirs * 1e3:8.1f} ms: {theirs / ours:6.1f} times")


if __name__ == "__main__":
    main(tyro.cli(Args))
