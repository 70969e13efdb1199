"""How a game's events are said in words: things by their names in the game, deeds, and sentences around them.

Names are those of Luanti and Minecraft: what is before the colon does not count, and a thing that is not listed is called by
its name. All tables are from the plainest word to the rarer ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from prior.text.embedding.doings import Doing

Words = tuple[str, ...]

_THINGS: tuple[tuple[str, str, Words, Words], ...] = (
    # part of the name, what it is, words while it stands, words once it is held
    ("leaves", "leaves", ("leaves", "the leaves of a tree", "foliage"), ("leaves", "some leaves")),
    ("needles", "leaves", ("leaves", "pine needles", "foliage"), ("leaves", "needles")),
    ("sapling", "sapling", ("a sapling",), ("a sapling", "a young tree")),
    ("tree", "tree", ("a tree", "a tree trunk", "wood", "trees", "a log"), ("logs", "wood", "a log", "tree logs")),
    ("_log", "tree", ("a tree", "a tree trunk", "wood", "trees", "a log"), ("logs", "wood", "a log", "tree logs")),
    ("grass_block", "dirt", ("dirt", "grassy ground", "earth"), ("dirt", "a block of dirt")),
    ("dirt", "dirt", ("dirt", "the ground", "earth", "soil"), ("dirt", "earth", "a block of dirt")),
    ("seed", "seeds", ("seeds",), ("seeds", "grass seeds", "some seeds")),
    ("grass", "grass", ("grass", "tall grass", "the grass"), ("grass", "a tuft of grass")),
    ("fern", "grass", ("a fern", "ferns", "plants"), ("a fern", "a plant")),
    ("mushroom", "mushroom", ("a mushroom", "mushrooms"), ("a mushroom", "mushrooms")),
    ("flowers:", "flower", ("a flower", "flowers", "a blossom"), ("a flower", "flowers")),
    ("cobble", "cobble", ("cobblestone", "stone blocks"), ("cobblestone", "stones")),
    ("stone", "stone", ("stone", "rock", "a stone block"), ("stone", "rock")),
    ("sand", "sand", ("sand", "sandy ground"), ("sand", "a block of sand")),
    ("bread", "food", ("bread", "food"), ("food", "bread", "meat")),
    ("apple", "food", ("an apple", "food"), ("an apple", "food")),
    ("pig", "pig", ("a pig", "an animal", "the pig"), ("a pig",)),
    ("torch", "torch", ("a torch", "torches"), ("a torch",)),
    ("brick", "block", ("a brick block", "bricks", "a block"), ("bricks",)),
    ("wool", "block", ("a wool block", "wool", "a block"), ("wool",)),
    ("wood", "block", ("a wooden block", "planks", "a block"), ("planks", "wood")),
)

_DEEDS: dict[tuple[str, str], Words] = {
    ("dig", "tree"): ("chop down", "chop", "cut down", "cut", "fell"),
    ("dig", "dirt"): ("dig", "dig up", "shovel"),
    ("dig", "sand"): ("dig", "dig up", "shovel"),
    ("dig", "grass"): ("cut", "break", "mow"),
    ("dig", "flower"): ("pick", "pluck", "break"),
    ("dig", "mushroom"): ("pick", "pluck"),
    ("dig", "leaves"): ("break", "clear", "cut"),
    ("dig", "stone"): ("mine", "break", "dig into"),
    ("dig", "cobble"): ("mine", "break"),
    ("dig", ""): ("break", "dig up"),
    ("pickup", ""): ("collect", "pick up", "gather", "get"),
    ("place", ""): ("place", "put down", "build with"),
    ("hit", ""): ("hit", "attack", "hunt"),
    ("kill", ""): ("kill", "hunt down", "slay"),
    ("eat", ""): ("eat",),
    ("craft", ""): ("craft", "make"),
}

TASKS: dict[str, Words] = {
    "travel": ("travel as far as you can", "walk as far as possible", "run far away", "cross the land", "keep going"),
    "logs": ("chop down trees and collect the logs", "gather wood", "go and get some wood", "collect logs from trees"),
    "dirt": ("dig dirt and collect it", "get dirt", "dig a hole and gather dirt", "collect dirt blocks"),
    "seeds": ("cut grass and collect seeds", "get seeds", "break tall grass for seeds", "look for seeds in the grass"),
    "flowers": ("pick flowers", "collect flowers", "gather some flowers", "look for flowers"),
    "pillar": ("build a pillar under your feet", "stack blocks and climb up", "build a tower", "pillar up"),
    "hunt": ("hunt animals for food", "kill animals for meat", "go hunting", "get food from animals"),
    "explore": ("walk around and look at the surroundings", "explore", "look around", "see the land"),
}
"""The embedded game's tasks in other words. What a recording's own file says comes first."""

_SAY_NOTHING = ("freeplay", "logs", "dirt", "seeds", "flowers", "hunt")
"""Tasks whose words fit whatever is done, and those whose deeds are told when they are done: on the way to them, their words
would fit any walk."""

_MOVES: dict[str, Words] = {
    "walk": ("walking", "walking ahead", "going forward"),
    "run": ("running", "running ahead", "sprinting"),
    "hop": ("jumping along", "hopping ahead", "jumping forward"),
    "back": ("stepping back", "walking backwards", "backing off"),
    "left": ("sidestepping left", "stepping to the left"),
    "right": ("sidestepping right", "stepping to the right"),
    "stand": ("standing still", "not moving", "standing"),
}
_TURNS: dict[str, Words] = {
    "left": ("turning left", "looking to the left", "turning around to the left"),
    "right": ("turning right", "looking to the right", "turning around to the right"),
}
_VIEWS: dict[str, Words] = {
    "down": ("looking down", "looking at the ground", "the view down"),
    "up": ("looking up", "the view up", "looking upwards"),
    "ahead": ("looking ahead", "looking straight ahead", "the view ahead"),
}
_STRIKING: Words = ("striking", "attacking", "swinging")
_HOLDING: Words = ("with {it} in hand", "holding {it}", "{it} in hand")
_TOOLS = {
    "pick": "a pickaxe",
    "pickaxe": "a pickaxe",
    "axe": "an axe",
    "shovel": "a shovel",
    "sword": "a sword",
    "hoe": "a hoe",
}
_SIDES = {"left": "right", "right": "left"}
_SIDED = re.compile(r"\b(turn|turning|sidestepping|(?:to|on) (?:the|your|my)) (left|right)\b", re.IGNORECASE)

_SAID: Words = (
    "{do} {it}",
    "{doing} {it}",
    "the player is {doing} {it}",
    "someone {does} {it}",
    "a player {doing} {it}",
)
_SAID += (
    "go and {do} {it}",
    "now {do} {it}",
    "the player {does} {it}",
    "here somebody is {doing} {it}",
    "try to {do} {it}",
)
_TASK = ("{task}", "{task}", "the player was told: {task}", "please {task}", "the task is to {task}", "now {task}")

_DOUBLED = ("chop", "cut", "dig", "hit", "get", "put")


@lru_cache(maxsize=512)
def thing_of(name: str, held: bool = False) -> tuple[str, Words]:
    """What an item or a block of the game is, in one word, and the words for it. held: in the inventory."""
    for part, what, standing, taken in _THINGS:
        if part in name:
            return what, taken if held else standing
    plain = re.sub(r"[_\W]+", " ", re.sub(r"_?\d+$", "", name.rpartition(":")[2])).strip() or "something"
    return plain, (plain if plain.endswith("s") else f"a {plain}",)


def tell(deed: str, name: str, count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Sentences for a deed done to a thing, such as "dig" and "default:tree": up to ``count`` different ones, the first
    plain."""
    what, nouns = thing_of(name, held=deed == "pickup")
    verbs = _DEEDS.get((deed, what)) or _DEEDS.get((deed, "")) or (deed,)
    told = [f"{verbs[0]} {nouns[0]}"]
    for _ in range(4 * count):
        verb, noun, frame = _one(verbs, rng), _one(nouns, rng), _one(_SAID, rng)
        text = frame.format(do=verb, doing=gerund(verb), does=third_person(verb), it=noun)
        if text not in told and len(told) < count:
            told.append(text)
    return tuple(told[:count])


def tell_task(name: str, text: str, count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Sentences for a task: what its recording says of it, then other words. () for a task without any,
    and for one whose words fit whatever is done."""
    if name in _SAY_NOTHING:
        return ()
    ways = tuple(dict.fromkeys(way for way in (text.strip(), *TASKS.get(name, ())) if way))
    told = list(ways[:1])
    for _ in range(4 * count if ways else 0):
        said = _one(_TASK, rng).format(task=_one(ways, rng))
        if said not in told and len(told) < count:
            told.append(said)
    return tuple(told[:count])


def tell_doing(doing: Doing, deed: str, rng: np.random.Generator | None = None) -> tuple[str, ...]:
    """What is done and seen, a phrase each, the plainest words or with ``rng`` some: how one moves, turns, strikes (where no
    ``deed`` tells of that), where one looks, and what is in the hand."""

    def said(words: Words) -> str:
        return words[0] if rng is None else _one(words, rng)

    told = [said(words[key]) for words, key in ((_MOVES, doing.move), (_TURNS, doing.turn)) if key in words]
    if doing.strikes and not deed:
        told.append(said(_STRIKING))
    if doing.view in _VIEWS:
        told.append(said(_VIEWS[doing.view]))
    if doing.holds:
        told.append(said(_HOLDING).format(it=_tool(doing.holds)))
    return tuple(told)


def mirrored(text: str) -> str:
    """What a text says of the mirrored picture: left is right, where a side is meant ("right now" stays)."""
    return _SIDED.sub(lambda found: f"{found[1]} {_SIDES[found[2]]}", text)


def _tool(name: str) -> str:
    parts = name.rpartition(":")[2].split("_")
    return next((_TOOLS[part] for part in parts if part in _TOOLS), None) or thing_of(name)[1][0]


def gerund(verb: str) -> str:
    """ "chop down" -> "chopping down"."""
    word, space, rest = verb.partition(" ")
    if word in _DOUBLED:
        word += word[-1]
    elif word.endswith("e"):
        word = word[:-1]
    return f"{word}ing{space}{rest}"


def third_person(verb: str) -> str:
    """ "chop down" -> "chops down"."""
    word, space, rest = verb.partition(" ")
    return f"{word}{'es' if word.endswith(('s', 'sh', 'ch', 'x')) else 's'}{space}{rest}"


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
