"""The demo's agents, all made of labelled video: behavioural priors, one that copies, and one that is asked in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prior.episodes import Nulls
from vpt_pipeline.evaluate import EvaluateConfig, plans_of, play_all
from vpt_pipeline.index import IndexConfig, index
from vpt_pipeline.play import inspected, videos_of
from vpt_pipeline.rollout import Rollout, RolloutPlan
from vpt_pipeline.train_clip import TrainClipConfig
from vpt_pipeline.train_clip import train as train_clip
from vpt_pipeline.train_prior import TrainPriorConfig
from vpt_pipeline.train_prior import train as train_prior
from vpt_pipeline.train_text import TrainTextConfig, train_text

if TYPE_CHECKING:
    from vpt_pipeline.demo import DemoConfig

LABELLED, TRUE = "prior", "prior_on_true_actions"
"""Folders of the two priors."""
SET, CLIP, TEXT = "demonstrations", "clip", "text"
"""... of the set of demonstrations, and of what follows texts."""
PRIOR_SHARE = 0.04
"""Of the budget, for training each of the two priors."""
TEXT_SHARE = 0.04
"""... for each of the embedding of texts and clips, and the policy that follows texts."""
ROLLOUTS, ROLLOUT_SECONDS = 3, 20.0
"""How many episodes each prior plays, and how long they are."""
QUICK_SECONDS = 3.0
ASKED = ("chop down a tree", "dig dirt", "pick flowers", "travel as far as you can")
ASKED_SECONDS = 15.0


@dataclass(frozen=True)
class Plays:
    """What the agents did. priors: the episodes of both, and of chance; copied: of the one that copies, and the video that
    shows what; asked: an episode a text, from the same start."""

    priors: Sequence[Rollout]
    copied: Rollout
    copied_view: Path | None
    asked: Sequence[Rollout]


def clone(config: DemoConfig, minutes: float) -> None:
    """Train a prior on the labelled video, and another on the actions that were hidden, ``minutes`` each."""
    out = config.out
    for source in (
        TrainPriorConfig((out / "hidden" / "videos",), labels=(out / "hidden" / "labels",), out=out / LABELLED),
        TrainPriorConfig((out / "play" / "held_out",), out=out / TRUE),
    ):
        prior = dataclasses.replace(
            source, preset=config.prior, minutes=minutes, batch=8, learning_rate=1e-3,
            average=0.99, hold_back=0.25, nulls=_nulls(config), cache=out / "cache", device=config.device, seed=config.seed,
        )  # fmt: skip
        train_prior(prior)


def demonstrate(config: DemoConfig) -> None:
    """The labelled video once more, as demonstrations to copy."""
    out = config.out
    videos, labels, model = out / "hidden" / "videos", out / "hidden" / "labels", str(out / LABELLED)
    index(
        IndexConfig(
            (videos,),
            out / SET,
            model,
            labels=labels,
            keep_nulls=_nulls(config) == "keep",
            cache=out / "cache",
            device=config.device,
        )
    )


def teach_texts(config: DemoConfig, minutes: float) -> None:
    """Texts and clips of the training play into one space, and the prior to follow goals of it, ``minutes`` each."""
    out, cache = config.out, config.out / "cache"
    train_clip(
        TrainClipConfig(
            (out / "play" / "train",), out=out / CLIP, preset=config.clip, trunk=str(out / LABELLED), minutes=minutes,
            cache=cache, device=config.device, seed=config.seed,
        )
    )  # fmt: skip
    train_text(
        TrainTextConfig(
            (out / "hidden" / "videos",), str(out / LABELLED), str(out / CLIP), labels=(out / "hidden" / "labels",),
            pairs=(out / CLIP / "pairs.jsonl",), out=out / TEXT, minutes=minutes, batch=8, learning_rate=5e-4, average=0.99,
            hold_back=0.25, nulls=_nulls(config), goal_prior_epochs=20, cache=cache, device=config.device, seed=config.seed,
        )
    )  # fmt: skip


def play(config: DemoConfig, game: str) -> Plays:
    """All of them, the priors beside chance."""
    out, episodes = config.out, 1 if config.quick else ROLLOUTS
    priors = _plans(config, game, (str(out / LABELLED), str(out / TRUE), "random"), episodes, ROLLOUT_SECONDS)
    copying = _plans(config, game, (str(out / SET),), 1, ROLLOUT_SECONDS)
    texts = tuple(f"{out / TEXT}:{text}" for text in ASKED) if (out / TEXT).is_dir() else ()
    asked = _plans(config, game, texts, 1, ASKED_SECONDS)
    rollouts = play_all([*priors, *copying, *asked], out / "rollouts" / "episodes.jsonl", config.workers)
    copied, view = rollouts[len(priors)], None
    if copied.video is not None:
        view = inspected(copied.agent, Path(copied.video), copied.frames, videos_of(copied.agent))
    told = [one for one in rollouts[len(priors) + 1 :] if one.video is not None]
    return Plays(rollouts[: len(priors)], copied, view, told)


def _nulls(config: DemoConfig) -> Nulls:
    """An inverse dynamics model that learnt for seconds may find no key pressed at all; there is to be something to clone."""
    return "keep" if config.quick else "drop"


def _plans(
    config: DemoConfig, game: str, agents: tuple[str, ...], episodes: int, seconds: float
) -> Sequence[RolloutPlan]:
    asked = EvaluateConfig(
        agents, ("freeplay",), episodes, QUICK_SECONDS if config.quick else seconds, videos=1, out=config.out / "rollouts",
        size=config.size, game=game,
    )  # fmt: skip
    return plans_of(asked)
