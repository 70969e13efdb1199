"""Fine-tune a prior by reinforcement: it plays a task, and what raised the task's measure it does more.

    vpt finetune-rl runs/prior --task dirt
    vpt finetune-rl foundation-model-2x.model --env minerl:MineRLObtainDiamond-v0 --task diamond --recipe vpt --size 640 360

VPT's phasic policy gradient with a tether to the prior (docs/prior.md). Each iteration plays some episodes and learns from
them. The same command again resumes a stopped run, in the middle of an iteration, too; more --iterations go on with it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from data.files import atomic_path
from data.json_config import begin_or_resume, given_options, preset_of
from data.names import require_name
from idm.chart_style import BLUE, ORANGE, figure, png
from prior.checkpoint import load_policy, save_policy
from prior.nn.optim import save_state
from prior.policy import Policy
from prior.rl.phasic import RECIPES, PhasicConfig, PhasicLearner
from prior.rl.played import Played
from vpt_pipeline.progress import Bar, progress_bar, say
from vpt_pipeline.recorder import TICK_RATE
from vpt_pipeline.rl_play import PracticePlan, practise_all
from vpt_pipeline.tasks import require_seed, tasks_of
from vpt_pipeline.train_idm import pick_device


@dataclass(frozen=True)
class FinetuneRlConfig:
    """Settings of `vpt finetune-rl`."""

    start: Annotated[str, tyro.conf.Positional]
    """The prior to begin as: a folder of `vpt train-prior`, or a published NAME.model."""
    task: str = "dirt"
    """What it plays; an action's reward is by how much it raised the task's measure (`diamond` in MineRL: VPT's rewards)."""
    game: Annotated[str, tyro.conf.arg(aliases=["--env"])] = "luanti"
    """luanti, vizdoom, or minerl:ENVIRONMENT."""
    out: Path = Path("runs/rl")
    """Where the policy goes, as it is after the latest iteration: config.json, model.safetensors, metrics.jsonl, reward.png."""
    iterations: int = 20
    episodes: int = 16
    """Of each iteration, each in another place."""
    seconds: float = 20.0
    """Length of an episode in seconds of play."""
    temperature: float = 1.0
    """Begin as this much more (below 1) or less greedy a player than the prior; it stays so."""
    recipe: str = "small"
    """Settings to begin with: small, vpt (the paper's), debug. The options below override them."""
    batch: int | None = None
    """Episodes that are learnt from beside each other."""
    epochs: int | None = None
    """How often each frame is learnt from."""
    learning_rate: float | None = None
    gamma: float | None = None
    """What a reward is worth a frame later."""
    tether: float | None = None
    """Weight of the divergence from the prior, at first."""
    sleep_every: int | None = None
    """Iterations from one time that values teach the whole network to the next; 0: never."""
    size: tuple[int, int] = (320, 180)
    """Width and height of the game's picture. MineRL: 640 360."""
    seed: int = 0
    """Of the first episode; the others count on."""
    workers: int = 2
    """Games at the same time. One takes about one core."""
    device: str = "auto"
    """To learn on: auto, cpu, cuda, cuda:1 ..."""


def phasic_of(config: FinetuneRlConfig) -> PhasicConfig:
    """The recipe with the options that were given."""
    recipe = preset_of(RECIPES, config.recipe, "recipe")
    return dataclasses.replace(recipe, **given_options(PhasicConfig, config))


def prior_of(config: FinetuneRlConfig) -> Policy:
    """The prior, as greedy as it is to play."""
    policy = load_policy(config.start)[0]
    if not config.temperature > 0:
        raise ValueError(f"temperature must be above 0, got {config.temperature}")
    policy.config = dataclasses.replace(policy.config, temperature=policy.config.temperature * config.temperature)
    for head in (policy.pi_head.buttons, policy.pi_head.camera):
        head.temperature = policy.config.temperature
    return policy


def practice(config: FinetuneRlConfig, iteration: int) -> list[PracticePlan]:
    """The episodes of an iteration. Raises ValueError where there are no seeds left."""
    tasks, steps = tasks_of(config.game), round(config.seconds * TICK_RATE)
    require_name("task", config.task, tasks)
    for what, value in (
        ("episodes", config.episodes),
        ("frames of an episode", steps),
        ("iterations", config.iterations),
    ):
        if value < 1:
            raise ValueError(f"{what}: {value}; expected at least 1")
    first = config.seed + iteration * config.episodes
    for seed in (first, first + config.episodes - 1):
        require_seed(seed)
    return [
        PracticePlan(
            str(config.out), config.game, config.task, first + number, steps, config.size,
            config.out / "played" / f"{iteration:05d}-{number:03d}.npz",
        )
        for number in range(config.episodes)
    ]  # fmt: skip


class FineTuning:
    """A run in a folder; constructing it again in the same folder resumes it."""

    def __init__(self, config: FinetuneRlConfig) -> None:
        for iteration in (0, config.iterations - 1):
            practice(config, iteration)  # raises for what cannot be played
        self.config, phasic = config, phasic_of(config)
        self.learner = PhasicLearner(prior_of(config), phasic, pick_device(config.device))
        config.out.mkdir(parents=True, exist_ok=True)
        play = {
            name: str(getattr(config, name))
            for name in ("start", "task", "game", "episodes", "seconds", "temperature", "size", "seed")
        }
        if begin_or_resume(config.out, {"play": play, "learning": phasic.to_dict()}):
            state = torch.load(config.out / "resume.pt", map_location=self.learner.device, weights_only=True)
            self.learner.resume(state, self._since_sleep(int(state["iteration"]), phasic.sleep_every))
        else:
            shutil.rmtree(config.out / "played", ignore_errors=True)
        (config.out / "played").mkdir(exist_ok=True)
        save_policy(config.out, self.learner.policy)

    def _since_sleep(self, iteration: int, every: int) -> list[Played]:
        begun = iteration - iteration % every if every else iteration
        return [
            Played.load(path)
            for before in range(begun, iteration)
            for path in sorted((self.config.out / "played").glob(f"{before:05d}-*.npz"))
        ]

    def iterate(self, bar: Bar) -> dict[str, float]:
        """Play and learn once; what a stop would need is on disk after it."""
        number = self.learner.iteration
        episodes = practise_all(practice(self.config, number), self.config.workers, bar.advance, bar.skip)
        sleeps = self.learner.sleeps_next
        bar.note(f"learning of {len(episodes)} episodes")
        metrics: dict[str, Any] = {"iteration": number, **self.learner.learn(episodes)}
        save_policy(self.config.out, self.learner.policy)
        save_state(self.config.out / "resume.pt", self.learner.state())
        with (self.config.out / "metrics.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({name: round(value, 6) for name, value in metrics.items()}) + "\n")
        with atomic_path(self.config.out / "reward.png") as part:
            part.write_bytes(picture(self.course(), tasks_of(self.config.game)[self.config.task].unit))
        if sleeps or not self.learner.config.sleep_every:
            for path in (self.config.out / "played").glob("*.npz"):
                path.unlink()
        return metrics

    def course(self) -> list[dict[str, float]]:
        """What each iteration logged."""
        lines = (self.config.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def picture(rows: list[dict[str, float]], unit: str) -> bytes:
    """Reward with its standard error, and divergence from the prior, by iteration."""
    with figure(6, 4.5, rows=2) as (canvas, (upper, lower)):
        numbers = [row["iteration"] for row in rows]
        reward, error = ([row[name] for row in rows] for name in ("reward", "reward_error"))
        upper.errorbar(numbers, reward, error, fmt="o-", color=BLUE, capsize=2)
        upper.set(ylabel=f"{unit}, mean of episodes", ylim=(0, None))
        lower.plot(numbers, [row["divergence"] for row in rows], "o-", color=ORANGE)
        lower.set(ylabel="nats a frame from the prior", xlabel="iteration", ylim=(0, None))
        return png(canvas)


def main(config: FinetuneRlConfig) -> int:
    run = FineTuning(config)
    learner, steps = run.learner, round(config.seconds * TICK_RATE) * config.episodes
    if learner.iteration:
        say(f"resuming at iteration {learner.iteration}")
    with progress_bar(f"playing {config.task}, and learning of it", config.iterations * steps, "frames") as bar:
        bar.skip(min(learner.iteration, config.iterations) * steps)
        while learner.iteration < config.iterations:
            metrics = run.iterate(bar)
            bar.note(f"reward {metrics['reward']:.2f}, {metrics['divergence']:.2f} nats from the prior")
    first, last = (f"{row['reward']:.2f} (± {row['reward_error']:.2f})" for row in (run.course()[0], run.course()[-1]))
    say(
        f"mean reward of an episode: {first} in the first iteration, {last} in the last; "
        f"its course: {config.out / 'reward.png'}"
    )
    say(f"policy in {config.out}. Is it better? vpt evaluate {config.out} {config.start} --task {config.task}")
    return 0
