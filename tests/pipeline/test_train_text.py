"""`vpt train-text` and playing by a text, as their users run them, with the debug models."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.contractor import ContractorWriter
from prior.config import preset
from prior.text.embedding.features import video_features, window_embeddings
from prior.text.embedding.load import load_embedder
from prior.text.embedding.pairs import TextClip
from prior.text.follower import Follower, episode_embeddings, load_follower, save_follower
from prior.text.policy import GoalPolicy
from prior.text.prior_training import GoalPriorTraining, TextGoals, train_goal_prior
from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import make_video
from vpt_pipeline import train_clip, train_prior, train_text
from vpt_pipeline.agents import TextAgent, make_agent, split_text
from vpt_pipeline.rollout_models import Models
from vpt_pipeline.train_clip import TrainClipConfig
from vpt_pipeline.train_prior import TrainPriorConfig
from vpt_pipeline.train_text import TrainTextConfig


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with actions and events, a prior and an embedding trained on them, and a policy taught by both."""
    folder = tmp_path_factory.mktemp("text")
    play = folder / "play"
    play.mkdir()
    for seed in range(4):
        make_video(play / f"r{seed}.mp4", 60, seed)
        _, track = turning_world(60, seed, (72, 128))
        with ContractorWriter(play / f"r{seed}.jsonl") as records:
            for index in range(60):
                records.write(track.action(index))
        events = [{"type": "pickup", "item": "default:dirt", "tick": 30, "own": False}]
        meta = {"game": "luanti", "task": "dirt", "text": "dig dirt", "frames": 60, "tick_rate": 20, "events": events}
        (play / f"r{seed}.meta.json").write_text(json.dumps(meta))
    cache = folder / "cache"
    train_prior.train(
        TrainPriorConfig(
            (play,), out=folder / "prior", preset="debug", recipe="debug", steps=2, nulls="keep", cache=cache, device="cpu"
        )
    )  # fmt: skip
    train_clip.train(
        TrainClipConfig((play,), out=folder / "clip", preset="debug", step=6, steps=2, batch=8, cache=cache, device="cpu")
    )  # fmt: skip
    assert train_text.main(settings(folder)) == 0
    return folder


def settings(folder: Path) -> TrainTextConfig:
    return TrainTextConfig(
        (folder / "play",), start=str(folder / "prior"), embedder=str(folder / "clip"), out=folder / "text", nulls="keep",
        steps=3, batch=2, hold_back=0.3, goal_prior_epochs=2, cache=folder / "cache", device="cpu",
    )  # fmt: skip


def frames(count: int = 4) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, 90, 160, 3), dtype=np.uint8))


def test_it_plays_what_it_is_told(place: Path) -> None:
    text = place / "text"
    assert split_text(f"{text}:dig dirt") == (text, "dig dirt") and split_text(str(text)) == (text, "")
    assert split_text(str(place / "prior")) is None and split_text(f"{place / 'prior'}:dig") is None
    told, untold = (make_agent(name, None, "luanti", "dirt", 0) for name in (f"{text}:dig dirt", str(text)))  # type: ignore[arg-type]
    assert isinstance(told, TextAgent) and isinstance(untold, TextAgent)
    assert told._agent.goals.abs().sum() > 0 and not untold._agent.goals.any()
    for agent in (told, untold):
        for frame in frames():
            agent.act({"pov": frame})
    with pytest.raises(ValueError, match="the text after the colon is empty"):
        make_agent(f"{text}: ", None, "luanti", "dirt", 0)  # type: ignore[arg-type]


def test_goals_come_of_texts_and_of_clips(place: Path) -> None:
    follower = load_follower(place / "text")
    one, again = (follower.goal_of_text("dig dirt") for _ in range(2))
    assert one.shape == (follower.embedder.dims,) and np.array_equal(one, again)
    assert not np.allclose(one, follower.goal_of_text("chop a tree"))
    best = follower.goal_of_text("dig dirt", samples=8)
    windows = window_embeddings(
        follower.embedder, video_features(follower.embedder, place / "play" / "r0.mp4", place / "cache")
    )
    for goal in (one, best, *windows):
        assert abs(np.linalg.norm(goal) - 1) < 1e-5, "as long as those that the policy learnt by"
    as_it_comes = load_follower(place / "text")
    as_it_comes.embedder.normalised = False
    assert abs(np.linalg.norm(as_it_comes.goal_of_text("dig dirt")) - 1) > 0.01
    assert best.shape == one.shape and np.array_equal(best, follower.goal_of_text("dig dirt", samples=8))
    clip = np.stack(frames(follower.embedder.window + 3))
    assert np.allclose(follower.goal_of_video(clip), follower.embedder.encode_video(clip[3:]), atol=1e-6)
    with pytest.raises(ValueError, match="a clip of 2 frames"):
        follower.goal_of_video(clip[:2])
    with pytest.raises(ValueError, match="is empty"):
        follower.goal_of_text(" ")


def test_what_was_trained_is_what_is_loaded_and_the_same_command_does_nothing_more(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((place / "text" / "goal_prior.json").read_text())
    assert np.isfinite(about["held_back"]["loss"]) and about["training"]["epochs"] == 2
    before = (place / "text" / "model.safetensors").read_bytes()
    prior = (place / "text" / "goal_prior.safetensors").read_bytes()
    assert train_text.main(settings(place)) == 0
    assert (place / "text" / "model.safetensors").read_bytes() == before
    assert (place / "text" / "goal_prior.safetensors").read_bytes() == prior
    said = " ".join(capsys.readouterr().err.split())
    assert "resuming at step 3" in said and "units active" in said
    changed = load_follower(place / "text").policy.get_parameter("net.mineclip_embed_linear.weight")
    assert changed.abs().sum() > 0, "the goal's layer has learnt something"


def test_a_follower_opens_from_any_folder(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    train_text.main(replace(settings(place), embedder="clip", out=place / "anywhere"))
    about = json.loads((place / "anywhere" / "text.json").read_text())
    assert about["embedder"] == f"clip:{place / 'clip'}"
    monkeypatch.chdir(tmp_path)
    models = Models()
    for name in (about["embedder"], str(place / "clip")):  # as it is written now, and as it was before
        (place / "anywhere" / "text.json").write_text(json.dumps({**about, "embedder": name}))
        follower = models.follower(place / "anywhere")
        (tmp_path / "of_no_concern").write_text(name)
        assert models.follower(place / "anywhere") is follower, "what lies in the current folder does not count"
        (place / "clip" / "model.safetensors").touch()
        assert models.follower(place / "anywhere") is not follower, "its embedder is another one now"


def test_videos_that_cannot_be_used_are_left_out_before_anything_is_trained(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = tmp_path / "play"
    shutil.copytree(place / "play", play)
    make_video(play / "short.mp4", 4)
    (play / "broken.mp4").write_bytes(b"no video")
    for name in ("short", "broken"):
        shutil.copy(play / "r0.meta.json", play / f"{name}.meta.json")
    assert train_text.main(replace(settings(place), data=(play,), out=tmp_path / "text")) == 0
    said = "".join(capsys.readouterr().err.split())  # long paths are broken anywhere
    assert "broken.mp4:expectedavideofile" in said
    assert "short.mp4:noneofitsclips,ofwhich6framesarelookedat,liesinits4frames" in said
    only = [TextClip(play / "broken.mp4", 0, 6, ("dig",))]
    with pytest.raises(ValueError, match="none of the videos with texts can be used"):
        train_text.embed_pairs(only, load_embedder(place / "clip"), settings(place))


def test_what_is_held_back_is_what_the_embedder_was_not_trained_on(place: Path) -> None:
    embedder = load_embedder(place / "clip")
    (unseen,) = train_clip.held_back_by(place / "clip")
    clips = train_text.clips_with_texts(settings(place), embedder)
    assert len({clip.video for clip in clips}) == 4
    for share in (0.1, 0.5):
        pairs, held = train_text.embed_pairs(clips, embedder, replace(settings(place), hold_back=share))
        alone = train_text.embed_pairs([c for c in clips if c.video.resolve() == unseen], embedder, settings(place))
        assert held is not None and np.array_equal(held.goals, alone[0].goals) and alone[1] is None
        assert len(pairs.goals) == sum(len(clip.texts) for clip in clips if clip.video.resolve() != unseen)
        assert not (pairs.goals[:, None] == held.goals[None]).all(-1).any(), "none of it is trained on"
    config = replace(settings(place), hold_back=0.0)
    assert train_text.embed_pairs(clips, embedder, config)[1] is None
    train_text.train_text(replace(config, out=place / "all"))
    assert set(json.loads((place / "all" / "goal_prior.json").read_text())) == {"training", "trained_on"}


def test_a_loss_that_is_no_number_and_a_share_that_is_none_are_refused(place: Path) -> None:
    pairs = TextGoals(np.ones((8, 4), np.float32), np.full((8, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"after epoch 1 of 50 its loss was nan"):
        train_goal_prior(pairs, None, GoalPriorTraining())
    for share in (10, 1, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"expected 0 \(none\) up to less than 1"):
            train_text.main(replace(settings(place), hold_back=share, out=place / "none"))
    assert not (place / "none").exists()


def test_goals_are_of_the_stretch_between_two_cuts_and_of_the_mirrored_video(place: Path, tmp_path: Path) -> None:
    config = replace(settings(place), mirror=0.5, unconditional=0.0, out=tmp_path / "text")
    teaching = train_text.TextTeaching(config, embedder := load_embedder(place / "clip"))
    (source,), _ = train_prior.load_sources(train_text.prior_config(config), preset("debug"))
    whole = source.episodes[0]
    assert whole.video is not None
    rows = np.r_[0:20, 20:60:2]  # frames are left out, too
    first = np.isin(np.arange(40), [0, 20, 23])
    cut, short = replace(whole, first=first, rows=rows), replace(whole, first=first[:3], rows=rows[:3])
    starts = np.maximum(rows - 5, np.where(np.arange(40) < 20, 0, rows[23]))
    goals = teaching.goals([cut, short], mirrored=True)
    for turned in (False, True):
        windows = window_embeddings(embedder, video_features(embedder, whole.video, config.cache, turned))
        found = episode_embeddings(embedder, cut, config.cache, turned)
        assert np.allclose(found[:20], windows[starts[:20]], atol=1e-3)
        assert np.allclose(found[23:], windows[starts[23:]], atol=1e-3)
        wanted = goals(0, 0, slice(None), turned)
        assert np.allclose(wanted[[19, 39]], windows[[19 - 5, 58 - 5]], atol=1e-3) and not wanted[20:23].any()
        assert not goals(0, 1, slice(None), turned).any(), "too short for a window"
    train_text.main(config)


def test_a_frozen_trunk_stays_as_the_prior_had_it(place: Path) -> None:
    config = replace(settings(place), out=place / "frozen", freeze_trunk=True, chunk=8, shares=(1.0,))
    train_text.main(config)
    assert json.loads((config.out / "training.json").read_text())["training"]["chunk"] == 8
    start, taught = (
        train_prior.new_policy(TrainPriorConfig((), start=str(place / "prior")), 0),
        load_follower(config.out),
    )
    for name, value in start.net.img_process.state_dict().items():
        assert torch.equal(taught.policy.net.img_process.state_dict()[name], value)


def test_embedders_and_files_that_do_not_belong_together_are_told_of(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip"
    train_clip.train(
        TrainClipConfig(
            (place / "play",), out=other, preset="debug", step=6, steps=1, batch=8, cache=place / "cache", device="cpu"
        )
    )  # fmt: skip
    with pytest.raises(ValueError, match="embed it again, or give the embedder"):
        load_follower(place / "text", load_embedder(other))
    follower = load_follower(place / "text")
    small = GoalPolicy.of(train_prior.new_policy(TrainPriorConfig((), start=str(place / "prior")), 0), 7)
    save_follower(tmp_path / "wrong", Follower(small, follower.goal_prior, follower.embedder))
    with pytest.raises(ValueError, match="expected one size of embeddings"):
        load_follower(tmp_path / "wrong")
    with pytest.raises(ValueError, match="follows texts already; give the policy that it was made from"):
        train_text.main(replace(settings(place), start=str(place / "text"), out=tmp_path / "none"))
    with pytest.raises(ValueError, match="follows no texts"):
        load_follower(place / "prior")
    silent = tmp_path / "silent"
    shutil.copytree(place / "play", silent)
    for meta in silent.glob("*.meta.json"):
        meta.unlink()
    with pytest.raises(ValueError, match="no texts: none of the recordings"):
        train_text.main(replace(settings(place), data=(silent,), out=tmp_path / "none"))
