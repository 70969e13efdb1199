"""Who plays: a trained policy, the scripted player, or chance; all by one protocol, so that a rollout knows no other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data.actions import Action
from data.joint_actions import BUTTON_CHOICES, JointActions
from data.resample import TICK_RATE
from prior.text.locate import is_follower
from vpt_pipeline.envs import MINERL
from vpt_pipeline.players import STYLES, player_of
from vpt_pipeline.prompts import TEXT, VIDEO, AskedAgent, split_clip, split_schedule
from vpt_pipeline.rollout_models import Models

if TYPE_CHECKING:
    from search_agent.demos import DemoSet
    from search_agent.wishes import TextWishes


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

    @property
    def slipped(self) -> bool:
        """Whether the last action was a slip of the hand, which nobody should copy."""
        return self._player.slipped


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

    def __init__(self, source: str, seed: int, how: Acting, models: Models) -> None:
        from prior.agent import PolicyAgent

        policy = models.policy(source)
        self._agent = PolicyAgent(policy, seed=seed, **how.drawing)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)


class TextAgent(AskedAgent):
    """A policy of `vpt train-text`: asked for something in words, or by a moment of a video."""

    def __init__(self, source: str, seed: int, how: Acting, models: Models) -> None:
        from prior.text.agent import GuidedAgent

        name, then = split_schedule(source)
        asked = split_text(name)
        assert asked is not None
        self._follower = models.follower(asked[0])
        self._agent = GuidedAgent(self._follower.policy, scale=how.guidance, seed=seed, **how.drawing)
        super().__init__(self._agent, asked[1], then)

    def _meaning(self, wish: str) -> NDArray[np.float32] | None:
        if wish.startswith(VIDEO):
            return self._follower.goal_of_clip(*split_clip(wish))
        return self._follower.goal_of_text(wish.removeprefix(TEXT)) if wish else None

    def _heed(self, meaning: NDArray[np.float32] | None) -> None:
        self._agent.set_goal(meaning)


def split_text(source: str) -> tuple[Path, str] | None:
    """FOLDER or FOLDER:TEXT -> both, where FOLDER is one of `vpt train-text`; None where it is not. What is asked for later
    on is left out. Raises ValueError where a text of nothing is given."""
    source = split_schedule(source)[0]
    if is_follower(Path(source)):
        return Path(source), ""
    folder, _, text = source.partition(":")
    if not is_follower(Path(folder)):
        return None
    if not text.strip():
        raise ValueError(
            f"{source!r}: the text after the colon is empty; expected what is to be done, such as {folder}:'chop down a tree', "
            f"or {folder} alone, which is asked for nothing"
        )
    return Path(folder), text.strip()


class DemoAgent(AskedAgent):
    """The search agent with a set of `vpt index`: asked for demonstrations by tags, or for something in words or by a moment of
    a video, which it then seeks among the demonstrations that it copies."""

    def __init__(self, source: str, models: Models) -> None:
        from search_agent.session import SearchAgent

        demos, tags = open_set(source, models)
        self._agent = SearchAgent(demos, models.encoder(demos), tags)
        self._space: TextWishes | None = None
        super().__init__(self._agent, ",".join(tags), split_schedule(source)[1])

    def _meaning(self, wish: str) -> list[str] | NDArray[np.float32]:
        from search_agent.wishes import TextWishes

        if not wish.startswith((TEXT, VIDEO)):
            tags = tags_of(wish)
            self._agent.require(tags)
            return tags
        self._space = self._space or TextWishes(self._agent.set)
        if wish.startswith(TEXT):
            return self._space.wish(wish.removeprefix(TEXT))
        return self._space.wish_of_clip(*split_clip(wish))

    def _heed(self, meaning: list[str] | NDArray[np.float32]) -> None:
        if isinstance(meaning, list):
            self._agent.choose(meaning)
        else:
            self._agent.want(meaning)

    def told(self) -> dict[str, Any]:
        return self._agent.told()


class ZipDemoAgent:
    """The same sets by ZIP's published rules, whose limits suit latents of VPT's foundation-model-1x."""

    def __init__(self, source: str, models: Models) -> None:
        from search_agent.zip_agent import ZipAgent

        if split_schedule(source)[1]:
            raise ValueError(
                f"agent {ZIP}{source}: by the published rules it plays the same demonstrations to the end; leave out what is "
                "asked for later, or play it by our own rules"
            )
        demos, tags = open_set(source, models)
        self._agent = ZipAgent(demos, models.encoder(demos), tags)

    def reset(self, observation: Mapping[str, Any]) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        return self._agent.act(observation)


class TsDemoAgent(AskedAgent):
    """Sets with embeddings by TS-BC's published rules: asked from the start, in words or by a moment of a video."""

    def __init__(self, source: str, seed: int, models: Models) -> None:
        from search_agent.ts_agent import TsAgent
        from search_agent.wishes import TextWishes

        then = split_schedule(source)[1]
        if not then or then[0].frame:
            raise ValueError(
                f"agent {TS}{source}: by TS-BC's rules it searches towards a goal; ask it for something from the start, such "
                f"as --text 'chop down a tree', or {TS}{source}; 0: chop down a tree"
            )
        self._seed = seed
        demos, tags = open_set(source, models)
        self._agent = TsAgent(demos, models.encoder(demos), tags)
        self._space = TextWishes(demos)
        super().__init__(self._agent, then[0].wish, then[1:])

    def _meaning(self, wish: str) -> NDArray[np.float32]:
        if wish.startswith(VIDEO):
            return self._space.wish_of_clip(*split_clip(wish))
        return self._space.wish(wish.removeprefix(TEXT), self._seed)

    def _heed(self, meaning: NDArray[np.float32]) -> None:
        self._agent.want(meaning)


ZIP, TS = "zip_2022:", "ts_bc_2024:"
"""Before a set: play it by the published rules of ZIP, or of TS-BC."""


def set_of(source: str) -> str:
    """A set's name, with its tags and what is asked for, without the rules that it is played by."""
    return source.removeprefix(ZIP).removeprefix(TS)


def split_tags(source: str) -> tuple[Path, list[str]]:
    """A set's folder and the tags behind it; what is asked for later on is left out."""
    source = split_schedule(source)[0]
    if ":" not in source or _there(Path.is_dir, Path(source)):
        return Path(source), []
    folder, _, tags = source.rpartition(":")
    return Path(folder), tags_of(tags)


def open_set(source: str, models: Models) -> tuple[DemoSet, list[str]]:
    """A set, told of what of it cannot be used, and the tags behind its name."""
    from search_agent.demos import DemoSet

    folder, tags = split_tags(source)
    demos = DemoSet(folder)
    models.tell(demos.read().problems)
    return demos, tags


def tags_of(text: str) -> list[str]:
    """``logs, dirt`` -> both."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def is_set(source: str) -> bool:
    """Whether it names a set of demonstrations, by whichever rules."""
    return _there(Path.is_file, split_tags(set_of(source))[0] / "set.json")


def _there(check: Callable[[Path], bool], path: Path) -> bool:
    """A check of a path; False also where a long text is no name of a file."""
    with suppress(OSError):
        return check(path)
    return False


def can_be_asked(name: str) -> bool:
    """Whether it names an agent that can be asked for something."""
    return not name.startswith(ZIP) and (is_set(name) or split_text(name) is not None)


LONGEST_LABEL = 60
"""Characters: files have names of at most 255 bytes."""


def label_of(name: str) -> str:
    """A short name for tables and files: the end of the path, and what is asked for."""
    head, then = split_schedule(name)
    folder, _, wish = head.partition(":") if split_text(head) else (head, "", "")
    parts = ["-".join(part for part in Path(folder).parts[-2:] if part not in ("/", "runs")), wish]
    parts += [f"{one.frame / TICK_RATE:g}s {one.wish}" for one in then]
    label = re.sub(r"[:/\\\s]+", lambda found: " " if found[0].isspace() else "-", "-".join(filter(None, parts)))
    if len(label) <= LONGEST_LABEL:
        return label
    return f"{label[:LONGEST_LABEL]}~{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def require_agent(agent: str, game: str) -> None:
    """Raises ValueError for a name that names no agent, before anything is begun."""
    if agent.partition(":")[0] == "scripted" and game.startswith(MINERL):
        raise ValueError(f"agent {agent!r}: the scripted players know no Minecraft; expected random, a policy or a set")
    if agent.partition(":")[0] in ("random", "scripted") or is_set(agent) or split_text(agent):
        return
    from prior.locate import find_model

    find_model(agent)


def make_agent(
    name: str,
    env: gymnasium.Env[Any, Any],
    game: str,
    task: str,
    seed: int,
    how: Acting = Acting(),
    models: Models | None = None,
) -> Agent:
    """``random``, ``scripted`` or ``scripted:STYLE``, a policy (a folder or file), one that follows texts
    (FOLDER:TEXT; FOLDER alone is asked for nothing), or a set of demonstrations (SET or SET:TAG,
    with ``zip_2022:`` or ``ts_bc_2024:`` before it by the published rules). What is asked for later on may follow:
    ``...; 20: dig dirt``.

    models: what was loaded for agents before, where several play in turn. Raises ValueError for anything else.
    """
    kind, _, style = name.partition(":")
    models = models or Models()
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
        if name.startswith(TS):
            return TsDemoAgent(set_of(name), seed, models)
        return ZipDemoAgent(set_of(name), models) if name.startswith(ZIP) else DemoAgent(name, models)
    if split_text(name) is not None:
        return TextAgent(name, seed, how, models)
    return PriorAgent(name, seed, how, models)
