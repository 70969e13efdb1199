"""Let agents play the embedded game's tasks and judge them: means with bootstrap intervals, success rates, videos.

    vpt evaluate runs/prior random scripted --task travel logs dirt --episodes 30
    vpt evaluate runs/prior random --task freeplay --seconds 60     # all tasks' measures of the same episodes
    vpt evaluate MODEL random --env minerl:MineRLHumanSurvival-v0   # in Minecraft (docs/minerl.md)
    vpt evaluate MODEL random --env minerl:MineRLHumanSurvival-v0 --biome forest --inventory "iron_axe 1"
    vpt evaluate MODEL random --workers 16 --cluster auto           # games all over a Ray cluster (docs/cluster.md)

Every agent begins at the same places with the same things in hand. A game that dies is started again; an episode that cannot be
run counts as that, not as zero. Finished episodes are kept in OUT/episodes.jsonl, so the same command again goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from data.files import write_json_atomic
from data.names import require_name
from vpt_pipeline.agents import Acting, label_of, require_agent
from vpt_pipeline.envs import MINERL, native_size, require_game
from vpt_pipeline.processes import Tell, Watch, run_in_turn
from vpt_pipeline.progress import Tally, console, progress_bar, say
from vpt_pipeline.recorder import TICK_RATE
from vpt_pipeline.rollout import ATTEMPTS, Rollout, RolloutPlan, Stage, alike, failed, roll_out
from vpt_pipeline.tasks import EVALUATION_SEEDS, default_tasks, tasks_of
from vpt_pipeline.worlds import World, world_of

DRAWS = 10_000


@dataclass(frozen=True)
class ClusterPlay:
    """With --cluster:"""

    cpus: float = 1
    """CPUs that each game takes, with the agent that plays it."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `vpt evaluate`."""

    agents: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Who plays: policies (folders of `vpt train-prior`, published NAME.model), sets of demonstrations (`vpt index`; SET:TAG
    for a part of one), random, scripted or scripted:STYLE."""
    task: tuple[str, ...] = ()
    """What is played; default: all tasks of the game that it measures itself. In freeplay nothing is asked, and the
    measures of all tasks are told: the way to judge priors."""
    episodes: int = 10
    """Of each task by each agent."""
    seconds: float | None = None
    """Length of an episode; default: the task's own."""
    videos: int = 1
    """Of so many episodes of each, a video is written."""
    out: Path = Path("runs/evaluation")
    """Where episodes.jsonl, summary.json, table.md and videos/ go."""
    size: tuple[int, int] | None = None
    """Width and height of the frames; default: 320 180, in MineRL 640 360."""
    game: Annotated[str, tyro.conf.arg(aliases=["--env"])] = "luanti"
    """luanti, or minerl:NAME for an environment of MineRL."""
    workers: int = 2
    """Games at the same time."""
    acting: tyro.conf.OmitArgPrefixes[Acting] = field(default_factory=Acting)
    cluster: str | None = None
    """Play on a Ray cluster: local (this machine), auto (the cluster this machine belongs to) or HOST:PORT of its head. Agents
    must be where every node sees them; videos come back to OUT here."""
    on: tyro.conf.OmitArgPrefixes[ClusterPlay] = field(default_factory=ClusterPlay)
    world: tyro.conf.OmitArgPrefixes[World] = field(default_factory=World)


@dataclass(frozen=True)
class Score:
    """An agent at a task. measure: the task whose measure; mean and interval (95 %, percentile bootstrap over episodes): of
    the episodes that ran; success: share of them that reached the goal; failed: episodes that did not run."""

    agent: str
    task: str
    measure: str
    unit: str
    episodes: int
    failed: int
    mean: float | None
    interval: tuple[float, float] | None
    success: float | None


def bootstrap(results: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of episodes (percentiles); None for fewer than two."""
    if len(results) < 2:
        return None
    dice = np.random.default_rng(0)
    means = results[dice.integers(len(results), size=(DRAWS, len(results)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def score(rollouts: Sequence[Rollout], measure: str | None = None, game: str = "luanti") -> Score:
    """Of the episodes of one agent at one task, by the task's own measure or another task's."""
    first = rollouts[0]
    measure = measure or first.task
    task = tasks_of(game)[measure]
    results = np.array([r.measures[measure] for r in rollouts if r.measures is not None], float)
    return Score(
        first.agent,
        first.task,
        measure,
        task.unit,
        len(results),
        len(rollouts) - len(results),
        float(results.mean()) if len(results) else None,
        bootstrap(results),
        float((results >= task.goal).mean()) if task.goal and len(results) else None,
    )


def scores_of(rollouts: Sequence[Rollout], game: str = "luanti") -> list[Score]:
    """Of each agent at each task."""
    pairs = dict.fromkeys((r.task, r.agent) for r in rollouts)
    groups = [[r for r in rollouts if (r.task, r.agent) == pair] for pair in pairs]
    tasks = tasks_of(game)
    return [score(group, measure, game) for group in groups for measure in tasks[group[0].task].shown]


def plans_of(config: EvaluateConfig) -> list[RolloutPlan]:
    """Every episode that a config asks for. Raises ValueError for unknown tasks and agents."""
    if config.cluster is None or not config.game.startswith(MINERL):  # where Minecraft is, each machine knows by itself
        require_game(config.game)
    config.world.require(config.game)
    tasks, wanted = tasks_of(config.game), config.task or default_tasks(config.game)
    for task in wanted:
        require_name("task", task, tasks)
    for agent in config.agents:
        require_agent(agent, config.game)
    if config.episodes < 1 or config.workers < 1:
        raise ValueError(f"episodes is {config.episodes} and workers {config.workers}; expected at least 1 of each")
    plans = []
    for number in range(config.episodes):
        for task in wanted:
            for agent in config.agents:
                video = None
                if number < config.videos:
                    video = config.out / "videos" / f"{label_of(agent)}-{task}-{number}.mp4"
                seconds = config.seconds or tasks[task].seconds
                plans.append(
                    RolloutPlan(
                        agent,
                        config.game,
                        task,
                        EVALUATION_SEEDS.start + number,
                        round(seconds * TICK_RATE),
                        config.size or native_size(config.game),
                        config.acting,
                        video,
                        world=config.world,
                    )
                )
    return plans


class _Books(Watch[RolloutPlan, Rollout]):
    """Writes down every episode as it ends, and tells the person of what goes wrong.

    kept: the file; advance: told of frames as they are played.
    """

    def __init__(self, kept: Path, advance: Callable[[int], None]) -> None:
        self._kept, self._tally = kept, Tally(advance)
        self.known = {_key(plan): rollout for plan, rollout in _read(kept)}

    def heard(self, plan: RolloutPlan, message: int) -> None:
        self._tally.at(plan, message)

    def done(self, plan: RolloutPlan, rollout: Rollout) -> None:
        if rollout.error:
            self._say(plan, rollout.error)
        self.known[_key(plan)] = rollout
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        with self._kept.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"plan": _plain(plan), "rollout": asdict(rollout)}) + "\n")
        self._tally.at(plan, plan.steps)  # one that ended early counts as done

    def died(self, plan: RolloutPlan, how: str) -> None:
        self._tally.at(plan, 0)
        self._say(plan, f"its process {how}; begun again")

    def lost(self, plan: RolloutPlan, how: str) -> Rollout:
        return failed(plan, f"as its process {how}")

    def _say(self, plan: RolloutPlan, what: str) -> None:
        say(f"[yellow]{escape(f'{label_of(plan.agent)}, {plan.task}, seed {plan.seed}: {what}')}[/yellow]")


def play_all(
    plans: Sequence[RolloutPlan],
    kept: Path,
    workers: int,
    title: str = "playing",
    cluster: str | None = None,
    on: ClusterPlay = ClusterPlay(),
) -> list[Rollout]:
    """The episodes of all plans, in order; those in the file ``kept`` are not played again, new ones are added to it.

    workers: processes that play one episode after another; with ``cluster``, the address of a Ray cluster, actors on it.
    title: of the progress bar.
    """
    with progress_bar(title, sum(plan.steps for plan in plans), "frames") as bar:
        books = _Books(kept, bar.advance)
        todo = [plan for plan in plans if _key(plan) not in books.known]
        bar.skip(sum(plan.steps for plan in plans if _key(plan) in books.known))
        if cluster is None:
            run_in_turn(_player, todo, workers, books, ATTEMPTS, alike)
        elif todo:
            try:
                from vpt_pipeline.rollout_cluster import ClusterGames, play_on_cluster
            except ModuleNotFoundError as error:
                raise ValueError(
                    f'--cluster {cluster}: the package {error.name} is missing: pip install "vpt-pipeline[cluster]"'
                ) from error
            play_on_cluster(todo, ClusterGames(cluster, workers, on.cpus), books, say)
    return [books.known[_key(plan)] for plan in plans]


@contextmanager
def _player() -> Iterator[Callable[[RolloutPlan, Tell], Rollout]]:
    with closing(Stage()) as stage:
        yield lambda plan, tell: roll_out(plan, tell, stage)


def _plain(plan: RolloutPlan) -> dict[str, object]:
    return json.loads(json.dumps(asdict(plan), default=str))  # type: ignore[no-any-return]


def _key(plan: RolloutPlan) -> str:
    asked = _plain(plan)
    del asked["video"], asked["threads"]
    return json.dumps(asked, sort_keys=True)


def _plan_of(row: dict[str, Any]) -> RolloutPlan:
    world = world_of(row["world"]) if "world" in row else World()  # before there were any, tasks alone said
    return RolloutPlan(**{**row, "size": tuple(row["size"]), "acting": Acting(**row["acting"]), "world": world})


def _read(kept: Path) -> list[tuple[RolloutPlan, Rollout]]:
    if not kept.exists():
        return []
    found = []
    for number, line in enumerate(kept.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            plan = _plan_of(row["plan"])
            rollout = Rollout(**row["rollout"])
        except (ValueError, KeyError, TypeError):
            say(f"[yellow]{kept}:{number}: no episode, played again (a run was stopped while it wrote)[/yellow]")
            continue
        if not rollout.error:  # what failed to run is tried again
            found.append((plan, rollout))
    return found


def table_of(scores: Sequence[Score]) -> list[list[str]]:
    """Rows of text: a heading, then a task a row, an agent a column."""
    agents = list(dict.fromkeys(s.agent for s in scores))
    rows = [["task", *map(label_of, agents)]]
    for task, measure, unit in dict.fromkeys((s.task, s.measure, s.unit) for s in scores):
        here = {s.agent: s for s in scores if (s.task, s.measure) == (task, measure)}
        name = task if task == measure else f"{task}: {measure}"
        rows.append([f"{name} ({unit})", *(_cell(here.get(agent)) for agent in agents)])
    return rows


def _cell(score: Score | None) -> str:
    if score is None or score.mean is None:
        return "failed to run"
    text = f"{score.mean:.2f}"
    if score.interval is not None:
        text += f" ({score.interval[0]:.2f} to {score.interval[1]:.2f})"
    if score.success is not None:
        text += f", {score.success:.0%}"
    return text + (f", {score.failed} failed to run" if score.failed else "")


def evaluate(config: EvaluateConfig) -> list[Score]:
    """Play what is not played yet, write the summary and return the scores."""
    rollouts = play_all(
        plans_of(config), config.out / "episodes.jsonl", config.workers, cluster=config.cluster, on=config.on
    )
    scores = scores_of(rollouts, config.game)
    write_json_atomic(config.out / "summary.json", [asdict(s) for s in scores])
    heading, *rows = table_of(scores)
    lines = ["| " + " | ".join(row) + " |" for row in (heading, ["---"] * len(heading), *rows)]
    (config.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return scores


def main(config: EvaluateConfig) -> int:
    """0 if every episode ran, 1 otherwise."""
    scores = evaluate(config)
    heading, *rows = table_of(scores)
    table = Table(*heading)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    say("mean (95 % interval over episodes), share of episodes that reached the goal")
    say(f"{config.out}/table.md, episodes.jsonl; videos in {config.out}/videos")
    return 1 if any(s.failed for s in scores) else 0
