"""Make a set of demonstrations for the search agent: recordings in, an agent out, without training.

    vpt index recordings/ --out sets/logs --model runs/prior --tag logs
    vpt play sets/logs --task logs                         # it plays what was demonstrated
    vpt index videos/ --labels runs/labels --out sets/logs # videos that `vpt label` labelled will do
    vpt index --out sets/logs --embedder runs/clip         # and what is seen is embedded, so that it can be asked for in words

Every frame is turned into the model's latent once. The same command again encodes only what is new; `vpt demos` changes the
set.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from data.actions import ActionTrack
from data.labels import LabelTable
from data.recording import Recording, find_recordings
from data.sources import unique_name
from prior.episodes import Inputs, frames_of
from prior.text.embedding.embedder import Embedder
from prior.text.embedding.features import embeddings_at
from search_agent.demos import ABOUT, Demo, DemoSet, SetInfo
from search_agent.encoder import Encoder, PolicyEncoder
from search_agent.wishes import open_space
from vpt_pipeline.progress import progress_bar, say
from vpt_pipeline.train_idm import pick_device


@dataclass(frozen=True)
class IndexConfig:
    """Settings of `vpt index`."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders with recordings or videos (searched through)."""
    out: Path = Path("runs/demos")
    """The set: a new folder, or one to add to."""
    model: str = ""
    """Whose latents: a folder of `vpt train-prior`, or a published NAME.model. A set keeps the one it was begun with, which is
    the default; for a new set it is runs/prior."""
    tag: tuple[str, ...] = ()
    """Tags of the new demonstrations, to choose them by."""
    text: str = ""
    """What they show, in words."""
    labels: Path | None = None
    """Folder of labels (`vpt label --out`) to copy instead of recorded actions."""
    embedder: str = ""
    """Embed what is seen, too, so that the set can be asked for something in words: a folder of `vpt train-clip` or of `vpt
    train-text`, mineclip:PATH, steve1:PATH or open_clip:MODEL[/TAG]. Demonstrations that are there already are embedded from
    their videos. A set keeps the one it was begun with, which is the default; a new set has none."""
    keep_nulls: bool = False
    """Keep frames in which nothing was done. By default they are left out, as ZIP does: the agent does not wait."""
    seen: bool | None = None
    """Compare what is seen now beside what the model remembers. By default with models that have a motion stem, whose latents
    tell more of what is being done."""
    cache: Path = Path("runs/cache")
    """Where decoded frames are kept."""
    device: str = "auto"


def index(config: IndexConfig) -> list[str]:
    """Add what is not there yet; returns why recordings were left out. Raises ValueError if the set cannot be used."""
    device = pick_device(config.device)
    encoder = PolicyEncoder(_model_of(config), device, config.seen)
    info = SetInfo(
        _lasting(encoder.source), encoder.sha256, encoder.dims, encoder.shape.rate, not config.keep_nulls, encoder.seen
    )
    demos = DemoSet.create(config.out, info)
    embedder = _embedder_of(demos, config.embedder, device)
    found = [r for folder in config.recordings for r in find_recordings(folder)]
    found = [r for r in found if config.labels is not None or r.actions is not None]
    there = demos.read().demos
    videos = {name: demo.video for name, demo in there.items()}
    todo: dict[str, Recording] = {}
    for recording in found:
        video = recording.video.resolve()
        others = {name for name, other in videos.items() if other != video}
        name = unique_name(str(video), others.__contains__, recording.name)
        if name not in videos:
            todo[name], videos[name] = recording, video
    refused = [] if embedder is None else _embed(demos, list(there.values()), embedder, config.cache)
    workers = max(2, (os.cpu_count() or 1) // 2)
    with ThreadPoolExecutor(workers) as pool, progress_bar("indexing", len(todo), "recordings") as bar:
        # The next recordings are decoded while one is encoded.
        seen = {name: pool.submit(frames_of, r, encoder.shape, config.cache) for name, r in todo.items()}
        for name, recording in todo.items():
            try:
                _add(demos, encoder, embedder, recording, seen.pop(name).result(), name, config)
            except ValueError as error:
                refused.append(str(error))
                del videos[name]
                say(f"[yellow]left out:[/yellow] {error}")
            bar.advance()
    if not videos:
        given = ", ".join(map(str, config.recordings)) or "no folder given"
        raise ValueError(f"{given}: no recording that could be used; expected NAME.mp4 + NAME.jsonl")
    say(f"{sum(name in videos for name in todo)} added, {len(videos)} demonstrations in {config.out}")
    return refused


def _model_of(config: IndexConfig) -> str:
    if config.model:
        return config.model
    return DemoSet(config.out).info.source if (config.out / ABOUT).is_file() else "runs/prior"


def _embedder_of(demos: DemoSet, asked: str, device: str) -> Embedder | None:
    """The set's, which is the one asked for if it has none yet. Raises ValueError if it has another."""
    source = asked or demos.info.embedder
    if not source:
        return None
    embedder = open_space(source, device).embedder
    kind, colon, path = source.partition(":")
    lasting = f"{kind}{colon}{_lasting(path)}" if colon and Path(path).exists() else _lasting(source)
    demos.use_embedder(lasting, embedder.key, embedder.dims)
    return embedder


def _embed(demos: DemoSet, there: list[Demo], embedder: Embedder, cache: Path) -> list[str]:
    """Embed demonstrations that have no embeddings yet; returns why some still have none."""
    refused: list[str] = []
    lacking = [demo for demo in there if demo.goals is None]
    if not lacking:
        return refused
    with progress_bar("embedding", len(lacking), "demonstrations") as bar:
        for demo in lacking:
            try:
                goals = embeddings_at(embedder, demo.video, demo.rows, cache, demos.info.rate)
                demos.add_goals(demo.name, goals)
            except (ValueError, OSError) as error:
                refused.append(f"{demo.name}: {error}")
                say(f"[yellow]not embedded:[/yellow] {demo.name}: {error}")
            bar.advance()
    with demos.editing():  # written anew, so that running agents look at it
        pass
    return refused


def _add(
    demos: DemoSet,
    encoder: Encoder,
    embedder: Embedder | None,
    recording: Recording,
    inputs: Inputs,
    name: str,
    config: IndexConfig,
) -> None:
    track = _actions(recording, config.labels)
    if abs(len(inputs) - len(track)) > 1:
        raise ValueError(
            f"{recording.video}: {len(inputs)} frames at {encoder.shape.rate} Hz but {len(track)} actions; expected as many. "
            "Is the video cut, or recorded at another rate?"
        )
    track = track[: min(len(inputs), len(track))]
    kept = track.valid if config.keep_nulls else track.valid & ~track.is_null
    rows = np.flatnonzero(kept)
    copied = recording.to_copy(len(track))[rows]
    if not copied.any():
        raise ValueError(
            f"{recording.video}: nothing is done in it that could be copied; expected a demonstration of something"
        )
    text = config.text or str(recording.load_meta().get("text", "") if recording.meta else "")
    chosen = ActionTrack(track.buttons[rows], track.camera[rows], track.gui_open[rows])
    latents, video, goals = encoder.encode(inputs, rows), recording.video.resolve(), None
    if embedder is not None:
        goals = embeddings_at(embedder, video, rows, config.cache, encoder.shape.rate)
    demos.add(name, latents, chosen, rows, copied, video=video, tags=config.tag, text=text, goals=goals)


def _actions(recording: Recording, labels: Path | None) -> ActionTrack:
    if labels is None:
        return recording.load_actions().actions
    table = labels / f"{recording.name}.parquet"
    if not table.is_file():
        raise ValueError(f"{recording.video}: no labels in {table}; `vpt label` writes them")
    return LabelTable.read(table).to_actions()


def _lasting(model: str) -> str:
    """Where the model is, wherever the set is opened from."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def main(config: IndexConfig) -> int:
    """0 if every recording was added, 1 if some were left out."""
    refused = index(config)
    say(f"play it: vpt play {config.out} --task explore; change it: vpt demos list {config.out}")
    return 1 if refused else 0
