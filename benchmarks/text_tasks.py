"""Does an agent that can be asked in words do what it is asked, and not something else? Prompts against every task's measure.

    python -m benchmarks.text_tasks runs/text
    python -m benchmarks.text_tasks runs/text --scales 0 1 3 6 --episodes 8     # and how much guidance is good
    python -m benchmarks.text_tasks sets/all                    # demonstrations with embeddings (vpt index --embedder)

The agent plays the same episodes of freeplay once with each prompt and once without any, and every task's measure is taken.
For each task: its measure under its own prompt, against without a prompt and against the best of the other prompts. Resumes
where it stopped. Writes OUT/summary.json and OUT/guidance.png.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks._small import TASKS as TASKS_PLAYED
from benchmarks._small import small_follower, small_play
from benchmarks.prior_labels import ratio
from data.files import atomic_path, write_json_atomic
from idm.chart_style import BLUE, GREEN, ORANGE, figure, png
from vpt_pipeline.agents import Acting
from vpt_pipeline.evaluate import EvaluateConfig, bootstrap, plans_of, play_all
from vpt_pipeline.prompts_options import Asking
from vpt_pipeline.tasks import TASKS

PROMPTS = {
    "travel": "travel as far as you can",
    "logs": "chop down a tree",
    "dirt": "dig dirt",
    "seeds": "cut grass",
    "flowers": "pick flowers",
}
"""A text for each task that is measured."""


@dataclass(frozen=True)
class Args:
    """Settings."""

    asked: tyro.conf.Positional[Path] = Path("runs/text")
    """A folder of `vpt train-text`, or of `vpt index --embedder`."""
    out: Path = Path("runs/text_tasks")
    tasks: tuple[str, ...] = tuple(PROMPTS)
    scales: tuple[float, ...] = (3.0,)
    """Of guidance. The table is of the last one."""
    episodes: int = 20
    seconds: float = 45.0
    temperature: float = 1.0
    workers: int = 2
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


MOST = 1e6
"""A ratio above which the lower number is chance's nothing."""

Results = dict[str, dict[str, NDArray[np.float64]]]
"""prompt's task, or "" -> measure's task -> (episodes,)."""


def played(args: Args, agents: dict[str, str], name: str, scale: float) -> Results:
    """Play with every prompt (agent -> prompt's task) and so much guidance. name: of the folder."""
    asked = EvaluateConfig(
        tuple(agents), ("freeplay",), args.episodes, args.seconds, videos=1, out=args.out / name,
        workers=args.workers, acting=Acting(temperature=args.temperature, guidance=scale),
    )  # fmt: skip
    rollouts = play_all(plans_of(asked), asked.out / "episodes.jsonl", asked.workers, f"playing, {name}")
    return {
        prompt: {
            measure: np.array([r.measures[measure] for r in rollouts if r.agent == agent and r.measures is not None])
            for measure in args.tasks
        }
        for agent, prompt in agents.items()
    }


def best_other(results: Results, task: str) -> str:
    """The other prompt under which most of the task's measure comes about."""
    others = [prompt for prompt in results if prompt not in ("", task)]
    return max(others, key=lambda prompt: float(results[prompt][task].mean()))


def times(own: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float, float | None] | None:
    """The ratio of the means with its 95 % interval, without an upper end where some draws of the others bring nothing; None
    where the others bring nothing at all."""
    if not others.any():
        return None
    of, low, high = ratio(own, others)
    return of, low, high if high < MOST else None


def times_said(found: tuple[float, float, float | None] | None) -> str:
    """For the table."""
    if found is None:
        return "the others none"
    of, low, high = found
    return f"{of:.1f} (from {low:.1f})" if high is None else f"{of:.1f} ({low:.1f} to {high:.1f})"


def told(results: Results) -> list[dict[str, Any]]:
    """For each task what its own prompt does for it."""
    rows = []
    for task in (prompt for prompt in results if prompt):
        own, other = results[task][task], best_other(results, task)
        rows.append(
            {
                "task": task,
                "prompt": PROMPTS[task],
                "mean": float(own.mean()),
                "interval": bootstrap(own),
                "unprompted": float(results[""][task].mean()),
                "times_unprompted": times(own, results[""][task]),
                "best_other": other,
                "under_other": float(results[other][task].mean()),
                "times_other": times(own, results[other][task]),
                "all": {prompt: float(of[task].mean()) for prompt, of in results.items()},
            }
        )
    return rows


def picture(sweep: dict[float, list[dict[str, Any]]]) -> bytes:
    """How each task's measure under its own prompt, in parts of its goal, goes with guidance. sweep: by guidance, rising."""
    with figure(6, 3.8) as (canvas, (axes,)):
        colours = (BLUE, GREEN, ORANGE, "tab:red", "tab:purple")
        for index, first in enumerate(next(iter(sweep.values()))):
            task, colour = first["task"], colours[index % len(colours)]
            for what, line, label in (("mean", "o-", task), ("under_other", ":", None)):
                of_goal = [rows[index][what] / TASKS[task].goal for rows in sweep.values()]
                axes.plot(list(sweep), of_goal, line, label=label, color=colour)
        axes.set(xlabel="guidance", ylabel="of the task's goal (dotted: best other prompt)", ylim=(0, None))
        axes.legend()
        return png(canvas)


def main(args: Args) -> None:
    """Play, and print the table."""
    if args.quick:
        out = args.out / "quick"
        follower = small_follower(out, small_play(out / "play"))
        args = replace(args, asked=follower, out=out, tasks=TASKS_PLAYED, scales=(0.0, 3.0), episodes=2, seconds=2)
    for task in args.tasks:
        if task not in PROMPTS:
            raise ValueError(f"no prompt for {task!r}: expected some of {', '.join(PROMPTS)}")
    name = str(args.asked)
    prompted = {Asking(text=(PROMPTS[task],)).agents(name)[0]: task for task in args.tasks}
    unasked = played(args, {name: ""}, "unprompted", 0)  # there is nothing to exaggerate
    every = {scale: unasked | played(args, prompted, f"guidance-{scale:g}", scale) for scale in args.scales}
    sweep = [told(results) for results in every.values()]
    write_json_atomic(args.out / "summary.json", dict(zip(map(str, every), sweep, strict=True)))
    if len(sweep) > 1:
        with atomic_path(args.out / "guidance.png") as part:
            part.write_bytes(picture({scale: told(every[scale]) for scale in sorted(every)}))
    prompts = ["", *args.tasks]
    print(f"| measure | own prompt | {' | '.join(p or 'none' for p in prompts)} | own / none | own / best other |")
    print("|" + "---|" * (4 + len(prompts)))
    for row in sweep[-1]:
        low, high = row["interval"]
        cells = [f"{row['task']} ({TASKS[row['task']].unit})", f"{row['mean']:.2f} ({low:.2f} to {high:.2f})"]
        cells += [f"{row['all'][prompt]:.2f}" for prompt in prompts]
        cells += [times_said(row[what]) for what in ("times_unprompted", "times_other")]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(tyro.cli(Args))
