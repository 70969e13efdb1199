"""Who plays: a trained policy, the scripted player, or chance; all by one protocol, so that a rollout knows no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from data.actions import Action
from data.joint_actions import BUTTON_CHOICES, JointActions
from prior.text.locate import is_follower
from vpt_pipeline.envs import MINERL
from vpt_pipeline.players import STYLES, player_of


class Agent(Protocol):
    """observation: the env's, with ``pov`` (uint8 (H, W, 3), RGB), and with ``truth``, the game's own, which only the
    scripted player looks at."""

    def reset(self, observation: Mapping[str, Any]) -> None:
        """An episode begins."""

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing this."""


@runtime_checkable
class TellingAgent(Agent, Protocol):
    """An agent that can tell of each action where it has it from."""

    def told(self) -> dict[str, Any]:
        """Of the latest action, as a line of a log."""


class RandomAgent:
    """Any joint action, each as likely as any other, anew in every frame: what an untrained policy does."""

    def __init__(self, seed: int) -> None:
        self._seed, self._actions = seed, JointActions()

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._dice = np.random.default_rng(self._seed)

    def act(self, observation: Mapping[str, Any]) -> Action:
        buttons, camera = self._dice.integers(BUTTON_CHOICES), self._dice.integers(self._actions.camera_choices)
        return self._actions.to_track(buttons, camera).action(0)


class ScriptedAgent:
    """The scripted player, which is told the truth."""

    def __init__(self, env: gymnasium.Env[Any, Any], game: str, task: str, style: str, seed: int) -> None:
        self._player = player_of(game)(env, task, style, seed)  # type: ignore[arg-type]

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._player.reset(observation["truth"])

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._player.act(observation["truth"])


@dataclass(frozen=True)
class Acting:
    """Of policies: how they choose among what they find likely."""

    temperature: float = 1.0
    """Below 1 they act more greedily."""
    min_p: float = 0.001
    """They never draw an action less likely than this share of the likeliest; 0: as published."""
    deterministic: bool = False
    """They take the likeliest action."""
    guidance: float = 3.0
    """How much those that follow texts exaggerate what the text changes; 0: not at all. The paper takes 6."""

    @property
    def drawing(self) -> dict[str, Any]:
        """What every policy's agent takes of it."""
        return {"temperature": self.temperature, "min_p": self.min_p, "deterministic": self.deterministic}


class PriorAgent:
    """A policy of `vpt train-prior`, or a published one."""

    def __init__(self, source: str, seed: int, how: Acting) -> None:
        from prior.agent import PolicyAgent
        from prior.checkpoint import from_pretrained

        policy = from_pretrained(source)
        self._agent = PolicyAgent(policy, seed=seed, **how.drawing)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)


class TextAgent:
    """A policy of `vpt train-text`, asked for something in words; the empty text asks for nothing."""

    def __init__(self, folder: Path, text: str, seed: int, how: Acting) -> None:
        from prior.text.agent import GuidedAgent
        from prior.text.follower import load_follower

        follower = load_follower(folder)
        self._agent = GuidedAgent(follower.policy, scale=how.guidance if text else 0.0, seed=seed, **how.drawing)
        self._agent.set_goal(follower.goal_of_text(text) if text else None)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)


def split_text(source: str) -> tuple[Path, str] | None:
    """FOLDER or FOLDER:TEXT -> both, where FOLDER is one of `vpt train-text`; None where it is not."""
    if is_follower(Path(source)):
        return Path(source), ""
    folder, _, text = source.partition(":")
    return (Path(folder), text.strip()) if text.strip() and is_follower(Path(folder)) else None


class DemoAgent:
    """The search agent with a set of `vpt index`. source: SET, or SET:TAG,TAG to copy only demonstrations with these tags."""

    def __init__(self, source: str) -> None:
        from search_agent.session import open_agent

        folder, tags = split_tags(source)
        self._agent = open_agent(folder, tags)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)

    def told(self) -> dict[str, Any]:
        from search_agent.agent import describe

        assert self._agent.step is not None  # asked after an action
        return describe(self._agent.step, self._agent.demos)


class ZipDemoAgent:
    """The same sets by ZIP's published rules, whose limits suit latents of VPT's foundation-model-1x."""

    def __init__(self, source: str) -> None:
        from search_agent.demos import DemoSet
        from search_agent.zip_agent import ZipAgent

        folder, tags = split_tags(source)
        self._agent = ZipAgent(DemoSet(folder), tags=tags)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)


ZIP = "zip_2022:"
"""Before a set: play it by ZIP's published rules."""


def split_tags(source: str) -> tuple[Path, list[str]]:
    """A set's folder and the tags behind it."""
    if Path(source).is_dir() or ":" not in source:
        return Path(source), []
    folder, _, tags = source.rpartition(":")
    return Path(folder), [tag for tag in tags.split(",") if tag]


def is_set(source: str) -> bool:
    """Whether it names a set of demonstrations, by whichever rules."""
    return (split_tags(source.removeprefix(ZIP))[0] / "set.json").is_file()


def make_agent(
    name: str,
    env: gymnasium.Env[Any, Any],
    game: str,
    task: str,
    seed: int,
    how: Acting = Acting(),
) -> Agent:
    """``random``, ``scripted`` or ``scripted:STYLE``, a policy (a folder or file), one that follows texts
    (FOLDER:TEXT; FOLDER alone is asked for nothing), or a set of demonstrations (SET or SET:TAG,
    with ``zip_2022:`` before it by the published rules).

    Raises ValueError for anything else.
    """
    kind, _, style = name.partition(":")
    if kind == "random":
        return RandomAgent(seed)
    if kind == "scripted":
        if game.startswith(MINERL):
            raise ValueError(
                f"agent {name!r}: the scripted players know no Minecraft; expected random, a policy or a set"
            )
        style = style or "steady"
        if style not in STYLES:
            raise ValueError(f"agent {name!r}: there is no player {style!r}; expected one of {', '.join(STYLES)}")
        return ScriptedAgent(env, game, task, style, seed)
    if is_set(name):
        return ZipDemoAgent(name.removeprefix(ZIP)) if name.startswith(ZIP) else DemoAgent(name)
    if (asked := split_text(name)) is not None:
        return TextAgent(*asked, seed, how)
    return PriorAgent(name, seed, how)
