"""Worlds: made once for each map seed, kept in the cache, copied for each game."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from data.files import cache_folder
from vpt_pipeline.envs.luanti.cache import FolderGuard, locked, new_run_folder
from vpt_pipeline.envs.luanti.game import Game
from vpt_pipeline.envs.luanti.settings import settings_text

log = logging.getLogger(__name__)

BRIDGE = Path(__file__).with_name("bridge")
REGIONS = 4
"""Places, far from each other, that each world is played in."""
STARTS = 10
"""Places to begin in each region, at most."""
CHUNKS_AROUND = 1
"""Chunks of 80 nodes that are generated on each side of a region's middle one: 240 x 240 nodes in all."""
LOAD_SECONDS = 120.0
_WORLD_MT = """gameid = minetest
backend = sqlite3
player_backend = sqlite3
auth_backend = sqlite3
mod_storage_backend = sqlite3
"""


@dataclass(frozen=True)
class Start:
    """A place to begin: sunlit ground with trees near."""

    region: int
    position: tuple[float, float, float]


@dataclass(frozen=True)
class Template:
    """A generated world in the cache."""

    folder: Path
    map_seed: int
    starts: tuple[Start, ...]

    def copy_to(self, world: Path) -> None:
        """A fresh copy with the current bridge in it."""
        shutil.copytree(self.folder / "world", world)
        _install_bridge(world)


def game_home() -> Path:
    """The games' home folder. It lasts, because the client's media cache has to be warm: under a clock that stands
    still, media that are not cached yet take very long to arrive."""
    home = cache_folder() / "luanti-home"
    home.mkdir(exist_ok=True)
    return home


def template(map_seed: int) -> Template:
    """The world of a map seed, generated now if this is the first time (10-30 s). Processes wait for each other."""
    recipe = (BRIDGE / "survey.lua").read_bytes() + f"{REGIONS} {STARTS} {CHUNKS_AROUND}".encode()
    folder = cache_folder() / "luanti-worlds" / f"{map_seed}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not (folder / "starts.json").exists():
        with locked("luanti-worlds"):
            if not (folder / "starts.json").exists():
                _generate(map_seed, folder)
    rows = json.loads((folder / "starts.json").read_text())
    starts = tuple(Start(region, (x, y, z)) for region, (x, y, z) in rows)
    return Template(folder, map_seed, starts)


def _install_bridge(world: Path) -> None:
    shutil.copytree(BRIDGE, world / "worldmods" / "bridge", dirs_exist_ok=True)


def _generate(map_seed: int, folder: Path) -> None:
    began = time.monotonic()
    log.info("generating the Luanti world of map seed %d (once)", map_seed)
    run = new_run_folder()
    guard = FolderGuard(run)
    try:
        world = run / "world"
        world.mkdir()
        (world / "world.mt").write_text(_WORLD_MT)
        _install_bridge(world)
        starts = _survey(run, world, map_seed)
        if not starts:
            raise ValueError(
                f"map seed {map_seed} has no good place to start: found 0 sunlit cells near trees; try another"
            )
        for leftover in ("worldmods", "players.sqlite", "auth.sqlite", "truth.jsonl", "requests.jsonl"):
            path = world / leftover
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.mkdir(parents=True)
        shutil.copytree(world, part / "world")
        (part / "starts.json").write_text(json.dumps([(s.region, s.position) for s in starts]))
        part.replace(folder)
    finally:
        guard.remove()
    log.info("generated map seed %d in %.1f s: %d starts", map_seed, time.monotonic() - began, len(starts))


def _survey(run: Path, world: Path, map_seed: int) -> list[Start]:
    conf = settings_text((320, 180), 20, map_seed, (0, 30, 0), {"max_block_generate_distance": 1})
    game = Game(run, world, game_home(), (320, 180), conf, LOAD_SECONDS, player="surveyor")
    try:
        while not game.truths:
            game.step()
        starts: list[Start] = []
        regions = game.call("find_regions", count=REGIONS) or []
        for index, (x, level, z, _) in enumerate(regions):
            game.request("generate", pos=[x, level, z], chunks=CHUNKS_AROUND)
            while game.call("generating"):
                pass
            for position in game.call("find_starts", pos=[x, level, z], count=STARTS) or []:
                starts.append(Start(index, tuple(position)))
        game.save_and_quit()
        return starts
    finally:
        game.close()
