"""Teach a behavioural prior to follow texts: hindsight goals for the policy, and a prior from texts to goals (STEVE-1).

    vpt train-clip play/ --out runs/clip                                    # texts and clips share a space
    vpt train-text play/ --start runs/prior --embedder runs/clip            # or --embedder mineclip:attn.pth
    vpt play runs/text:"chop down a tree"

Every frame learns as if it had wanted what a later frame of the same episode shows. Which words mean what is learnt from clips
with texts: those of the recordings' own events, or --pairs. The same command again resumes a stopped run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from data.ahead import beside_each_other
from data.files import write_json_atomic
from prior.episodes import Episode, Nulls
from prior.policy import Policy
from prior.sequences import Goals
from prior.text.embedding.embedder import Embedder
from prior.text.embedding.features import video_features, window_embeddings
from prior.text.embedding.load import load_embedder
from prior.text.embedding.pairs import TextClip, by_video, read_pairs
from prior.text.follower import Follower, episode_embeddings, save_follower
from prior.text.goals import HindsightGoals
from prior.text.locate import is_follower, split_name
from prior.text.policy import GoalPolicy, Start, load_goal_policy
from prior.text.prior_training import GoalPriorTraining, TextGoals, train_goal_prior
from prior.text.relabel import Relabelling
from vpt_pipeline.progress import progress_bar, say
from vpt_pipeline.train_clip import captions_of, held_back_by, no_clip, usable, who_played_what
from vpt_pipeline.train_idm import hold_back
from vpt_pipeline.train_prior import TrainPriorConfig, train


@dataclass(frozen=True)
class TrainTextConfig:
    """Settings of `vpt train-text`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with recordings or videos (searched through)."""
    start: str
    """The policy to begin with: a folder of `vpt train-prior`, or a published NAME.model."""
    embedder: str
    """The space of texts and clips: a folder of `vpt train-clip`, mineclip:PATH/attn.pth, or open_clip:MODEL[/TAG]."""
    labels: tuple[Path, ...] = ()
    """Folders of labels (`vpt label --out`), as for `vpt train-prior`."""
    shares: tuple[float, ...] = ()
    """How much of an epoch each of DATA makes up, relative to the others. Default: each frame once."""
    pairs: tuple[Path, ...] = ()
    """Files of clips with texts (see `vpt train-clip`), to learn from what words ask for; default: the recordings' events."""
    out: Path = Path("runs/text")
    shortest: int = 15
    """Frames of the shortest stretch that one goal explains."""
    longest: int = 199
    unconditional: float = 0.1
    """Share of stretches that learn without a goal, which guidance needs."""
    as_published: bool = False
    """Goals a frame late and a goal layer that begins at random, as in the published training."""
    freeze_trunk: bool = False
    """Do not train what looks at single frames."""
    nulls: Nulls = "drop"
    hold_back: float = 0.1
    """Share of the recordings kept from training, to judge by."""
    minutes: float | None = None
    """Train about this long instead of epochs or steps."""
    epochs: float | None = None
    steps: int | None = None
    batch: int | None = None
    """Episodes that are played beside each other."""
    chunk: int | None = None
    """Frames of each at a step."""
    learning_rate: float | None = None
    average: float | None = None
    colour: float | None = None
    pixels: int | None = None
    still: float | None = None
    mirror: float | None = None
    hotbar: float | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    seed: int | None = None
    validate_every: int | None = None
    goal_prior_epochs: int = GoalPriorTraining.epochs
    """Of the prior from texts to goals."""
    cache: Path = Path("runs/cache")
    stream: bool = False
    """Decode videos while training, as for `vpt train-prior`."""
    device: str = "auto"


class TextTeaching:
    """What `vpt train-text` adds to `vpt train-prior`; see :class:`vpt_pipeline.train_prior.Teaching`."""

    def __init__(self, config: TrainTextConfig, embedder: Embedder) -> None:
        self._config, self._embedder = config, embedder

    def policy(self, policy: Policy) -> GoalPolicy:
        start: Start = "as_published" if self._config.as_published else "unchanged"
        length = None if self._config.as_published else float(np.linalg.norm(self._embedder.encode_text(["a tree"])))
        made = GoalPolicy.of(policy, self._embedder.dims, start, length)
        if self._config.freeze_trunk:
            made.net.img_process.requires_grad_(False)
        return made

    def goals(self, episodes: list[Episode], mirrored: bool) -> Goals:
        config, embedder = self._config, self._embedder

        def embed(job: tuple[Episode, bool]) -> NDArray[np.float16]:
            episode, turned = job
            try:
                if len(episode) < embedder.window:  # in which nothing is wanted
                    return np.zeros((len(episode), embedder.dims), np.float16)
                return episode_embeddings(embedder, episode, config.cache, turned)
            finally:
                bar.advance()

        jobs = [(episode, turned) for turned in ((False, True) if mirrored else (False,)) for episode in episodes]
        with progress_bar("embedding what is seen", len(jobs), "episodes") as bar:
            embeddings = beside_each_other(embed, jobs)
        relabelling = Relabelling(config.shortest, config.longest, config.unconditional, config.as_published)
        return HindsightGoals(
            embeddings[: len(episodes)],
            relabelling,
            config.seed or 0,
            first=[episode.first for episode in episodes],
            window=embedder.window,
            mirrored=embeddings[len(episodes) :] if mirrored else None,
        )


def prior_config(config: TrainTextConfig) -> TrainPriorConfig:
    """The settings that both trainings have."""
    shared = set(TrainPriorConfig.__dataclass_fields__) & set(TrainTextConfig.__dataclass_fields__)
    return TrainPriorConfig(**{name: getattr(config, name) for name in shared})


def clips_with_texts(config: TrainTextConfig, embedder: Embedder) -> list[TextClip]:
    """Raises ValueError where there are none."""
    clips = [clip for path in config.pairs for clip in read_pairs(path)]
    if not config.pairs:
        about = embedder.window, embedder.window, config.seed or 0, embedder.shape.rate
        clips = [clip for folder in config.data for clip in captions_of(folder, *about)]
    if not clips:
        raise ValueError(
            "no texts: none of the recordings has a NAME.meta.json that tells what happens; give clips with texts by --pairs"
        )
    return clips


@dataclass(frozen=True, eq=False)
class ToldVideo:
    """The texts of a video's clips, and beside each the embedding of its clip, float32 (N, G). player: who played what."""

    video: Path
    player: str
    texts: list[str]
    goals: NDArray[np.float32]


def embed_pairs(
    clips: list[TextClip], embedder: Embedder, config: TrainTextConfig
) -> tuple[TextGoals, TextGoals | None]:
    """(to train on, held back, if any) of whole videos: every text of every clip beside the clip's embedding. Held back are
    those that the embedder was not trained on, either, where it tells. Says which videos cannot be used and why.

    Raises ValueError where none can.
    """
    told = by_video(clips)

    def embed(video: Path) -> ToldVideo | str:
        try:
            features = video_features(embedder, video, config.cache)
            inside = [clip for clip in told[video] if clip.lies_in(embedder.window, len(features))]
            if not inside:
                raise ValueError(no_clip(video, len(features), embedder.window))
            windows = window_embeddings(embedder, features)
            player = who_played_what(video)
        except ValueError as error:
            return str(error)
        finally:
            bar.advance()
        pairs = [(text, clip.window(embedder.window, len(features))) for clip in inside for text in clip.texts]
        return ToldVideo(video, player, [text for text, _ in pairs], windows[[place for _, place in pairs]])

    with progress_bar("embedding clips with texts", len(told), "videos") as bar:
        found = beside_each_other(embed, told)
    videos = usable(found, ToldVideo, "videos with texts")
    kept, held = hold_back(videos, config.hold_back)
    kind, folder = split_name(embedder.name)
    unseen = held_back_by(Path(folder)) if kind == "clip" and held else set()
    if 0 < sum(video.video.resolve() in unseen for video in videos) < len(videos):
        held = [video for video in videos if video.video.resolve() in unseen]
        kept = [video for video in videos if video.video.resolve() not in unseen]
    return _text_goals(kept, embedder), _text_goals(held, embedder) if held else None


def _text_goals(videos: list[ToldVideo], embedder: Embedder) -> TextGoals:
    texts = [text for video in videos for text in video.texts]
    said = sorted(set(texts))
    rows = {text: row for row, text in enumerate(said)}
    words = embedder.encode_text(said)
    return TextGoals(words[[rows[text] for text in texts]], np.concatenate([video.goals for video in videos]))


def train_text(config: TrainTextConfig) -> None:
    """Train the prior from texts to goals, which shows within seconds whether the texts are of use, then the policy; write the
    folder, and say how well it went."""
    if is_follower(Path(config.start)):
        raise ValueError(
            f"--start {config.start} follows texts already; give the policy that it was made from, a folder of "
            "`vpt train-prior` or a published NAME.model. To go on with a run that was stopped, repeat its command"
        )
    embedder = load_embedder(config.embedder)
    pairs, held = embed_pairs(clips_with_texts(config, embedder), embedder, config)
    training = GoalPriorTraining(epochs=config.goal_prior_epochs, seed=config.seed or 0)
    with progress_bar("learning what words ask for", training.epochs, "epochs") as bar:
        goal_prior, found = train_goal_prior(pairs, held, training, lambda *_: bar.advance())
    metrics = train(prior_config(config), TextTeaching(config, embedder))
    policy = load_goal_policy(config.out)
    save_follower(config.out, Follower(policy, goal_prior, embedder))
    judged_on = "trained_on" if held is None else "held_back"
    write_json_atomic(config.out / "goal_prior.json", {"training": training.to_dict(), judged_on: found})
    if "validation_loss" in metrics:
        say(f"on the recordings held back: {metrics['validation_loss']:.3f} nats a frame, told what comes later")
    say(
        f"of clips {'held back' if held is not None else 'trained on, as none were held back'}: "
        f"goals made of texts lie {found['cosine']:.2f} (cosine) near those of the clips that they tell of and "
        f"{found['cosine_of_others']:.2f} near those of any, the texts themselves {found['cosine_of_text']:.2f}; "
        f"{found['active_units']:.0f} of {training.latent} units active"
    )


def main(config: TrainTextConfig) -> int:
    train_text(config)
    say(f'a policy that follows texts in {config.out}: vpt play {config.out}:"chop down a tree"')
    return 0
