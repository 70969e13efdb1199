"""Watch an agent play: one episode of a task, as a video with its actions beside it in contractor format.

vpt play runs/prior --task logs
vpt play sets/logs --task logs --inspect     # and what it copied, frame by frame
vpt play foundation-model-1x.model --env minerl:MineRLBasaltFindCave-v0
vpt play foundation-model-1x.model --env minerl:MineRLHumanSurvival-v0 --biome forest --inventory "oak_log 20" torch
vpt play runs/text --text "chop a tree" --then 20:"dig dirt" 40:"collect seeds"
vpt play runs/text --text "chop a tree" "dig dirt" "pick flowers" "walk far"     # each from the same start, side by side
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

from search_agent.demos import DemoSet
from vpt_pipeline.agents import TS, ZIP, Acting, is_set, label_of, set_of, split_tags
from vpt_pipeline.copied_view import write_view
from vpt_pipeline.envs import MINERL
from vpt_pipeline.evaluate import EvaluateConfig, plans_of
from vpt_pipeline.progress import Bar, Tally, progress_bar, say
from vpt_pipeline.prompts_options import Asking
from vpt_pipeline.prompts_page import write_page
from vpt_pipeline.prompts_typed import Conversation, TypedLines
from vpt_pipeline.prompts_view import write_told
from vpt_pipeline.rollout import Rollout, RolloutPlan, Stage, roll_out
from vpt_pipeline.tasks import default_tasks, tasks_of
from vpt_pipeline.worlds import World


@dataclass(frozen=True)
class PlayConfig:
    """Settings of `vpt play`."""

    agent: Annotated[str, tyro.conf.Positional]
    """Who plays: a policy (a folder of `vpt train-prior`, a published NAME.model), one that follows texts (`vpt train-text`), a
    set of demonstrations (`vpt index`; SET:TAG for a part of one), random, scripted or scripted:STYLE."""
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
    asking: tyro.conf.OmitArgPrefixes[Asking] = field(default_factory=Asking)
    world: tyro.conf.OmitArgPrefixes[World] = field(default_factory=World)


def main(config: PlayConfig) -> int:
    """0 if every episode ran."""
    task = config.task or (default_tasks(config.game)[0] if config.game.startswith(MINERL) else "explore")
    agents = config.asking.agents(config.agent)
    asked = EvaluateConfig(
        agents,
        (task,),
        config.episode + 1,
        config.seconds,
        config.episode + 1,
        config.out,
        config.size,
        config.game,
        acting=config.acting,
        world=config.world,
    )
    plans = plans_of(asked)[-len(agents) :]
    if config.inspect and not is_set(config.agent):
        raise ValueError(
            f"--inspect shows what is copied from demonstrations: expected a set (a folder of `vpt index`), found the agent "
            f"{config.agent!r}, which copies none; leave --inspect out"
        )
    if config.inspect and config.agent.startswith((ZIP, TS)):
        raise ValueError(
            f"--inspect shows how our own rules decide, not the published ones of {config.agent.partition(':')[0]}; leave it "
            f"out, or play {set_of(config.agent)}"
        )
    if len(agents) > 1:
        return side_by_side(config, plans)
    listed = videos_of(config.agent) if config.inspect else {}
    played = play(plans[0], config)
    if played.result is None or played.video is None:
        say(f"[red]{escape(played.error)}[/red]")
        return 1
    say(told(played, config.game))
    say(f"Watch {escape(played.video)}; its actions lie beside it (.jsonl)")
    if config.asking.captions:
        with progress_bar("writing captions", played.frames, "frames") as bar:
            say(f"What it was asked for: {escape(str(write_told(Path(played.video), bar.advance)))}")
    if config.inspect:
        view = inspected(config.agent, Path(played.video), played.frames, listed)
        say(f"What it copied: {escape(str(view))}")
    return 0


def play(plan: RolloutPlan, config: PlayConfig, stage: Stage | None = None) -> Rollout:
    """One episode, told of while it goes on."""
    title, typed = f"playing {plan.task}", TypedLines() if config.asking.interactive else None
    conversation = Conversation(typed, lambda line: config.asking.as_said(config.agent, line))
    if typed is None:
        with progress_bar(title, plan.steps, "frames") as bar:
            return roll_out(plan, partial(Tally(bar.advance).at, plan), stage, conversation)
    say("Type what it shall do; an empty line asks for nothing.")
    bar = Bar(title, plan.steps, "frames", None)  # one that is drawn anew would write over what is typed
    return roll_out(plan, partial(Tally(bar.advance).at, plan), stage, conversation)


def told(played: Rollout, game: str) -> str:
    """What came of an episode, in a line."""
    ended = f", ended early ({played.ended})" if played.ended else ""
    pressed = ", ".join(f"{name} {count}" for name, count in (played.presses or {}).items()) or "nothing"
    unit = tasks_of(game)[played.task].unit
    return f"{played.task}: {played.result:g} {unit} in {played.frames} frames{ended}; pressed: {pressed}"


def side_by_side(config: PlayConfig, plans: Sequence[RolloutPlan]) -> int:
    """Play the same start once for each wish; 0 if every episode ran."""
    played = []
    with closing(Stage()) as stage:
        for plan in plans:
            rollout = play(plan, config, stage)
            if rollout.result is None:
                say(f"[red]{escape(rollout.error)}[/red]")
                return 1
            say(told(rollout, config.game))
            if config.asking.captions:
                write_told(Path(str(rollout.video)))
            played.append(rollout)
    stem = config.out / f"{label_of(config.agent)}-{plans[0].task}-{config.episode}-side-by-side"
    with progress_bar("putting them side by side", max(one.frames for one in played), "frames") as bar:
        page = write_page(played, config.game, stem, bar.advance)
    say(f"Watch {escape(str(page.with_suffix('.mp4')))}; as one picture {escape(str(page.with_suffix('.png')))}")
    say(f"With what came of it: {escape(str(page))}")
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
