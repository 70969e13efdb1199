"""Writing a Doom map: the UDMF text format inside a WAD file. The engine builds its own nodes from it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.files import atomic_path

NO_TEXTURE = "-"
Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One side of a line: the sector that it faces, and the textures of the wall seen from there."""

    sector: int
    middle: str = NO_TEXTURE
    top: str = NO_TEXTURE
    bottom: str = NO_TEXTURE


@dataclass
class MapText:
    """Collects a map's parts. Lengths in map units, angles in degrees counted from east, counter-clockwise."""

    _things: list[str] = field(default_factory=list)
    _vertices: dict[Point, int] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _sides: list[str] = field(default_factory=list)
    _sectors: list[str] = field(default_factory=list)

    def thing(self, at: Point, kind: int, angle: int = 0) -> None:
        skills = "".join(f"skill{level}=true;" for level in range(1, 6))
        self._things.append(
            f"thing {{ x={at[0]:.1f}; y={at[1]:.1f}; angle={angle}; type={kind}; {skills} single=true; }}"
        )

    def sector(self, floor: int, floor_flat: str, ceiling: int, ceiling_flat: str, light: int) -> int:
        """Returns the sector's number."""
        self._sectors.append(
            f'sector {{ heightfloor={floor}; heightceiling={ceiling}; texturefloor="{floor_flat}"; '
            f'textureceiling="{ceiling_flat}"; lightlevel={light}; }}'
        )
        return len(self._sectors) - 1

    def line(self, start: Point, end: Point, front: Face, back: Face | None = None, special: str = "") -> None:
        """A wall from start to end. The front is on the right hand of somebody who walks along it."""
        sides = f"sidefront={self._side(front)}; "
        sides += "blocking=true;" if back is None else f"sideback={self._side(back)}; twosided=true;"
        self._lines.append(f"linedef {{ v1={self._vertex(start)}; v2={self._vertex(end)}; {sides} {special} }}")

    def loop(self, points: Sequence[Point], front: Face, back: Face | None = None) -> None:
        """A closed ring of lines; the front faces outwards where the points run counter-clockwise."""
        for start, end in zip(points, (*points[1:], points[0]), strict=True):
            self.line(start, end, front, back)

    def text(self) -> str:
        vertices = [f"vertex {{ x={x:.1f}; y={y:.1f}; }}" for x, y in self._vertices]
        parts = ['namespace = "zdoom";', *self._things, *vertices, *self._lines, *self._sides, *self._sectors]
        return "\n".join(parts) + "\n"

    def _vertex(self, point: Point) -> int:
        return self._vertices.setdefault(point, len(self._vertices))

    def _side(self, face: Face) -> int:
        textures = (("texturemiddle", face.middle), ("texturetop", face.top), ("texturebottom", face.bottom))
        named = " ".join(f'{key}="{name}";' for key, name in textures if name != NO_TEXTURE)
        self._sides.append(f"sidedef {{ sector={face.sector}; {named} }}")
        return len(self._sides) - 1


def write_wad(path: Path, lumps: Sequence[tuple[str, bytes]]) -> None:
    """Write named lumps, in order, as a PWAD: header, the lumps, then the directory."""
    offset, directory = 12, b""
    for name, content in lumps:
        directory += struct.pack("<II8s", offset, len(content), name.encode("ascii"))
        offset += len(content)
    with atomic_path(path) as temporary:
        body = b"".join(content for _, content in lumps)
        temporary.write_bytes(struct.pack("<4sII", b"PWAD", len(lumps), offset) + body + directory)
