"""Train a small embedding of texts and clips of play: what is told in words and what is seen come to lie together.

    vpt record play --task logs dirt seeds && vpt train-clip play/      # texts from what the game wrote down beside the videos
    vpt train-clip play/ --trunk runs/prior                            # with a prior's eyes: learns sooner, and finds more
    vpt train-clip --pairs pairs.jsonl                                 # clips and texts of your own: docs/text.md

Frames are decoded once into a cache. A share of the recordings is held back: texts are to find their clips among clips of
these. The same command again resumes a stopped run.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import tyro
from numpy.typing import NDArray

from data.ahead import beside_each_other
from data.files import write_json_atomic
from data.input_cache import cached_inputs
from data.recording import Recording, find_recordings
from prior.nn.precision import Precision
from prior.text.embedding.captions import caption
from prior.text.embedding.clip_data import ClipLoader, Film
from prior.text.embedding.clip_training import FEWEST, ClipTrainer, ClipTraining
from prior.text.embedding.features import video_features
from prior.text.embedding.pairs import TextClip, by_video, read_pairs, write_pairs
from prior.text.embedding.small_clip import SmallClip, SmallClipConfig, embedder_of, preset, save_clip, with_trunk
from vpt_pipeline.progress import progress_bar, say, say_left_out
from vpt_pipeline.train_idm import hold_back, pick_device

HELD_BACK = "held_back.json"
"""In the folder of a model: the videos that it was not trained on, relative to the folder."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class TrainClipConfig:
    """Settings of `vpt train-clip`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders with recordings of `vpt record` (searched through): their texts come from NAME.meta.json."""
    pairs: tuple[Path, ...] = ()
    """Files of clips with texts, a line of JSON each: {"video", "start", "frames", "texts"}."""
    out: Path = Path("runs/clip")
    """Where the model goes: config.json, model.safetensors, metrics.jsonl, and pairs.jsonl, what it was trained on."""
    preset: str = "luanti_small"
    """Size of the model: luanti_small (two cores) or debug."""
    trunk: str | None = None
    """A policy (a folder of `vpt train-prior`, or a published NAME.model) whose trunk looks at the frames, in place of a vision
    transformer that is trained."""
    pool: Literal["attention", "mean"] | None = None
    """How a clip's frames become one embedding."""
    step: int = 16
    """One clip begins every so many frames of a recording."""
    hold_back: float = 0.1
    """Share of the recordings kept from training, to judge by."""
    minutes: float | None = None
    """Train about this long instead of epochs or steps (they are counted out after a short measurement)."""
    epochs: float = 8.0
    """How often each clip is seen."""
    steps: int | None = None
    batch: int = 64
    """Clips at a step; each is told from all the others."""
    sampled: int | None = None
    """Frames of each clip that a step looks at; 0: all. Default: 6, and with --trunk, which has looked at all before, all."""
    learning_rate: float = ClipTraining.learning_rate
    precision: Precision = ClipTraining.precision
    """auto (bfloat16 where the hardware multiplies it faster), float32 or bfloat16."""
    seed: int = 0
    save_every: int = ClipTraining.save_every
    validate_every: int = ClipTraining.validate_every
    cache: Path = Path("runs/cache")
    """Where decoded frames are kept: 2 GB an hour."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""


def clips_of(config: TrainClipConfig, model: SmallClipConfig) -> dict[Path, list[TextClip]]:
    """Every clip with texts, by video. Raises ValueError where there are none."""
    if not config.data and not config.pairs:
        raise ValueError("nothing to train on: give folders with recordings of `vpt record`, or --pairs FILE")
    found: list[TextClip] = []
    for folder in config.data:
        told = captions_of(folder, model.frames, config.step, config.seed, model.rate)
        if not told:
            raise ValueError(
                f"{folder}: no recording has a NAME.meta.json beside it that tells what happens; expected recordings of "
                "`vpt record`. For other videos write clips and texts into a file and give --pairs"
            )
        found += told
    for path in config.pairs:
        found += read_pairs(path)
    return by_video(found)


def captions_of(folder: Path, frames: int, step: int, seed: int, rate: int) -> list[TextClip]:
    """The clips of all recordings of a folder; see :func:`prior.text.embedding.captions.caption`. Says which cannot be used and
    why."""
    recordings, clips = find_recordings(folder), list[TextClip]()
    with progress_bar(f"reading {folder.name}", len(recordings), "recordings") as bar:
        for recording in recordings:
            try:
                clips += caption(recording, frames, step, seed=seed, rate=rate)
            except ValueError as error:
                say_left_out(error)
            bar.advance()
    return clips


def films_of(config: TrainClipConfig, network: SmallClip) -> list[Film]:
    """The videos with their clips, decoded, or looked at with the network's trunk; says which cannot be used and why."""
    model = network.config
    clips = clips_of(config, model)
    looks = None if model.trunk is None else embedder_of(network, "trunk", model.trunk_key)

    def read(video: Path) -> Film | str:
        images: NDArray[Any]
        mirrored = None
        try:
            if looks is None:
                images = cached_inputs(video, model.inputs, config.cache).images
            else:
                images, mirrored = (video_features(looks, video, config.cache, side) for side in (False, True))
        except ValueError as error:
            return str(error)
        finally:
            bar.advance()
        inside = tuple(clip for clip in clips[video] if clip.lies_in(model.frames, len(images)))
        if not inside:
            return no_clip(video, len(images), model.frames)
        return Film(video, who_played_what(video), images, inside, mirrored)

    with progress_bar("reading videos", len(clips), "videos") as bar:
        found = beside_each_other(read, clips)
    return usable(found, Film, "videos")


def usable(found: Iterable[Kind | str], kind: type[Kind], what: str) -> list[Kind]:
    """Those of a kind; says of the others why they are none. what: they are. Raises ValueError if there are none."""
    kept = []
    for one in found:
        if isinstance(one, kind):
            kept.append(one)
        else:
            say_left_out(one)
    if not kept:
        raise ValueError(f"none of the {what} can be used (reasons above)")
    return kept


def who_played_what(video: Path) -> str:
    """The player and the task, as far as they are known: of all of them some are to be held back."""
    meta = Recording.beside(video).load_meta()
    return f"{meta.get('player', '')} {meta.get('task', '')}"


def no_clip(video: Path, frames: int, window: int) -> str:
    return f"{video}: none of its clips, of which {window} frames are looked at, lies in its {frames} frames"


def say_held_back(folder: Path, videos: Iterable[Path]) -> None:
    """Write down which videos the model of a folder was not trained on."""
    names = [os.path.relpath(video.resolve(), folder.resolve()) for video in videos]
    write_json_atomic(folder / HELD_BACK, names)


def held_back_by(folder: Path) -> set[Path]:
    """The videos of :func:`say_held_back`, resolved; none where the folder does not tell."""
    path = folder / HELD_BACK
    names = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return {(folder.resolve() / name).resolve() for name in names}


def training_of(config: TrainClipConfig, clips: int) -> ClipTraining:
    """The settings with the steps counted out. A batch is at most half of the clips."""
    names = {field.name for field in dataclasses.fields(ClipTraining)} & {f.name for f in dataclasses.fields(config)}
    given = {name: getattr(config, name) for name in names - {"steps", "batch", "sampled"}}
    batch = max(2, min(config.batch, clips // 2))
    if batch < config.batch:
        say(f"[yellow]a batch of {config.batch} is too many for {clips} clips; {batch} are taken[/yellow]")
    steps = config.steps or max(1, round(config.epochs * clips / batch))
    sampled = config.sampled
    if sampled is None:
        sampled = ClipTraining.sampled if config.trunk is None else 0
    return ClipTraining(**given, steps=steps, batch=batch, sampled=sampled)


def steps_in(minutes: float, network: SmallClip, training: ClipTraining, loader: ClipLoader, device: str) -> int:
    """How many steps fit into the time, measured on a throw-away model."""
    with tempfile.TemporaryDirectory() as folder:
        trial, times = dataclasses.replace(training, steps=8, save_every=10**6), list[float]()
        ClipTrainer(Path(folder), copy.deepcopy(network), trial, loader, None, device).run(
            lambda *_: times.append(time.perf_counter())
        )
    return max(int(minutes * 60 * (len(times) - 3) / (times[-1] - times[2])), 20)


def train(config: TrainClipConfig) -> dict[str, float]:
    """Train and write the model; returns the last metrics."""
    device, model = pick_device(config.device), preset(config.preset)
    if config.pool is not None:
        model = dataclasses.replace(model, pool=config.pool)
    torch.manual_seed(config.seed)
    network = SmallClip(model) if config.trunk is None else with_trunk(model, config.trunk)
    network, model = network.to(device), network.config
    kept, held = hold_back(films_of(config, network), config.hold_back)
    training = training_of(config, sum(len(film.clips) for film in kept))
    loader = ClipLoader(kept, model, training.batch, training.seed, training.sampled, training.augment)
    if config.minutes is not None:
        begun = config.out / "training.json"  # a run that was begun keeps its steps
        told = json.loads(begun.read_text(encoding="utf-8")) if begun.exists() else None
        steps = told["training"]["steps"] if told else steps_in(config.minutes, network, training, loader, device)
        training = dataclasses.replace(training, steps=int(steps))
    clips_held = sum(len(film.clips) for film in held)
    judged = ClipLoader(held, model, min(training.batch, clips_held)) if clips_held > 1 else None
    trainer = ClipTrainer(config.out, network, training, loader, judged, device)
    write_pairs(config.out / "pairs.jsonl", [clip for film in [*kept, *held] for clip in film.clips])
    say_held_back(config.out, [film.video for film in held])
    learnt = sum(p.numel() for p in trainer.network.parameters() if p.requires_grad)
    say(
        f"{learnt / 1e6:.1f}M parameters to learn; {len(loader)} clips of {len(kept)} videos, "
        f"{len(held)} videos with {clips_held} clips held back; {training.steps} steps of {training.batch} clips, "
        f"{training.steps / loader.steps_an_epoch:.1f} epochs, on {device}"
    )
    if judged is not None and (rare := trainer.rare_kinds()):
        say(f"not judged by, as fewer than {FEWEST} clips of each are trained on: {', '.join(rare)}")
    if trainer.step:
        say(f"resuming at step {trainer.step}")
    last: dict[str, float] = {}
    with progress_bar("training", training.steps * training.batch, "clips") as bar:
        bar.skip(trainer.step * training.batch)

        def report(step: int, metrics: dict[str, float]) -> None:
            last.update(metrics)
            held_back = f", held back {last['validation_loss']:.2f}" if "validation_loss" in last else ""
            bar.note(f"loss {metrics['loss']:.2f}{held_back}")
            bar.advance(training.batch)

        network = trainer.run(report)
    save_clip(config.out, network)
    return last


def main(config: TrainClipConfig) -> int:
    metrics = train(config)
    if "validation_recall" in metrics:
        found = {k.removeprefix("validation_"): v for k, v in metrics.items() if k.startswith("validation_")}
        nearest, clips = int(found["nearest"]), int(found["clips"])
        by_kind = same_kind = ""
        if "by_kind" in found:
            by_kind = f"; who knows the kind of each clip alone: {found['by_kind']:.0%}"
            chance = f"(chance: {found['same_kind_chance']:.0%})"
            same_kind = f"; of what they find {found['same_kind']:.0%} is of their kind {chance}"
        say(
            f"on recordings held back: loss {found['loss']:.2f}; of {clips} texts {found['recall']:.0%} find their own clip "
            f"among the {nearest} nearest of {clips} (at best, as some say the same: {found['ceiling']:.0%}; chance: "
            f"{found['chance']:.0%}{by_kind}), {found['recall_as_they_come']:.0%} where clips are drawn as they come, most of "
            f"the commonest kind{same_kind}"
        )
    say(f"embedding in {config.out}: give it as {config.out} wherever an encoder of texts is asked for")
    return 0
