"""Does editing the demonstrations swap the task? One encoder, one search agent, a set of demonstrations for each task.

    python -m benchmarks.task_swap runs/tasks/logs runs/tasks/dirt runs/tasks/seeds runs/tasks/travel --model runs/prior

Each folder holds recordings of one task. They become one set, tagged by task; the agent plays the same episodes with each tag,
and every task's measure is taken of all of them. Beside it: the scripted player at each task, random actions, and with --tuned
policies that were fine-tuned by behavioural cloning on the same recordings. Then each tag is played until --switch seconds
before the end, and the next one in the row from there on: how much more of its task has come about by the end than in the
same episodes without the switch? Resumes where it stopped. Writes OUT/summary.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks._small import small_play, small_prior
from benchmarks.prior_labels import ratio
from data.files import write_json_atomic
from data.recording import find_recordings
from vpt_pipeline.evaluate import EvaluateConfig, bootstrap, plans_of, play_all
from vpt_pipeline.index import IndexConfig, index
from vpt_pipeline.rollout import Rollout
from vpt_pipeline.tasks import TASKS

Episodes = dict[int, dict[str, float]]
"""Of one agent: seed -> task -> what its measure made of that episode. Those that did not run are not in it."""


@dataclass(frozen=True)
class Args:
    """Settings."""

    play: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of recordings (`vpt record --task T`), one a task."""
    most: int = 20
    """Recordings of each."""
    model: str = "runs/prior"
    """Whose latents."""
    tuned: Path | None = None
    """A folder with a fine-tuned policy for each task (benchmarks.prior_tasks --out)."""
    out: Path = Path("runs/task_swap")
    episodes: int = 20
    seconds: float = 60.0
    switch: float = 10.0
    """Seconds before the end at which one set takes the place of another; 0: not measured."""
    workers: int = 2
    cache: Path = Path("runs/cache")
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


def main(args: Args) -> None:
    """Index, play, and print the matrix."""
    if args.quick:
        out = args.out / "quick"
        play = small_play(out / "play")
        model = str(small_prior(out, play))
        args = replace(args, play=play, model=model, out=out, episodes=2, seconds=4, switch=2, cache=out / "cache")
    player, folders = {}, {}
    for folder in args.play:
        meta = find_recordings(folder)[0].load_meta()
        task = str(meta["task"])
        player[task] = f"scripted:{meta['player']}"
        folders[task] = _some(folder, args.out / "recordings" / task, args.most)
    tasks = list(folders)
    for task, folder in folders.items():
        index(IndexConfig((folder,), args.out / "set", args.model, (task,), cache=args.cache))
    chosen = {task: f"{args.out / 'set'}:{task}" for task in tasks}
    agents = {agent: f"set {task}" for task, agent in chosen.items()}
    if args.tuned is not None:
        agents |= {str(args.tuned / task): f"cloned {task}" for task in tasks if (args.tuned / task).is_dir()}
    agents["random"] = "random"
    episodes = _episodes(_play(args, tuple(agents), "freeplay"))
    rows = {name: {task: _of(episodes[agent], task) for task in tasks} for agent, name in agents.items()}
    rows["scripted player, told the task"] = {
        task: _of(_episodes(_play(args, (player[task],), task))[player[task]], task) for task in tasks
    }
    told = print_matrix(rows, tasks)
    after = print_switches(args, chosen, episodes) if args.switch else {}
    results = {name: {task: found[task].tolist() for task in tasks} for name, found in rows.items()}
    write_json_atomic(args.out / "summary.json", {"results": results, "told": told, "switches": after})


def print_matrix(rows: dict[str, dict[str, NDArray[np.float64]]], tasks: list[str]) -> dict[str, Any]:
    """Who against which measure, and what each task's own set does for it."""
    print("| " + " | ".join(["", *(f"{task} ({TASKS[task].unit})" for task in tasks)]) + " |")
    print("|" + "---|" * (1 + len(tasks)))
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(_cell(found[task]) for task in tasks)} |")
    told = {}
    for task in tasks:
        own, best = rows[f"set {task}"][task], rows["scripted player, told the task"][task]
        others = {
            name: found[task] for name, found in rows.items() if name.startswith("set ") and name != f"set {task}"
        }
        rival = max(others, key=lambda name: others[name].mean())
        of, low, high = ratio(own, best)
        times = float(own.mean() / others[rival].mean()) if others[rival].any() else None
        told[task] = {"of scripted": (of, low, high), "times the best other set": times, "other": rival}
        beside = f"{times:.1f} times that of the {rival}" if others[rival].any() else "no other set brings any"
        print(f"{task}: {of:.2f} ({low:.2f} to {high:.2f}) of the scripted player's; {beside}")
    return told


def print_switches(args: Args, chosen: dict[str, str], unswitched: dict[str, Episodes]) -> dict[str, Any]:
    """Each set after the one before it in the row. An episode has the start and the dice of the one in which nothing is
    switched, so that it is nearly always equal to it up to the switch."""
    tasks, last = list(chosen), args.seconds - args.switch
    pairs = {(old, new): f"{chosen[old]}; {last:g}: {new}" for old, new in zip(tasks[-1:] + tasks, tasks, strict=False)}
    switched = _episodes(_play(args, tuple(pairs.values()), "freeplay"))
    told = {}
    print(
        f"| switched {args.switch:g} s before the end | more of the new | its own set, in as long | less of the old |"
    )
    print("|---|---|---|---|")
    for (old, new), agent in pairs.items():
        stayed, went = unswitched[chosen[old]], switched[agent]
        seeds = sorted(stayed.keys() & went.keys())
        more = _of(went, new, seeds) - _of(stayed, new, seeds)
        less = _of(stayed, old, seeds) - _of(went, old, seeds)
        usual = float(_of(unswitched[chosen[new]], new).mean() * args.switch / args.seconds)
        told[f"{old} to {new}"] = {"more": more.tolist(), "usual": usual, "less": less.tolist()}
        print(f"| {old} to {new} | {_cell(more)} {TASKS[new].unit} | {usual:.2f} | {_cell(less)} {TASKS[old].unit} |")
    return told


def _some(folder: Path, chosen: Path, most: int) -> Path:
    """A folder of links to some of a folder's recordings."""
    chosen.mkdir(parents=True, exist_ok=True)
    for recording in find_recordings(folder)[:most]:
        for file in (recording.video, recording.actions, recording.meta):
            if file is not None and not (chosen / file.name).exists():
                (chosen / file.name).symlink_to(file.resolve())
    return chosen


def _episodes(rollouts: list[Rollout]) -> dict[str, Episodes]:
    """By agent."""
    found: dict[str, Episodes] = {}
    for rollout in rollouts:
        if rollout.measures is not None:
            found.setdefault(rollout.agent, {})[rollout.seed] = rollout.measures
    return found


def _of(episodes: Episodes, task: str, seeds: Iterable[int] | None = None) -> NDArray[np.float64]:
    """The measure of a task, episode by episode."""
    return np.array([episodes[seed][task] for seed in (episodes if seeds is None else seeds)], float)


def _cell(results: NDArray[np.float64]) -> str:
    low, high = bootstrap(results) or (float("nan"), float("nan"))
    return f"{results.mean():.2f} ({low:.2f} to {high:.2f})" if len(results) else "failed to run"


def _play(args: Args, agents: tuple[str, ...], task: str) -> list[Rollout]:
    asked = EvaluateConfig(
        agents, (task,), args.episodes, args.seconds, videos=2, out=args.out / "evaluation", workers=args.workers
    )
    return play_all(plans_of(asked), asked.out / "episodes.jsonl", asked.workers, f"playing {task}")


if __name__ == "__main__":
    main(tyro.cli(Args))
