"""Records one episode of scripted play: NAME.mp4, NAME.jsonl (contractor format) and NAME.meta.json.

Record i holds the frame seen and the action taken on seeing it, so that action i shows between frames i and i + 1.
The meta file is written last: a recording with a meta file is complete.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium

from data.actions import DEGREES_PER_COUNT, Action
from data.contractor import ContractorWriter
from data.files import write_json_atomic
from data.recording import NOVICE_SPANS, SLIP_SPANS, Recording, spans_of
from data.video import VideoWriter
from vpt_pipeline.agents import ScriptedAgent, make_agent
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.tasks import TASKS
from vpt_pipeline.turns import Turns

TICK_RATE = 20
WINDOW_HEIGHT = 720
"""The contractor format gives the cursor in pixels of a window of this height, whatever the video's."""
TURN_SEEDS = 10_000_000
"""What the seeds of a player's turns in one episode lie apart: more than there are seeds of episodes."""


@dataclass(frozen=True)
class EpisodePlan:
    """Everything that decides what a recording holds.

    size: (width, height) of the frames; steps: frames, at 20 a second; seed: of start and player; map_seed: the world. novice:
    an agent with which the player takes turns (vpt_pipeline/turns.py).
    """

    game: str
    task: str
    player: str
    seed: int
    map_seed: int
    steps: int
    size: tuple[int, int]
    novice: str | None = None

    @property
    def name(self) -> str:
        return f"{self.game}-{self.task}-{self.player}-{self.seed:04d}"

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """Paths of the video, the actions and the meta file."""
        return folder / f"{self.name}.mp4", folder / f"{self.name}.jsonl", folder / f"{self.name}.meta.json"

    def is_finished(self, folder: Path) -> bool:
        """Whether the recording is there. Raises ValueError if another recording has its name."""
        video, actions, meta = self.files(folder)
        if not (video.exists() and actions.exists() and meta.exists()):
            return False
        found = json.loads(meta.read_text())
        for field, wanted in asdict(self).items():
            have = found.get(field)
            if have != (list(wanted) if isinstance(wanted, tuple) else wanted):
                raise ValueError(
                    f"{meta}: a finished recording has this name, but its {field} is {have!r} and not {wanted!r}; "
                    "choose another folder or another seed, or delete it"
                )
        return True


def state_fields(truth: GameTruth) -> dict[str, Any]:
    """The fields of a contractor record that describe the game's state."""
    x, y, z = truth["position"]
    return {
        "yaw": truth["yaw"],
        "pitch": truth["pitch"],
        "xpos": x,
        "ypos": y,
        "zpos": z,
        "health": truth["hp"],
        "inventory": [{"slot": slot, "type": item, "quantity": count} for slot, item, count in truth["slots"]],
    }


def write_step(records: ContractorWriter, action: Action, seen: GameTruth, after: GameTruth, height: int) -> None:
    """The record of an action taken on seeing a frame of ``height``, with the truth of before and after it."""
    # what is written is what the game got: whole mouse counts
    dx, dy = after["camera_counts"]
    to_window = WINDOW_HEIGHT / height
    records.write(
        Action(action.buttons, (dy * DEGREES_PER_COUNT, dx * DEGREES_PER_COUNT)),
        cursor=(seen["cursor"][0] * to_window, seen["cursor"][1] * to_window),
        gui_open=seen["gui_open"],
        hotbar=after["hotbar"],  # after the action: readers take a change for a press in this very record
        extra=state_fields(seen),
    )


def _who_plays(env: gymnasium.Env[Any, Any], plan: EpisodePlan) -> ScriptedAgent | Turns:
    def player(turn: int) -> ScriptedAgent:
        return ScriptedAgent(env, plan.game, plan.task, plan.player, plan.seed + TURN_SEEDS * turn)

    if plan.novice is None:
        return player(0)
    return Turns(make_agent(plan.novice, env, plan.game, plan.task, plan.seed), player, plan.seed)


def record_episode(
    env: gymnasium.Env[Any, Any],
    plan: EpisodePlan,
    folder: Path,
    tell: Callable[[int], None] = lambda frames: None,
) -> Recording:
    """Play and record one episode in an env of the plan's game and size; ``tell`` hears now and then how many frames are there.

    An episode that ends early (the player died) is a shorter recording, and its meta file says so. Nothing is left
    behind when the game dies midway; the error is the env's.
    """
    task = TASKS[plan.task]
    video, actions, meta_path = plan.files(folder)
    observation, info = env.reset(seed=plan.seed, options=task.reset_options(plan.map_seed))
    truth, meter = cast(GameTruth, info), task.measure()
    player = _who_plays(env, plan)
    player.reset({**observation, "truth": truth})
    result = meter.update(truth)
    presses: Counter[str] = Counter()
    events: list[dict[str, Any]] = []
    held: frozenset[str] = frozenset()
    slipped: list[bool] = []
    steps, ended = 0, ""
    with VideoWriter(video, plan.size, TICK_RATE) as frames, ContractorWriter(actions) as records:
        while steps < plan.steps and not ended:
            action = player.act({**observation, "truth": truth})
            slipped.append(player.slipped)
            seen, pov = truth, observation["pov"]
            observation, _, _, _, info = env.step(action.to_env())
            truth = cast(GameTruth, info)
            frames.write(pov)
            write_step(records, action, seen, truth, plan.size[1])
            presses.update(action.buttons - held)
            events += [{"tick": steps, **event} for event in truth["events"]]
            held, steps, ended, result = action.buttons, steps + 1, truth["ended"], meter.update(truth)
            if steps % TICK_RATE == 0:
                tell(steps)
    meta = {
        **asdict(plan),
        "text": task.text,
        "tick_rate": TICK_RATE,
        "frames": steps,
        "ended": ended,
        "result": result,
        "unit": task.unit,
        "inventory": list(task.inventory),
        "animals": task.animals,
        "presses": dict(sorted(presses.items())),
        "events": events,
        NOVICE_SPANS: player.novice_spans if isinstance(player, Turns) else [],
        SLIP_SPANS: spans_of(slipped),
    }
    write_json_atomic(meta_path, meta)
    return Recording(video, actions, meta_path)
