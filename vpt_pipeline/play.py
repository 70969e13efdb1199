"""Watch an agent play: one episode of a task, as a video with its actions beside it in contractor format.

vpt play runs/prior --task logs
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vpt_pipeline.evaluate import EvaluateConfig, plans_of
from vpt_pipeline.progress import progress_bar, say
from vpt_pipeline.rollout import roll_out
from vpt_pipeline.tasks import TASKS


@dataclass(frozen=True)
class PlayConfig:
    """Settings of `vpt play`."""

    agent: Annotated[str, tyro.conf.Positional]
    """Who plays: a policy (a folder of `vpt train-prior`, a published NAME.model), random, scripted or scripted:STYLE."""
    task: str = "explore"
    """What is played: it decides the start, what is in hand, and what is measured."""
    seconds: float | None = None
    """Length; default: the task's own."""
    episode: int = 0
    """Which of the task's fixed episodes."""
    out: Path = Path("runs/played")
    """Folder for the video."""
    temperature: float = 1.0
    """Of policies: below 1 they act more greedily."""
    deterministic: bool = False
    """Policies take the likeliest action."""
    size: tuple[int, int] = (320, 180)
    game: str = "luanti"


def main(config: PlayConfig) -> int:
    """0 if the episode ran."""
    asked = EvaluateConfig(
        (config.agent,),
        (config.task,),
        config.episode + 1,
        config.seconds,
        config.episode + 1,
        config.out,
        config.temperature,
        config.deterministic,
        config.size,
        config.game,
    )
    plan = plans_of(asked)[-1]
    with progress_bar(f"playing {config.task}", plan.steps, "frames") as bar:
        played = roll_out(plan, bar.advance)
    if played.result is None:
        say(f"[red]{played.error}[/red]")
        return 1
    ended = f", ended early ({played.ended})" if played.ended else ""
    pressed = ", ".join(f"{name} {count}" for name, count in (played.presses or {}).items()) or "nothing"
    say(
        f"{config.task}: {played.result:g} {TASKS[config.task].unit} in {played.frames} frames{ended}; pressed: {pressed}"
    )
    say(f"Watch {played.video}; its actions lie beside it (.jsonl)")
    return 0
