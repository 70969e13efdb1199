"""Watch an agent play: one episode of a task, as a video with its actions beside it in contractor format.

vpt play runs/prior --task logs
vpt play sets/logs --task logs --inspect     # and what it copied, frame by frame
vpt play foundation-model-1x.model --env minerl:MineRLBasaltFindCave-v0
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from search_agent.demos import DemoSet
from vpt_pipeline.agents import ZIP, Acting, is_set, split_tags
from vpt_pipeline.copied_view import write_view
from vpt_pipeline.envs import MINERL
from vpt_pipeline.evaluate import EvaluateConfig, plans_of
from vpt_pipeline.progress import progress_bar, say
from vpt_pipeline.rollout import roll_out
from vpt_pipeline.tasks import default_tasks, tasks_of


@dataclass(frozen=True)
class PlayConfig:
    """Settings of `vpt play`."""

    agent: Annotated[str, tyro.conf.Positional]
    """Who plays: a policy (a folder of `vpt train-prior`, a published NAME.model), a set of demonstrations (`vpt index`;
    SET:TAG for a part of one), random, scripted or scripted:STYLE."""
    task: str | None = None
    """What is played (default: explore; in MineRL what the environment is about): it decides the start, what is in
    hand, and what is measured."""
    seconds: float | None = None
    """Length; default: the task's own."""
    episode: int = 0
    """Which of the task's fixed episodes."""
    out: Path = Path("runs/played")
    """Folder for the video."""
    size: tuple[int, int] | None = None
    """Width and height of the frames; default: 320 180, in MineRL 640 360."""
    game: Annotated[str, tyro.conf.arg(aliases=["--env"])] = "luanti"
    """luanti, or minerl:NAME for an environment of MineRL, such as minerl:MineRLBasaltFindCave-v0."""
    acting: tyro.conf.OmitArgPrefixes[Acting] = field(default_factory=Acting)
    inspect: bool = False
    """Of sets: write a second video, the agent's view beside the demonstration's frame that it copies, with the distance."""


def main(config: PlayConfig) -> int:
    """0 if the episode ran."""
    task = config.task or (default_tasks(config.game)[0] if config.game.startswith(MINERL) else "explore")
    asked = EvaluateConfig(
        (config.agent,),
        (task,),
        config.episode + 1,
        config.seconds,
        config.episode + 1,
        config.out,
        config.size,
        config.game,
        acting=config.acting,
    )
    plan = plans_of(asked)[-1]
    if config.inspect and not is_set(config.agent):
        raise ValueError(
            f"--inspect shows what is copied from demonstrations: expected a set (a folder of `vpt index`), found the agent "
            f"{config.agent!r}, which copies none; leave --inspect out"
        )
    if config.inspect and config.agent.startswith(ZIP):
        raise ValueError(
            f"--inspect shows how our own rules decide, not the published ones of {ZIP.rstrip(':')}; leave it out, or play "
            f"{config.agent.removeprefix(ZIP)}"
        )
    listed = videos_of(config.agent) if config.inspect else {}
    with progress_bar(f"playing {task}", plan.steps, "frames") as bar:
        played = roll_out(plan, bar.advance)
    if played.result is None:
        say(f"[red]{played.error}[/red]")
        return 1
    ended = f", ended early ({played.ended})" if played.ended else ""
    pressed = ", ".join(f"{name} {count}" for name, count in (played.presses or {}).items()) or "nothing"
    say(
        f"{task}: {played.result:g} {tasks_of(config.game)[task].unit} in {played.frames} frames{ended}; pressed: {pressed}"
    )
    say(f"Watch {played.video}; its actions lie beside it (.jsonl)")
    if config.inspect:
        say(f"What it copied: {inspected(config.agent, Path(str(played.video)), played.frames, listed)}")
    return 0


def videos_of(source: str) -> dict[str, Path]:
    """Where a set's demonstrations have their videos, by name."""
    return {name: demo.video for name, demo in DemoSet(split_tags(source)[0]).read().demos.items()}


def inspected(source: str, video: Path, frames: int, listed: dict[str, Path]) -> Path:
    """Write the view of a played set. listed: demonstrations' videos as they were before the play."""
    with suppress(ValueError):  # the set may be edited at this very moment, and the play is not lost for it
        listed = listed | videos_of(source)
    with progress_bar("drawing what it copied", frames, "frames") as bar:
        return write_view(video, listed, DemoSet(split_tags(source)[0]).info.rate, bar.advance)
