"""Make a set of demonstrations for the search agent: recordings in, an agent out, without training.

    vpt index recordings/ --out sets/logs --model runs/prior --tag logs
    vpt play sets/logs --task logs                         # it plays what was demonstrated
    vpt index videos/ --labels runs/labels --out sets/logs # videos that `vpt label` labelled will do
    vpt index --out sets/logs --embedder runs/clip         # and what is seen is embedded, so that it can be asked for in words

Every frame is turned into the model's latent once. The same command again encodes only what is new; `vpt demos` changes the
set.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.markup import escape

from data.actions import ActionTrack
from data.label_folder import LabelFolder
from data.recording import Recording, find_recordings
from data.sources import unique_name
from prior.episodes import Inputs, frames_of
from prior.text.embedding.embedder import Embedder
from prior.text.embedding.features import embeddings_at
from search_agent.demo_files import name_for
from search_agent.demos import Demo, DemoSet, SetInfo
from search_agent.encoder import Encoder, PolicyEncoder
from search_agent.session import model_of
from search_agent.set_info import ABOUT
from search_agent.wishes import open_space
from vpt_pipeline.progress import progress_bar, say, say_left_out
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
    mirror: bool | None = None
    """Copy each demonstration the other way round, too, left for right: twice as many situations of the same recordings, for
    twice the encoding. By default with models that learnt from mirrored episodes (`vpt train-prior --mirror`)."""
    cache: Path = Path("runs/cache")
    """Where decoded frames are kept."""
    device: str = "auto"


def index(config: IndexConfig) -> list[str]:
    """Add what is not there yet; returns why recordings were left out. Raises ValueError if the set cannot be used."""
    device = pick_device(config.device)
    encoder = PolicyEncoder(_model_of(config), device, config.seen)
    config = replace(config, mirror=_mirrors(config, encoder.source))
    info = SetInfo(
        _lasting(encoder.source), encoder.sha256, encoder.dims, encoder.shape.rate, not config.keep_nulls, encoder.seen
    )
    demos = DemoSet.create(config.out, info)
    embedder = _embedder_of(demos, config.embedder, device)
    labels = None if config.labels is None else LabelFolder(config.labels)
    listing, refused = demos.read(), list[str]()
    for problem in listing.problems:
        refused.append(problem)
        say(f"[yellow]cannot be used:[/yellow] {escape(problem)}")
    given, usable = ", ".join(map(str, config.recordings)) or "no folder given", _usable(config)
    none = f"{given}: no recording that could be used; expected NAME.mp4 + NAME.jsonl"
    if config.recordings and not usable:
        refused.append(none)
        say(f"[yellow]nothing to add:[/yellow] {escape(none)}")
    todo = _new(demos, usable)
    if embedder is not None:
        refused += _embed(demos, list(listing.demos.values()), embedder, config.cache)
    added = 0
    workers = max(2, (os.cpu_count() or 1) // 2)
    with ThreadPoolExecutor(workers) as pool, progress_bar("indexing", len(todo), "recordings") as bar:
        # The next recordings are decoded while one is encoded.
        seen = {name: pool.submit(frames_of, r, encoder.shape, config.cache) for name, r in todo.items()}
        for name, recording in todo.items():
            try:
                _add(demos, encoder, embedder, recording, seen.pop(name).result(), name, labels, config)
                added += 1
            except ValueError as error:
                refused.append(str(error))
                say_left_out(error)
            bar.advance()
    there = len(demos.videos())
    if not there:
        raise ValueError(none)
    say(f"{added} added, {there} demonstrations in {escape(str(config.out))}")
    return refused


def _usable(config: IndexConfig) -> list[Recording]:
    """The recordings that are given; says which videos have no actions."""
    found = [recording for folder in config.recordings for recording in find_recordings(folder)]
    if config.labels is not None:
        return found
    without = [recording.video.name for recording in found if recording.actions is None]
    if without:
        say(
            f"[yellow]passed over:[/yellow] {len(without)} videos without actions ({escape(', '.join(without[:5]))}"
            f"{', ...' if len(without) > 5 else ''}); expected NAME.jsonl beside NAME.mp4, or --labels of `vpt label`"
        )
    return [recording for recording in found if recording.actions is not None]


def _new(demos: DemoSet, recordings: list[Recording]) -> dict[str, Recording]:
    """What is not there yet, by the names that it gets."""
    videos, new = demos.videos(), dict[str, Recording]()
    for recording in recordings:
        video = recording.video.resolve()
        others = {name for name, other in videos.items() if other not in (video, None)}
        name = unique_name(str(video), others.__contains__, name_for(recording.name))
        if name not in videos:
            new[name], videos[name] = recording, video
    return new


def _model_of(config: IndexConfig) -> str:
    if config.model:
        return config.model
    if not (config.out / ABOUT).is_file():
        return "runs/prior"
    demos = DemoSet(config.out)
    model_of(demos)  # says what to do if it is gone
    return demos.info.source


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
                say(f"[yellow]not embedded:[/yellow] {demo.name}: {escape(str(error))}")
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
    labels: LabelFolder | None,
    config: IndexConfig,
) -> None:
    track = recording.load_actions().actions if labels is None else labels.read(recording.video).to_actions()
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
    mirrored = encoder.encode(inputs, rows, mirror=True) if config.mirror else None
    if embedder is not None:
        goals = embeddings_at(embedder, video, rows, config.cache, encoder.shape.rate)
    demos.add(
        name, latents, chosen, rows, copied, video=video, tags=config.tag, text=text, goals=goals, mirrored=mirrored
    )


def _mirrors(config: IndexConfig, model: str) -> bool:
    if config.mirror is not None:
        return config.mirror
    about = Path(model) / "training.json"
    return about.is_file() and bool(json.loads(about.read_text(encoding="utf-8")).get("training", {}).get("mirror"))


def _lasting(model: str) -> str:
    """Where the model is, wherever the set is opened from."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def main(config: IndexConfig) -> int:
    """0 if every recording was added, 1 if some were left out."""
    refused = index(config)
    out = escape(str(config.out))
    say(f"play it: vpt play {out} --task explore; change it: vpt demos list {out}")
    return 1 if refused else 0
