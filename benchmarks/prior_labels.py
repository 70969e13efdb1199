"""Are an inverse dynamics model's labels as good as true actions to train a behavioural prior on?

    python -m benchmarks.prior_labels runs/tasks/* --idm runs/idm

Priors of the same size take the same number of steps on (a) the recorded actions, (b) the model's labels of the same videos, of
which more and more are given, and (c) the recorded actions of a tenth of the videos. All are judged by the recorded actions of
recordings held back, and play the same episodes: of the task, if the recordings are of a single one, else of freeplay, in which
every task's measure is taken. The inverse dynamics model must not have been trained on these recordings. Resumes where it
stopped, and goes on with more --shares. Writes OUT/summary.json and OUT/curve.png.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from benchmarks._small import small_idm, small_play
from data.files import atomic_path, write_json_atomic
from data.recording import Recording, find_recordings
from idm.chart_style import BLUE, FAINT, GREEN, ORANGE, figure, png
from prior.checkpoint import load_policy
from prior.config import PolicyConfig, preset
from prior.episodes import Choices, Episode, load_episodes
from prior.nn.optim import MovingAverage
from prior.nn.precision import Precision
from prior.policy import Policy
from prior.sequences import SequenceLoader, Source, slots_for
from prior.training import RECIPES, Cloner, begin_with_frequencies, finish
from vpt_pipeline.agents import Acting
from vpt_pipeline.evaluate import EvaluateConfig, bootstrap, plans_of, play_all, score
from vpt_pipeline.label import LabelConfig, label_videos
from vpt_pipeline.progress import progress_bar
from vpt_pipeline.rollout import Rollout
from vpt_pipeline.tasks import TASKS


@dataclass(frozen=True)
class Args:
    """Settings."""

    play: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of recordings (`vpt record`), one a task, whose meta tells the task."""
    idm: Path = Path("runs/idm")
    """An inverse dynamics model that was not trained on them."""
    out: Path = Path("runs/prior_labels")
    preset: str = "luanti_small"
    precision: Precision = "float32"
    steps: int = 1500
    """Of each prior's training."""
    batch: int = 32
    chunk: int = 16
    """Short chunks of many episodes: what lies beside each other in time tells nearly the same."""
    learning_rate: float = 1e-3
    colour: float = 0.1
    pixels: int = 3
    still: float = 0.3
    mirror: float = 0.5
    """How much what is learnt from varies (vpt train-prior --colour, --pixels, --still, --mirror)."""
    shares: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Of the videos, labelled: the points of the curve."""
    few: float = 0.1
    """Share of the videos that (c) has true actions of."""
    episodes: int = 30
    seconds: float = 60.0
    """Of each episode."""
    temperature: float = 1.0
    """What actions are drawn at."""
    cache: Path = Path("runs/cache")
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


def spread(folders: list[list[Recording]]) -> list[Recording]:
    """All recordings, so ordered that any number of the first ones has as many of each folder as can be."""
    return [r for row in itertools.zip_longest(*folders) for r in row if r is not None]


def load(recordings: list[Recording], labels: Path | None, config: PolicyConfig, cache: Path) -> list[Episode]:
    """Raises ValueError if any recording cannot be used."""
    with progress_bar("reading", len(recordings), "recordings") as bar:
        usable, refused = load_episodes(recordings, labels, config, cache, Choices(), bar.advance)
    if refused:
        raise ValueError("; ".join(refused))
    return usable


def trained(folder: Path, episodes: list[Episode], judged: SequenceLoader, args: Args) -> float:
    """Train the prior of ``folder``, or go on with it; returns the loss on what is judged by, nats a frame."""
    config = preset(args.preset)
    torch.manual_seed(0)
    training = replace(
        RECIPES["scratch"], steps=args.steps, batch=args.batch, chunk=args.chunk,
        learning_rate=args.learning_rate, average=0.995,
        precision=args.precision, colour=args.colour, pixels=args.pixels, still=args.still, mirror=args.mirror,
    )  # fmt: skip
    loader = SequenceLoader([Source(episodes)], training.batch, training.chunk, training.seed, training.variation)
    policy = Policy(config)
    begin_with_frequencies(policy, episodes)
    cloner = Cloner(folder, policy, training, loader)
    if cloner.step < cloner.steps:
        with progress_bar(f"training {folder.name}", cloner.steps, "steps") as bar:
            bar.skip(cloner.step)

            def report(step: int, metrics: dict[str, float]) -> None:
                bar.note(f"loss {metrics['loss']:.3f}")
                bar.advance()

            finish(cloner, cloner.run(report))
    cloner.policy, cloner.average, cloner.validation = load_policy(folder)[0], MovingAverage([], 0), judged
    return cloner.validate()["loss"]


def normalised(rollouts: list[Rollout], tasks: list[str]) -> NDArray[np.float64]:
    """Of each episode: the mean over tasks of result / goal."""
    return np.array(
        [np.mean([r.measures[task] / TASKS[task].goal for task in tasks]) for r in rollouts if r.measures is not None]
    )


def ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of the means, with the 95 % interval over episodes (of the same places, so drawn together)."""
    count = min(len(ours), len(theirs))
    draws = np.random.default_rng(0).integers(count, size=(10_000, count))
    ratios = ours[draws].mean(1) / np.maximum(theirs[draws].mean(1), 1e-9)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(ours.mean() / theirs.mean()), float(low), float(high)


def picture(points: list[dict[str, Any]], others: dict[str, dict[str, Any]]) -> bytes:
    """The curve: return and loss against minutes of labelled video, with the levels of true actions."""
    with figure(10, 3.8, columns=2) as (canvas, (returns, losses)):
        minutes = [point["minutes"] for point in points]
        levels = (("all, true actions", GREEN), ("a tenth, true actions", ORANGE), ("random", FAINT))
        returns.plot(minutes, [p["return"] for p in points], "o-", color=BLUE, label="labels")
        returns.fill_between(minutes, *np.array([p["interval"] for p in points]).T, color=BLUE, alpha=0.15)
        losses.plot(minutes, [p["loss"] for p in points], "o-", color=BLUE, label="labels")
        for name, colour in levels:
            returns.axhline(others[name]["return"], color=colour, ls="--", label=name)
            if "loss" in others[name]:
                losses.axhline(others[name]["loss"], color=colour, ls="--", label=name)
        returns.set(title="Played: mean of result / goal", ylim=(0, None))
        losses.set(title="Loss on recordings held back, nats a frame")
        for axes in (returns, losses):
            axes.set(xlabel="minutes of labelled video", xscale="log")
            axes.set_xticks(minutes, [f"{m:.0f}" for m in minutes])
            axes.minorticks_off()
            axes.legend()
        return png(canvas)


def main(args: Args) -> None:
    """Label, train, play, and print the table."""
    if args.quick:
        out = args.out / "quick"
        play = small_play(out / "play")
        args = replace(
            args, play=play, idm=small_idm(out, play), out=out, preset="debug", steps=2, batch=2, chunk=8,
            still=0, shares=(0.5, 1.0), episodes=2, seconds=2, cache=out / "cache",
        )  # fmt: skip
    config = preset(args.preset)
    folders = [find_recordings(folder) for folder in args.play]
    held = [recordings[-max(1, round(len(recordings) * 0.1)) :] for recordings in folders]
    rest = spread([r[: -len(h)] for r, h in zip(folders, held, strict=True)])
    tasks = sorted({str(r.load_meta()["task"]) for recordings in folders for r in recordings} - {"freeplay"})
    found = label_videos(LabelConfig(tuple(str(r.video) for r in rest), args.idm, out=str(args.out / "labels")))
    if any(video.status == "failed" for video in found.videos.values()):
        raise ValueError(f"{args.out}/labels: some videos could not be labelled; see its manifest.json")
    truth, labelled = (load(rest, labels, config, args.cache) for labels in (None, args.out / "labels"))
    back = load([r for h in held for r in h], None, config, args.cache)
    judged = SequenceLoader([Source(back)], max(slots_for(back, args.batch, config.chunk), 1), config.chunk, 0)
    minutes = sum(len(e.inputs) for e in truth) / config.rate / 60

    few = max(1, round(args.few * len(rest)))
    runs = {"all, true actions": truth, "a tenth, true actions": truth[:few]}
    runs |= {f"labels, {share:g}": labelled[: max(1, round(share * len(rest)))] for share in args.shares}
    losses, names = {}, {}
    for name, episodes in runs.items():
        folder = args.out / name.replace(",", "").replace(" ", "-")
        losses[name], names[str(folder)] = trained(folder, episodes, judged, args), name
    task, player = (tasks[0], "scripted:focused") if len(tasks) == 1 else ("freeplay", "scripted")
    names |= {"random": "random", player: f"scripted player, {task}"}

    asked = EvaluateConfig(
        tuple(names), (task,), args.episodes, args.seconds, videos=1, out=args.out / "evaluation",
        acting=Acting(temperature=args.temperature),
    )  # fmt: skip
    rollouts = play_all(plans_of(asked), asked.out / "episodes.jsonl", asked.workers)

    told: dict[str, dict[str, Any]] = {}
    of_agent: dict[str, NDArray[np.float64]] = {}
    for agent, name in names.items():
        mine = [r for r in rollouts if r.agent == agent]
        of_agent[name] = normalised(mine, tasks)
        told[name] = {"return": float(of_agent[name].mean()), "interval": bootstrap(of_agent[name])}
        told[name]["tasks"] = {task: (s := score(mine, task)).mean for task in tasks}
        told[name]["intervals"] = {task: score(mine, task).interval for task in tasks}
        told[name]["failed"] = s.failed
        if name in losses:
            told[name] |= {"loss": losses[name], "minutes": minutes * len(runs[name]) / len(rest)}
    versus = {name: ratio(of_agent[name], of_agent["all, true actions"]) for name in told}
    write_json_atomic(args.out / "summary.json", {"agents": told, "against all true actions": versus})
    points = [told[f"labels, {share:g}"] for share in args.shares]
    with atomic_path(args.out / "curve.png") as part:
        part.write_bytes(picture(points, told))

    print(f"| trained on | minutes | loss | return (of all true actions) | {' | '.join(tasks)} |")
    print("|" + "---|" * (4 + len(tasks)))
    for name, one in told.items():
        least, most = one["interval"]
        of, low, high = versus[name]
        cells = [
            name,
            f"{one['minutes']:.0f}" if "minutes" in one else "",
            f"{one['loss']:.3f}" if "loss" in one else "",
            f"{one['return']:.3f} ({least:.3f} to {most:.3f}); {of:.2f} ({low:.2f} to {high:.2f})",
            *(f"{one['tasks'][t]:.2f} ({one['intervals'][t][0]:.2f} to {one['intervals'][t][1]:.2f})" for t in tasks),
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(tyro.cli(Args))
