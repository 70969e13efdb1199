"""The action space against the published one: joint numbers, the camera's bins, env dictionaries, scaled frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, CameraQuantizer
from data.contractor_frames import agent_frame
from data.joint_actions import (
    BUTTON_CHOICES,
    GROUPS,
    NULL_BUTTONS,
    JointActions,
    arrays_to_env,
    env_to_idm,
    idm_to_env,
)
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over, vpt_folder

HEADS = ("sample_", "argmax_", "logprob", "entropy", "kl", "vnorm_")
"""Arrays that heads make; tests.parity.heads compares them."""

LAST_BIT = 1e-14
"""Degrees come from powers and logarithms, whose last bit differs between builds of numpy."""

UNSCALED = "resize_128x128"
RESIZE_SEED, MOST_SEEDS = 301, 5000
"""Seed of the first reference outputs' pictures; how many are tried for others."""

Golden = Mapping[str, NDArray[Any]]


def check(folder: Path) -> Iterator[Finding]:
    """Every array of actions.npz that no head makes."""
    path = vpt_folder(folder) / "actions.npz"
    if not path.exists():
        return
    with np.load(path) as arrays:
        golden = Seen(dict(arrays))
    meta = json.loads(path.with_suffix(".json").read_text())
    yield from guarded("actions factored", _factored(golden))
    yield from guarded("actions tables", _tables(golden, meta))
    yield from guarded("actions quantizer", _quantizer(golden, meta))
    yield from guarded("actions env", _env(golden, meta))
    yield from guarded("actions resize", _resize(golden, meta))
    yield left_over("actions", (name for name in golden.unseen if not name.startswith(HEADS)))


def _both(name: str, ours: tuple[Any, Any], golden: Golden, prefix: str) -> Finding:
    errors = [
        largest_error(part, golden[f"{prefix}_{what}"].reshape(np.shape(part)))
        for part, what in zip(ours, ("buttons", "camera"), strict=True)
    ]
    return Finding(f"actions {name}", max(errors), 0.0)


def _factored(golden: Golden) -> Iterator[Finding]:
    joint = JointActions()
    there = joint.from_factored(golden["fact_buttons"], golden["fact_camera"])
    yield _both("factored to joint", there, golden, "joint")
    yield _both("factored to joint and back", joint.to_factored(*there), golden, "back")
    pair = golden["rand_joint_buttons"][:, 0], golden["rand_joint_camera"][:, 0]
    back = joint.to_factored(*pair)
    yield _both("joint to factored", back, golden, "rand_fact")
    yield _both("joint to factored and back", joint.from_factored(*back), golden, "rand_again")


def _tables(golden: Golden, meta: Mapping[str, Any]) -> Iterator[Finding]:
    joint = JointActions()
    if "table_buttons" not in golden:  # whole tables are in the first set of reference outputs alone
        return
    yield Finding("actions table of buttons", largest_error(joint.button_table, golden["table_buttons"]), 0.0)
    yield Finding("actions table of camera off", largest_error(joint.camera_off_table, golden["table_camera_off"]), 0.0)
    bins = np.stack(np.divmod(np.arange(joint.camera_choices), joint.quantizer.bins), -1)
    yield Finding("actions table of camera", largest_error(bins, golden["table_camera"]), 0.0)
    same = {
        "buttons_all": list(BUTTONS),
        "groups": {name: ["none", *options] for name, options in GROUPS.items()},
        "null_action": {"buttons": NULL_BUTTONS},
        "camera_null_idx": joint.null_camera,
        "n_buttons_combinations": BUTTON_CHOICES,
    }
    wrong = [name for name, ours in same.items() if name in meta and meta[name] != ours]
    yield Finding("actions names and numbers", float(len(wrong)), 0.0, ", ".join(wrong))


def _quantizer(golden: Golden, meta: Mapping[str, Any]) -> Iterator[Finding]:
    quantizer = CameraQuantizer()
    yield Finding(
        "actions camera to bins", largest_error(quantizer.discretize(golden["quant_in"]), golden["quant_bin"]), 0.0
    )
    degrees = golden["quant_int_degrees"]
    ours = np.stack([degrees[:, 0], quantizer.discretize(degrees[:, 0])], 1)
    yield Finding("actions whole degrees to bins", largest_error(ours, degrees), 0.0)
    centres = golden["undiscretize"]
    yield Finding("actions bins to degrees", largest_error(quantizer.centres, centres), LAST_BIT)
    again = quantizer.discretize(quantizer.centres)
    yield Finding("actions centres to bins", largest_error(again, meta["round_trip_bins"]), 0.0)
    thresholds = golden["quant_thresholds"]
    yield Finding("actions thresholds", largest_error(_thresholds(quantizer), np.sort(thresholds)), LAST_BIT)


def _thresholds(quantizer: CameraQuantizer) -> NDArray[np.float64]:
    """float64 (bins - 1,): the smallest number that gets each higher bin, by halving."""
    bins = np.arange(1, quantizer.bins)
    low, high = (np.full(len(bins), sign * quantizer.max_degrees) for sign in (-1.0, 1.0))
    while True:
        middle = (low + high) / 2
        if ((middle == low) | (middle == high)).all():
            return high
        reached = quantizer.discretize(middle) >= bins
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)


def _env(golden: Golden, meta: Mapping[str, Any]) -> Iterator[Finding]:
    joint = JointActions()
    env: dict[str, Any] = dict(zip(meta["env_button_names"], golden["env_buttons"].T, strict=True))
    env["camera"] = golden["env_camera"]
    there = joint.from_env(env)
    yield _both("env to joint", there, golden, "env_to_joint")
    rows = len(golden["joint_to_env_buttons"])  # made from the first of the random joint actions
    back = joint.to_env(*(golden[f"rand_joint_{what}"][:rows, 0] for what in ("buttons", "camera")))
    held = np.stack([back[name] for name in BUTTONS], -1)
    yield Finding("actions joint to env, buttons", largest_error(held, golden["joint_to_env_buttons"]), 0.0)
    yield Finding(
        "actions joint to env, camera", largest_error(back["camera"], golden["joint_to_env_camera"]), LAST_BIT
    )
    nulls = [abs(int(joint.is_null(*there).sum()) - meta["n_truly_null_env_actions"])]
    nulls.append(int(joint.is_null(*there, as_published=True).any() != meta["check_if_null_ever_returned_None"]))
    yield Finding("actions null", float(max(nulls)), 0.0)
    one = joint.to_env(there[0][0], there[1][0])
    shapes = {name: list(array.shape) for name, array in one.items()}
    kinds = {name: str(array.dtype) for name, array in one.items()}
    differ = [
        what
        for what, ours in (("get_action_shapes", shapes), ("get_action_dtypes", kinds))
        if list(meta[what].items()) != list(ours.items())  # also their order
    ]
    yield Finding("actions env dictionary of one", float(len(differ)), 0.0, ", ".join(differ))
    bits, bins = golden["idm_buttons"], golden["idm_camera"]
    env = idm_to_env(bits, bins)
    held = np.stack([env[name] for name in BUTTONS], -1)
    yield Finding("actions IDM to env, buttons", largest_error(held, golden["idm_env_buttons"]), 0.0)
    yield Finding("actions IDM to env, camera", largest_error(env["camera"], golden["idm_env_camera"]), LAST_BIT)
    yield _both("env to IDM", env_to_idm(arrays_to_env(bits, golden["idm_env_camera"])), golden, "idm")


def _resize(golden: Golden, meta: Mapping[str, Any]) -> Iterator[Finding]:
    """Pictures in the file's order; of some only every n-th pixel is kept."""
    names = [name for name in golden if name.startswith("resize_")]
    seed = int(meta["resize_seed"]) if "resize_seed" in meta else _resize_seed(golden, names)
    for index, name in enumerate(names):
        height, width = (int(side) for side in name.removeprefix("resize_").split("x"))
        picture = _noise(seed, index, height, width)
        theirs = golden[name]
        ours = agent_frame(picture)
        step = len(ours) // len(theirs)
        yield Finding(f"actions {name}", largest_error(ours[::step, ::step], theirs), 0.0)


def _noise(seed: int, index: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng([seed, 50 + index]).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _resize_seed(golden: Golden, names: Sequence[str]) -> int:
    """The pictures' seed, which the files do not name: one of 128 by 128 pixels stays as it is, so its first pixel tells."""
    if UNSCALED in names:
        index, pixel = names.index(UNSCALED), golden[UNSCALED][0, 0]
        for seed in (RESIZE_SEED, *range(MOST_SEEDS)):
            if (_noise(seed, index, 1, 1) == pixel).all():
                return seed
    return RESIZE_SEED
