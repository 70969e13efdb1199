"""Does editing the demonstrations swap the task? One encoder, one search agent, a set of demonstrations for each task.

    python -m benchmarks.task_swap runs/tasks/logs runs/tasks/dirt runs/tasks/seeds runs/tasks/travel --model runs/prior

Each folder holds recordings of one task. They become one set, tagged by task; the agent plays the same episodes with each tag,
and every task's measure is taken of all of them. Beside it: the scripted player at each task, random actions, and with --tuned
policies that were fine-tuned by behavioural cloning on the same recordings. Resumes where it stopped. Writes OUT/summary.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks.prior_labels import ratio
from data.files import write_json_atomic
from data.recording import find_recordings
from vpt_pipeline.evaluate import EvaluateConfig, bootstrap, plans_of, play_all
from vpt_pipeline.index import IndexConfig, index
from vpt_pipeline.progress import progress_bar
from vpt_pipeline.rollout import Rollout
from vpt_pipeline.tasks import TASKS


@dataclass(frozen=True)
class Args:
    """Settings."""

    play: tyro.conf.Positional[tuple[Path, ...]]
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
    cache: Path = Path("runs/cache")


def main(args: Args) -> None:
    """Index, play, and print the matrix."""
    player, folders = {}, {}
    for folder in args.play:
        meta = find_recordings(folder)[0].load_meta()
        task = str(meta["task"])
        player[task], folders[task] = (
            f"scripted:{meta['player']}",
            _some(folder, args.out / "recordings" / task, args.most),
        )
    tasks = list(folders)
    for task, folder in folders.items():
        index(IndexConfig((folder,), args.out / "set", args.model, (task,), cache=args.cache))
    agents = {f"{args.out / 'set'}:{task}": f"set {task}" for task in tasks}
    if args.tuned is not None:
        agents |= {str(args.tuned / task): f"cloned {task}" for task in tasks if (args.tuned / task).is_dir()}
    agents["random"] = "random"
    rollouts = _play(args, tuple(agents), "freeplay")
    scripted = {task: _play(args, (player[task],), task) for task in tasks}

    def results(agent: str, task: str) -> NDArray[np.float64]:
        return np.array([r.measures[task] for r in rollouts if r.agent == agent and r.measures is not None], float)

    rows = {name: {task: results(agent, task) for task in tasks} for agent, name in agents.items()}
    rows["scripted player, told the task"] = {
        task: np.array([r.result for r in scripted[task] if r.result is not None], float) for task in tasks
    }
    print("| " + " | ".join(["", *(f"{task} ({TASKS[task].unit})" for task in tasks)]) + " |")
    print("|" + "---|" * (1 + len(tasks)))
    for name, found in rows.items():
        cells = []
        for task in tasks:
            low, high = bootstrap(found[task]) or (float("nan"), float("nan"))
            cells.append(f"{found[task].mean():.2f} ({low:.2f} to {high:.2f})" if len(found[task]) else "failed to run")
        print(f"| {name} | {' | '.join(cells)} |")
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
    means = {name: {task: found[task].tolist() for task in tasks} for name, found in rows.items()}
    write_json_atomic(args.out / "summary.json", {"results": means, "told": told})


def _some(folder: Path, chosen: Path, most: int) -> Path:
    """A folder of links to some of a folder's recordings."""
    chosen.mkdir(parents=True, exist_ok=True)
    for recording in find_recordings(folder)[:most]:
        for file in (recording.video, recording.actions, recording.meta):
            if file is not None and not (chosen / file.name).exists():
                (chosen / file.name).symlink_to(file.resolve())
    return chosen


def _play(args: Args, agents: tuple[str, ...], task: str) -> list[Rollout]:
    asked = EvaluateConfig(agents, (task,), args.episodes, args.seconds, videos=2, out=args.out / "evaluation")
    plans = plans_of(asked)
    with progress_bar(f"playing {task}", sum(plan.steps for plan in plans), "frames") as bar:
        return play_all(plans, asked.out / "episodes.jsonl", asked.workers, bar.advance)


if __name__ == "__main__":
    main(tyro.cli(Args))
