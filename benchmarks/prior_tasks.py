"""How near does a prior come to the player it copied? Fine-tuned by behavioural cloning on one task, for each of several tasks.

    python -m benchmarks.prior_tasks runs/tasks/logs runs/tasks/dirt runs/tasks/travel --start runs/prior

Each folder holds recordings of one task, whose meta tells which. The prior is fine-tuned on each and plays that task beside the
prior as it was, random actions and the scripted player it was recorded from, all from the same places. With ``--rounds``, the
player and the fine-tuned prior then take turns in new recordings (``vpt record --novice``), and it is fine-tuned on these, too:
each round's make up half as much of an epoch as the folder's.
Resumes where it stopped. Writes OUT/summary.json.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks._small import small_play, small_prior
from benchmarks.prior_labels import ratio
from data.files import write_json_atomic
from data.recording import find_recordings
from prior.nn.precision import Precision
from vpt_pipeline.agents import Acting
from vpt_pipeline.evaluate import EvaluateConfig, plans_of, play_all, score
from vpt_pipeline.record import RecordConfig, plan_episodes, record_many
from vpt_pipeline.rollout import Rollout
from vpt_pipeline.tasks import TASKS
from vpt_pipeline.train_prior import TrainPriorConfig, train

TURN_SEEDS, ROUND_SEEDS = 500_000, 1000
"""Seed of the first recording by turns, and what those of rounds lie apart."""


@dataclass(frozen=True)
class Args:
    """Settings."""

    play: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of recordings (`vpt record --task T`), one a task."""
    start: str | None = None
    """The prior to begin with; without one, a new policy is trained on each task."""
    out: Path = Path("runs/prior_tasks")
    steps: int = 600
    """Of each fine-tuning."""
    rounds: int = 0
    """So many times the prior and the player record by turns, and the prior is fine-tuned on."""
    turns: int = 12
    """Minutes that are recorded so in a round."""
    workers: int = 2
    """Games at the same time."""
    batch: int = 32
    chunk: int = 16
    """Short chunks of many episodes: what lies beside each other in time tells nearly the same."""
    learning_rate: float = 3e-4
    colour: float = 0.1
    pixels: int = 3
    still: float = 0.3
    mirror: float = 0.5
    """How much what is learnt from varies (vpt train-prior --colour, --pixels, --still, --mirror)."""
    hotbar: float = 0.0
    """How much it learns to tell the selected slot of the hotbar (vpt train-prior --hotbar)."""
    episodes: int = 20
    seconds: float = 60.0
    temperature: float = 1.0
    precision: Precision = "float32"
    cache: Path = Path("runs/cache")
    quick: bool = False
    """A few seconds, on play that is recorded for it and models of the debug sizes."""


def fine_tuned(args: Args, folder: Path, task: str, player: str) -> Path:
    """The prior that has learnt one task, and where it is."""
    play, policy = [folder], args.start
    for number in range(args.rounds + 1):
        if number:
            more = args.out / f"{task}-turns-{number}"
            recorded = RecordConfig(
                more, (task,), (player,), args.turns, minutes=1, seed=TURN_SEEDS + ROUND_SEEDS * number, novice=policy,
                workers=args.workers,
            )  # fmt: skip
            record_many(plan_episodes(recorded), more, args.workers)
            play.append(more)
        out = args.out / (f"{task}-{number}" if number else task)
        config = TrainPriorConfig(
            tuple(play), out=out, start=policy, steps=args.steps, batch=args.batch, average=0.995, chunk=args.chunk,
            learning_rate=args.learning_rate, cache=args.cache, hold_back=0.05, validate_every=args.steps,
            precision=args.precision, colour=args.colour, pixels=args.pixels, still=args.still, mirror=args.mirror,
            hotbar=args.hotbar, shares=(2.0, *[1.0] * number),
        )  # fmt: skip
        if not (out / "model.safetensors").exists():
            train(config)
        policy = str(out)
    return out


def main(args: Args) -> None:
    """Fine-tune, play, and print the table."""
    if args.quick:
        out = args.out / "quick"
        play = small_play(out / "play")
        args = replace(
            args, play=play, start=str(small_prior(out, play)), out=out, steps=2, batch=2, chunk=8, rounds=1, turns=1,
            still=0, episodes=2, seconds=2, cache=out / "cache",
        )  # fmt: skip
    tuned, player, rollouts = {}, {}, []
    for folder in args.play:
        meta = find_recordings(folder)[0].load_meta()
        task = str(meta["task"])
        player[task] = f"scripted:{meta['player']}"
        tuned[task] = fine_tuned(args, folder, task, meta["player"])
    for task, policy in tuned.items():
        agents = (str(policy), *([args.start] if args.start else []), "random", player[task])
        asked = EvaluateConfig(
            agents,
            (task,),
            args.episodes,
            args.seconds,
            out=args.out / "evaluation",
            workers=args.workers,
            acting=Acting(temperature=args.temperature),
        )
        plans = plans_of(replace(asked, videos=2))
        rollouts += play_all(plans, asked.out / "episodes.jsonl", asked.workers, f"playing {task}")

    told = []
    print("| task | fine-tuned | before | random | scripted | of the scripted player's |\n|---|---|---|---|---|---|")
    for task, policy in tuned.items():
        cells, of = [], {}
        for agent in (str(policy), args.start, "random", player[task]):
            mine: list[Rollout] = [r for r in rollouts if r.task == task and r.agent == agent]
            if not mine:
                cells.append("")
                continue
            one = score(mine)
            told.append(one)
            low, high = one.interval or (float("nan"), float("nan"))
            cells.append("failed" if one.mean is None else f"{one.mean:.2f} ({low:.2f} to {high:.2f})")
            of[agent] = np.array([r.result for r in mine if r.result is not None], float)
        part, low, high = ratio(of[str(policy)], of[player[task]])
        print(f"| {task} ({TASKS[task].unit}) | {' | '.join(cells)} | {part:.2f} ({low:.2f} to {high:.2f}) |")
    write_json_atomic(args.out / "summary.json", [vars(one) for one in told])


if __name__ == "__main__":
    main(tyro.cli(Args))
