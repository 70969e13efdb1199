"""An outdoor map for ViZDoom, another one for each seed: hills, ponds, houses, walled gardens, trees, things to collect.

One square of open ground under the sky, with rectangles cut out of it for everything that has a height of its own.
A garden's gate sinks when the player uses it, which is what makes the ``use`` key visible. The player starts in the
middle with nine weapons, one on each number key, endless ammunition and no harm from its own shots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vpt_pipeline.envs.vizdoom.udmf import Face, MapText, Point, write_wad

UNITS_PER_METRE = 32.0

WEAPONS = (
    "Fist", "Pistol", "Shotgun", "SuperShotgun", "Chaingun", "PlasmaRifle", "Chainsaw", "RocketLauncher", "BFG9000",
)  # fmt: skip
"""The weapon on each of the keys hotbar.1 to hotbar.9."""

ITEMS: Mapping[str, int] = {
    "HealthBonus": 2014, "ArmorBonus": 2015, "Stimpack": 2011, "RedCard": 13, "BlueCard": 5, "YellowCard": 6,
}  # fmt: skip
"""Things to walk over, with their numbers in the map format. Names are the engine's. A stimpack is left lying by the
unhurt, a card by who has one of that colour."""
SCENERY: Mapping[str, int] = {
    "BigTree": 54,
    "TorchTree": 43,
    "TallGreenColumn": 30,
    "RedTorch": 46,
    "ExplosiveBarrel": 2035,
}
MONSTERS: Mapping[str, int] = {"ZombieMan": 3004, "DoomImp": 3001, "Demon": 3002}

USUAL_SCENERY: Mapping[str, int] = {
    "BigTree": 50, "TorchTree": 25, "TallGreenColumn": 6, "RedTorch": 6, "ExplosiveBarrel": 6,
}  # fmt: skip
USUAL_ITEMS: Mapping[str, int] = {
    "HealthBonus": 45, "ArmorBonus": 25, "RedCard": 1, "BlueCard": 1, "YellowCard": 1,
}  # fmt: skip

PLAYER_START = 1
SKY = "F_SKY1"
CEILING = 512
RIM = 144
SUNLIGHT = 230
GATE = "special=62; arg0=0; arg1=32; arg2=105; playeruse=true; repeatspecial=true;"
"""Sinks the sector behind the line when used, waits three seconds, rises again."""

GROUNDS = ("GRASS1", "GRASS2", "RROCK16", "RROCK19", "FLAT10", "SLIME13")
CLIFFS = ("ASHWALL2", "ASHWALL4", "ROCK1", "ROCK2", "TANROCK4", "TANROCK5")
HOUSES = ("BRICK7", "WOOD1", "STONE2", "BRICK10", "BRICK12", "STONE5", "WOOD8")
WATERS = ("FWATER1", "NUKAGE1", "LAVA1")


@dataclass(frozen=True)
class Landscape:
    """How much of everything. ``size`` is the length of the square's side in metres."""

    size: int = 96
    hills: int = 10
    ponds: int = 3
    houses: int = 4
    gardens: int = 4
    scenery: Mapping[str, int] = field(default_factory=lambda: dict(USUAL_SCENERY))
    items: Mapping[str, int] = field(default_factory=lambda: dict(USUAL_ITEMS))
    monsters: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 512:
            raise ValueError(f"Landscape.size is {self.size} metres; expected 32 to 512")
        for what, wanted, known in (
            ("scenery", self.scenery, SCENERY), ("items", self.items, ITEMS), ("monsters", self.monsters, MONSTERS)
        ):  # fmt: skip
            unknown = sorted(set(wanted) - set(known))
            if unknown:
                raise ValueError(f"Landscape.{what} names {unknown}; expected some of {', '.join(known)}")


@dataclass(frozen=True)
class Gate:
    """A gate that sinks when used: where to stand before it and where it is, in map units from the start."""

    before: Point
    at: Point


def write_map(path: Path, seed: int, landscape: Landscape | None = None) -> tuple[Gate, ...]:
    """Write MAP01 for this seed: the same bytes for the same seed and landscape. Returns its gates."""
    landscape = landscape or Landscape()
    layout = _Layout(random.Random(seed), landscape)
    layout.build()
    sky = layout.random.choice(("RSKY1", "RSKY2", "RSKY3"))
    write_wad(
        path,
        [
            ("DECORATE", _player_class(harmless=not landscape.monsters).encode()),
            ("MAPINFO", _map_info(sky).encode()),
            ("MAP01", b""),
            ("TEXTMAP", layout.text.text().encode()),
            ("ENDMAP", b""),
        ],
    )
    return tuple(layout.gates)


def _player_class(harmless: bool) -> str:
    """The player as the engine's actor language says it. The first weapon named is the one in hand at the start."""
    weapons = ("Pistol", *(name for name in WEAPONS if name != "Pistol"))
    ammunition = {"Clip": 200, "Shell": 50, "Cell": 300, "RocketAmmo": 50}
    lines = ['Player.DisplayName "Explorer"', *(["+NODAMAGE"] if harmless else [])]
    lines += [f'Player.StartItem "{name}"' for name in weapons]
    lines += [f'Player.StartItem "{name}", {count}' for name, count in ammunition.items()]
    lines += [f"Player.WeaponSlot {slot}, {name}" for slot, name in enumerate(WEAPONS, 1)]
    return "actor Explorer : DoomPlayer\n{\n" + "\n".join(lines) + "\n}\n"


def _map_info(sky: str) -> str:
    return f'gameinfo {{ playerclasses = "Explorer" }}\nmap MAP01 "Open ground" {{ sky1 = "{sky}" }}\n'


@dataclass(frozen=True)
class _Rectangle:
    x: int
    y: int
    width: int
    height: int

    def near(self, x: float, y: float, margin: float) -> bool:
        beside = self.x - margin < x < self.x + self.width + margin
        return beside and self.y - margin < y < self.y + self.height + margin

    def apart(self, other: _Rectangle, margin: int) -> bool:
        across = self.x + self.width + margin < other.x or other.x + other.width + margin < self.x
        return across or self.y + self.height + margin < other.y or other.y + other.height + margin < self.y

    def corners(self, inset: int = 0) -> list[Point]:
        """Counter-clockwise from the south-west, moved inwards by ``inset``."""
        left, bottom = self.x + inset, self.y + inset
        right, top = self.x + self.width - inset, self.y + self.height - inset
        return [(left, bottom), (right, bottom), (right, top), (left, top)]


class _Layout:
    """Lays the parts out, none over another, and none where the player starts."""

    def __init__(self, rng: random.Random, landscape: Landscape) -> None:
        self.random = rng
        self.text = MapText()
        self.gates: list[Gate] = []
        self._landscape = landscape
        self._half = int(landscape.size * UNITS_PER_METRE / 2)
        self._taken: list[_Rectangle] = []
        self._things: list[Point] = []

    def build(self) -> None:
        rng, land = self.random, self._landscape
        ground = self._outdoors(0, rng.choice(GROUNDS))
        # a low sky over the rim, so that the border is a hedge and not a wall up to the clouds
        rim = self.text.sector(RIM, rng.choice(GROUNDS), RIM + 32, SKY, SUNLIGHT)
        cliff = rng.choice(CLIFFS)
        field = _Rectangle(-self._half, -self._half, 2 * self._half, 2 * self._half)
        self.text.loop(field.corners()[::-1], Face(ground, bottom=cliff), Face(rim))
        self.text.loop(field.corners(inset=-64)[::-1], Face(rim, middle=cliff))
        builders: tuple[tuple[int, Callable[[int], None]], ...] = (
            (land.gardens, self._garden), (land.houses, self._house), (land.hills, self._hill), (land.ponds, self._pond)
        )  # fmt: skip
        for count, builder in builders:
            for _ in range(count):
                builder(ground)
        for counts, numbers in ((land.scenery, SCENERY), (land.items, ITEMS), (land.monsters, MONSTERS)):
            for name, count in counts.items():
                for _ in range(count):
                    self._scatter(numbers[name])
        self.text.thing((0, 0), PLAYER_START, angle=rng.randrange(0, 360, 45))

    def _outdoors(self, floor: int, flat: str) -> int:
        return self.text.sector(floor, flat, CEILING, SKY, SUNLIGHT)

    def _site(self, low: int, high: int) -> _Rectangle | None:
        """A free place for a rectangle with sides of so many map units; None when the ground is full."""
        width, height = (self.random.randrange(low, high + 1, 32) for _ in range(2))
        for _ in range(200):
            x, y = (self.random.randrange(128 - self._half, self._half - 128 - side, 32) for side in (width, height))
            site = _Rectangle(x, y, width, height)
            if all(site.apart(other, 96) for other in self._taken) and not site.near(0, 0, 192):
                self._taken.append(site)
                return site
        return None

    def _hill(self, ground: int) -> None:
        """One step up, and where there is room a second: low enough to walk up."""
        site = self._site(192, 512)
        if site is None:
            return
        cliff = self.random.choice(CLIFFS)
        slope = self._outdoors(24, self.random.choice(GROUNDS))
        self.text.loop(site.corners(), Face(ground, bottom=cliff), Face(slope))
        if min(site.width, site.height) > 256:
            top = self._outdoors(48, self.random.choice(GROUNDS))
            self.text.loop(site.corners(inset=64), Face(slope, bottom=cliff), Face(top))

    def _pond(self, ground: int) -> None:
        site = self._site(256, 480)
        if site is not None:
            water = self._outdoors(-16, self.random.choice(WATERS))
            self.text.loop(site.corners(), Face(ground), Face(water, bottom=self.random.choice(CLIFFS)))

    def _house(self, ground: int) -> None:
        site = self._site(192, 320)
        if site is not None:
            roof = self._outdoors(self.random.randrange(128, 225, 32), "FLAT5_4")
            self.text.loop(site.corners(), Face(ground, bottom=self.random.choice(HOUSES)), Face(roof))

    def _garden(self, ground: int) -> None:
        """A wall too high to jump, with a gate in one side that sinks when used, and something inside."""
        site = self._site(320, 384)
        if site is None:
            return
        stone, door, thick = self.random.choice(HOUSES), self.random.choice(("BIGDOOR2", "BIGDOOR3", "BIGDOOR4")), 32
        wall = self._outdoors(80, "FLAT5_4")
        gate = self._outdoors(80, "STEP1")
        lawn = self._outdoors(0, self.random.choice(GROUNDS))
        gated = self.random.randrange(4)
        outer, inner = site.corners(), site.corners(inset=thick)
        for side in range(4):
            a, b, c, d = outer[side], outer[(side + 1) % 4], inner[side], inner[(side + 1) % 4]
            if side != gated:
                self.text.line(a, b, Face(ground, bottom=stone), Face(wall))
                self.text.line(d, c, Face(lawn, bottom=stone), Face(wall))
                continue
            left, right = _middle_part(a, b, 128)
            # the same posts on the inner edge: straight inwards from the outer ones
            inwards = ((0, thick), (-thick, 0), (0, -thick), (thick, 0))[side]
            left_in, right_in = ((x + inwards[0], y + inwards[1]) for x, y in (left, right))
            for start, end, face in ((a, left, ground), (right, b, ground), (d, right_in, lawn), (left_in, c, lawn)):
                self.text.line(start, end, Face(face, bottom=stone), Face(wall))
            self.text.line(left, right, Face(ground, bottom=door), Face(gate), GATE)
            self.text.line(right_in, left_in, Face(lawn, bottom=door), Face(gate), GATE)
            middle = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
            self.gates.append(Gate((middle[0] - 1.5 * inwards[0], middle[1] - 1.5 * inwards[1]), middle))
            for start, end in ((left, left_in), (right_in, right)):
                self.text.line(start, end, Face(gate, bottom=stone), Face(wall))
        centre = (site.x + site.width / 2, site.y + site.height / 2)
        self.text.thing(centre, ITEMS["ArmorBonus"])

    def _scatter(self, kind: int) -> None:
        """Put a thing on open ground, clear of everything else."""
        reach = self._half - 80
        for _ in range(200):
            x, y = self.random.uniform(-reach, reach), self.random.uniform(-reach, reach)
            crowded = any((x - a) ** 2 + (y - b) ** 2 < 72**2 for a, b in self._things)
            if not crowded and x * x + y * y > 160**2 and not any(site.near(x, y, 40) for site in self._taken):
                self._things.append((x, y))
                self.text.thing((x, y), kind, angle=self.random.randrange(0, 360, 45))
                return


def _middle_part(start: Point, end: Point, length: float) -> tuple[Point, Point]:
    """The ends of the middle piece of an upright or level line."""
    span = abs(end[0] - start[0]) + abs(end[1] - start[1])
    low, high = (span - length) / 2 / span, (span + length) / 2 / span
    first, second = (
        (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])) for share in (low, high)
    )
    return first, second
