"""The whole pipeline in the embedded game, ending in a report.

Records scripted play, trains an inverse dynamics model on it, records other players in other worlds, hides their
actions, labels their video, and judges the labels against what was hidden. From the labelled video it makes three agents: a
behavioural prior, which plays beside one that was trained on the hidden actions; one that copies what it has seen; and one that
is asked in words. Everything lands in one folder; the same command again goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from data.files import write_json_atomic
from data.recording import Recording
from vpt_pipeline.demo_agents import PRIOR_SHARE, TEXT_SHARE, clone, demonstrate, play, teach_texts
from vpt_pipeline.demo_report import Timings, write_report
from vpt_pipeline.label import LabelConfig, label_videos
from vpt_pipeline.progress import say
from vpt_pipeline.record import record_many
from vpt_pipeline.recorder import TICK_RATE, EpisodePlan
from vpt_pipeline.train_idm import TrainIdmConfig, train

TRAINED_PLAYERS = ("steady", "twitchy", "wanderer")
TRAINED_WORLDS: tuple[int, ...] = (1, 2, 3)
HELD_OUT_PLAYER = "brisk"
HELD_OUT_WORLDS: tuple[int, ...] = (4, 5)
HELD_OUT_SEED = 5000
LABELS_SHARE = 0.75
"""Of the budget, for what labels need: play, the inverse dynamics model, judging. The rest is the agents' own."""
REPORT_MINUTES = 2.5
"""Kept for labelling, judging, overlays and the report."""
PLAYING_MINUTES = 7.0
"""Kept for the agents' play, and for what they read of the videos."""
QUICK_PLAY, QUICK_TRAINING = 0.9, 0.05
"""Minutes of all play, and of each training, with --quick."""


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `vpt demo`."""

    out: Path = Path("runs/demo")
    """Everything goes here; report.html is what to open."""
    budget: str = "32m"
    """About how long it may take, for example 20m or 3h. More time is more play and more training."""
    game: str = "auto"
    """luanti, vizdoom, or auto: Luanti where it is installed, else ViZDoom."""
    size: tuple[int, int] = (320, 180)
    """Width and height of the recorded video."""
    preset: str = "luanti_small"
    """The inverse dynamics model (see `vpt train-idm --help`)."""
    prior: str = "luanti_small"
    """The behavioural prior (see `vpt train-prior --help`)."""
    clip: str = "luanti_small"
    """The embedding of texts and clips (see `vpt train-clip --help`)."""
    clips: Path = Path("../shared/minecraft_videos")
    """Real gameplay clips without actions, labelled for show if the folder exists."""
    workers: int = 2
    """Games recorded at the same time."""
    device: str = "auto"
    seed: int = 0
    quick: bool = False
    """A minute or two instead of the budget, with seconds of play and models of the debug sizes, in OUT/quick: does it all
    run here?"""


@dataclass
class Plan:
    """What fits into a budget: minutes of play to learn from, minutes of held-out play, episodes a player and world."""

    train: list[EpisodePlan] = field(default_factory=list)
    held_out: list[EpisodePlan] = field(default_factory=list)


def minutes_of(budget: str) -> float:
    """``20m``, ``3h``, ``1h30m`` or plain minutes -> minutes. Raises ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m?)?", budget.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"budget {budget!r} is not a time; expected for example 20m, 3h or 1h30m")
    hours, minutes = (float(group or 0) for group in match.groups())
    total = hours * 60 + minutes
    if total < 5:
        raise ValueError(f"budget {budget!r} is too short to record and learn anything; expected at least 5m")
    return total


def plan(config: DemoConfig, game: str) -> Plan:
    """Split the budget. Play to learn from grows faster than it, from 4 minutes of 7 to 140 of 120: where time is short, it
    is better spent on training than on recording more."""
    budget = LABELS_SHARE * minutes_of(config.budget)
    play, held_out = min(0.8 * budget * math.sqrt(max(1.0, budget / 24)), 240.0), min(max(0.3 * budget, 2), 12)
    episodes = max(2, round(play / len(TRAINED_PLAYERS) / (2.5 if budget < 60 else 4)))
    worlds, judged, held_out_worlds = TRAINED_WORLDS, 4, HELD_OUT_WORLDS
    if config.quick:  # few episodes, and few worlds to begin them in
        play, held_out, episodes, judged = QUICK_PLAY, QUICK_PLAY / 2, 1, 2
        worlds, held_out_worlds = worlds[:1], held_out_worlds[:1]
    steps = round(play * 60 * TICK_RATE / episodes / len(TRAINED_PLAYERS))
    out = Plan()
    for number in range(episodes):
        for index, player in enumerate(TRAINED_PLAYERS):
            # Worlds turn against players, so that every player is seen in every world.
            world = worlds[(number + index) % len(worlds)]
            seed = config.seed * 10_000 + number * len(TRAINED_PLAYERS) + index
            out.train.append(EpisodePlan(game, "freeplay", player, seed, world, steps, config.size))
    held_steps = round(held_out * 60 * TICK_RATE / judged)
    for number in range(judged):
        world = held_out_worlds[number % len(held_out_worlds)]
        seed = config.seed * 10_000 + HELD_OUT_SEED + number
        out.held_out.append(EpisodePlan(game, "freeplay", HELD_OUT_PLAYER, seed, world, held_steps, config.size))
    return out


def pick_game(wanted: str) -> str:
    """``auto`` is Luanti where it can run, else ViZDoom, which needs pip alone."""
    if wanted != "auto":
        return wanted
    from vpt_pipeline.checks import can_play, run_all

    checks = run_all(Path("runs"))
    games = can_play(checks)
    if not games:
        raise ValueError("no game can run here: neither Luanti nor ViZDoom; `vpt doctor` says what is missing")
    if games[0] != "luanti":
        needed = ("Luanti", "Xvfb", "C compiler", "software OpenGL")
        missing = "; ".join(f"{c.name}: {c.found}" for c in checks if c.name in needed and c.status != "ok")
        say(
            f"[yellow]Luanti cannot run here ({missing}). Using ViZDoom instead;[/yellow] `vpt doctor` says what mends it."
        )
    return games[0]


def _hide(recordings: list[Recording], folder: Path) -> list[Path]:
    """Put the videos alone into a folder, as they would come from the internet: no actions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    videos = []
    for recording in recordings:
        link = folder / recording.video.name
        if not link.exists():
            link.symlink_to(recording.video.resolve())
        videos.append(link)
    return videos


def main(config: DemoConfig) -> int:
    """Run every stage that is not done yet and write the report. Returns 0."""
    if config.quick:
        config = dataclasses.replace(
            config, out=config.out / "quick", size=(160, 90), preset="debug", prior="debug_motion", clip="debug"
        )
    begun, budget = time.monotonic(), minutes_of(config.budget)
    game = pick_game(config.game)
    out, stages = config.out, plan(config, game)
    timings = Timings.load(out / "timings.json")
    minutes = sum(p.steps for p in stages.train) / TICK_RATE / 60
    say(f"[bold]1/8[/bold] recording {minutes:.0f} minutes of play in {game}: {', '.join(TRAINED_PLAYERS)}")
    with timings.measure("record training play"):
        train_set = record_many(stages.train, out / "play" / "train", config.workers, "training play")
    say(f"[bold]2/8[/bold] recording play to judge by: {HELD_OUT_PLAYER}, who is never trained on, in other worlds")
    with timings.measure("record held-out play"):
        held_out = record_many(stages.held_out, out / "play" / "held_out", config.workers, "held-out play")
    model = out / "idm"
    say("[bold]3/8[/bold] training the inverse dynamics model")
    with timings.measure("train"):
        training = TrainIdmConfig(
            data=(out / "play" / "train",), out=model, preset=config.preset, cache=out / "cache", device=config.device,
            minutes=_training(config, budget - (time.monotonic() - begun) / 60 - _afterwards(budget) - 0.06 * minutes, 1.0),
        )  # fmt: skip
        train(_with_seed(training, config.seed))
    say("[bold]4/8[/bold] labelling the held-out video, its actions hidden")
    with timings.measure("label"):
        videos = _hide(held_out, out / "hidden" / "videos")
        label_videos(
            LabelConfig(
                videos=tuple(map(str, videos)), model=model, out=str(out / "hidden" / "labels"), device=config.device
            )
        )
        clips = sorted(config.clips.glob("*.mp4")) if config.clips.is_dir() else []
        if clips:
            label_videos(
                LabelConfig(videos=tuple(map(str, clips)), model=model, out=str(out / "clips"), device=config.device)
            )
    say("[bold]5/8[/bold] training a behavioural prior on the labels, another on the hidden actions")
    with timings.measure("train priors"):
        clone(config, _training(config, PRIOR_SHARE * budget))
    say("[bold]6/8[/bold] making demonstrations of the labelled video, to be copied without training")
    with timings.measure("index demonstrations"):
        demonstrate(config)
    if game == "luanti":
        say("[bold]7/8[/bold] teaching the prior to follow texts")
        with timings.measure("train texts"):
            teach_texts(config, _training(config, TEXT_SHARE * budget))
    else:
        say(f"[bold]7/8[/bold] no texts: {game} does not write down what is done in it")
    say("[bold]8/8[/bold] letting all of them play, and judging the labels against the hidden truth")
    with timings.measure("play"):
        played = play(config, game)
    with timings.measure("judge and report"):
        scores = write_report(out, config, game, train_set, held_out, clips, played, timings)
    write_json_atomic(out / "summary.json", scores)
    say(json.dumps(scores, indent=1))
    say(f"report: [bold]{(out / 'report.html').resolve()}[/bold]")
    say(f"your own videos: vpt label VIDEO... --model {model}; an agent from the labels: vpt train-prior --help")
    return 0


def _training(config: DemoConfig, minutes: float, least: float = 0.5) -> float:
    """So long may a training take that gets ``minutes`` of the budget."""
    return QUICK_TRAINING if config.quick else max(minutes, least)


def _afterwards(budget: float) -> float:
    """Minutes of the budget that what comes after training the inverse dynamics model takes."""
    return REPORT_MINUTES + 2 * (PRIOR_SHARE + TEXT_SHARE) * budget + PLAYING_MINUTES


def _with_seed(training: TrainIdmConfig, seed: int) -> TrainIdmConfig:
    return dataclasses.replace(training, training=dataclasses.replace(training.training, seed=seed))
