"""What a play of demonstrations copied is seen beside it: the right frame, distance and searches, whatever is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from data.actions import Action, ActionTrack
from data.contractor import ContractorWriter
from data.video import VideoWriter, read_frames
from search_agent.demos import DemoSet, SetInfo
from tests.pipeline.cluster_jobs import make_video
from vpt_pipeline import play
from vpt_pipeline.copied_view import (
    Copied,
    copied_log,
    draw_curve,
    missing,
    read_copied,
    view_of,
    view_pictures,
)
from vpt_pipeline.demo_frames import DemoFrames, fitted
from vpt_pipeline.overlay import BACKGROUND, EDGE, WRONG
from vpt_pipeline.play import PlayConfig
from vpt_pipeline.rollout import Rollout, RolloutPlan

FRAMES, HEIGHT, TITLE = 30, 360, 40
VIEW = slice(TITLE + 20, TITLE + HEIGHT - 20)  # rows of the views, without the frame around a search


@dataclass(frozen=True)
class Played:
    """A set of two demonstrations, and a play that copied the first from frame 5 on, then the second from frame 20 on."""

    demos: DemoSet
    video: Path

    @property
    def videos(self) -> dict[str, Path]:
        return {name: demo.video for name, demo in self.demos.read().demos.items()}

    @property
    def log(self) -> list[Copied]:
        return read_copied(copied_log(self.video))


def make_log() -> list[Copied]:
    first = [Copied("one", 5 + n, "" if n else "begin", 0.1 + 0.02 * n, 0.3) for n in range(15)]
    return first + [Copied("two", 20 + n, "" if n else "diverged", 0.1, 0.3) for n in range(FRAMES - 15)]


def write_play(video: Path, log: list[Copied], size: tuple[int, int] = (128, 72)) -> None:
    with (
        VideoWriter(video, size) as writer,
        ContractorWriter(video.with_suffix(".jsonl")) as records,
        copied_log(video).open("w") as lines,
    ):
        for n, one in enumerate(log):
            writer.write(np.full((size[1], size[0], 3), 40 + 5 * n, np.uint8))
            records.write(Action(frozenset({"forward"} if n % 2 else ()), (0.0, 1.0)))
            lines.write(json.dumps(vars(one)) + "\n")


@pytest.fixture
def played(tmp_path: Path) -> Played:
    demos = DemoSet.create(tmp_path / "set", SetInfo("runs/prior", "a" * 64, 8, 20))
    for seed, name in enumerate(("one", "two")):
        video = make_video(tmp_path / "videos" / f"{name}.mp4", 60, seed)
        track = ActionTrack(np.zeros((60, 20), bool), np.zeros((60, 2), np.float32))
        demos.add(name, np.zeros((60, 8), np.float16), track, np.arange(60), np.ones(60, bool), video=video)
    write_play(tmp_path / "play.mp4", make_log())
    return Played(demos, tmp_path / "play.mp4")


def frame_of(video: Path, index: int) -> np.ndarray:
    return fitted(list(read_frames(video))[index].rgb, (640, HEIGHT), BACKGROUND)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_the_agents_view_stands_beside_the_demonstrations_frame(played: Played) -> None:
    pictures = list(view_pictures(played.video, played.videos, 20))
    assert len(pictures) == FRAMES and {picture.shape for picture in pictures} == {(740, 1280, 3)}
    theirs = {
        name: [fitted(frame.rgb, (640, HEIGHT), BACKGROUND)[20:-20, 20:-20] for frame in read_frames(video)]
        for name, video in played.videos.items()
    }
    told_apart = 0
    for n, one in enumerate(played.log):
        assert pictures[n][VIEW, :640].mean() == pytest.approx(40 + 5 * n, abs=3)
        shown = pictures[n][VIEW, 660:1260]
        assert apart(shown, theirs[one.demo][one.frame]) < 4
        assert apart(shown, theirs["two" if one.demo == "one" else "one"][one.frame]) > 8
        # A frame sooner or later would be seen, wherever the picture moves.
        told_apart += all(apart(shown, theirs[one.demo][one.frame + d]) > 5 for d in (-1, 1))
    assert told_apart > 10


def test_frames_are_counted_at_the_sets_rate_whatever_that_of_the_video(played: Played) -> None:
    fast = make_video(played.video.parent / "fast.mp4", 120, 0, rate=40)
    shown = next(view_pictures(played.video, {"one": fast}, 20))[VIEW, 660:1260]
    assert apart(shown, frame_of(fast, 10)[20:-20, 20:-20]) < 4


@pytest.mark.parametrize("case", ["gone", "unlisted", "no video", "too short"])
def test_a_video_that_is_missing_costs_only_its_own_picture(played: Played, case: str) -> None:
    videos = played.videos
    if case == "gone":
        videos["one"].unlink()
    elif case == "unlisted":
        del videos["one"]
    elif case == "no video":
        videos["one"].write_bytes(b"no video at all")
    else:
        make_video(videos["one"], 4)
    pictures = list(view_pictures(played.video, videos, 20))
    assert len(pictures) == FRAMES
    grey = (np.abs(pictures[10][VIEW, 660:1260].astype(int) - EDGE).max(-1) < 3).mean()
    assert 0.8 < grey < 0.999  # and words on it
    assert apart(pictures[20][VIEW, 660:1260], frame_of(videos["two"], 25)[20:-20, 20:-20]) < 4


def test_a_search_is_marked_and_what_is_beyond_the_limit_is_red() -> None:
    calm = [Copied("one", n, "" if n else "begin", 0.1, 0.3) for n in range(FRAMES)]
    before = draw_curve(calm, 20, 0.4)
    assert before.shape == (300, 640, 3)
    searched = [replace(one, searched="long") if n == 18 else one for n, one in enumerate(calm)]
    changed = np.abs(draw_curve(searched, 20, 0.4).astype(int) - before).max(-1) > 40
    rows, columns = np.nonzero(changed[70:230])  # of the curve: one upright mark
    assert len(rows) > 100 and np.ptp(columns) < 8
    assert changed[:66].any() and changed[270:].any()  # its reason, and the count of such searches

    def red(picture: np.ndarray) -> bool:
        return bool((np.abs(picture[70:240].astype(int) - WRONG).max(-1) < 30).any())

    beyond = [replace(one, distance=0.35) if 5 < n < 9 else one for n, one in enumerate(calm)]
    assert red(draw_curve(beyond, 20, 0.4)) and not red(before)
    # What ended a copy is seen: it rose beyond the limit in that very frame.
    left = [replace(one, left=0.38) if n == 18 else one for n, one in enumerate(searched)]
    assert red(draw_curve(left, 20, 0.4)) and not red(draw_curve(searched, 20, 0.4))


def test_it_is_told_how_far_away_a_copy_was_when_it_ended_and_where_it_leads(played: Played) -> None:
    plain = list(view_pictures(played.video, played.videos, 20))
    rows = [json.loads(line) for line in copied_log(played.video).read_text().splitlines()]
    for row in rows:
        row["left"], row["hope"] = 0.9 if row["searched"] == "diverged" else None, 1.25
    copied_log(played.video).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert {one.left for one in played.log} == {None, 0.9} and {one.hope for one in played.log} == {1.25}
    told = list(view_pictures(played.video, played.videos, 20))
    assert np.abs(told[20][:, 640:].astype(int) - plain[20][:, 640:]).max() > 100  # the curve goes up to 0.9
    apart_words = np.abs(told[5][TITLE + HEIGHT :, :640].astype(int) - plain[5][TITLE + HEIGHT :, :640])
    assert apart_words.max() > 100  # what it leads to, in words below
    for row in rows:
        del row["left"], row["hope"]  # as it was written before these were told
    copied_log(played.video).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert played.log == make_log()


def test_where_nothing_is_left_to_copy_the_play_can_be_watched(played: Played) -> None:
    nothing = [Copied("", 0, "", 0.0, 0.0) for _ in range(20)]
    write_play(played.video, [*make_log()[:10], *nothing])
    pictures = list(view_pictures(played.video, played.videos, 20))
    grey = (np.abs(pictures[15][VIEW, 660:1260].astype(int) - EDGE).max(-1) < 3).mean()
    assert len(pictures) == FRAMES and 0.8 < grey < 0.999


def test_only_what_is_needed_is_kept_and_each_demonstration_is_decoded_once_where_it_fits(played: Played) -> None:
    wanted = [(name, frame) for frame in (3, 9, 40) for name in ("one", "two")]
    for most, decoded in ((10_000_000, 2), (1, 6)):
        frames = DemoFrames(wanted, played.videos, 20, (128, 72), BACKGROUND, most)
        for name, frame in wanted:
            picture = frames.picture(name, frame)
            assert isinstance(picture, np.ndarray)
            assert apart(picture, list(read_frames(played.videos[name]))[frame].rgb) < 4
        assert frames.decoded == decoded
        assert "frame 4 is not in" in str(frames.picture("one", 4))


def test_another_shape_is_fitted_in() -> None:
    tall = fitted(np.full((100, 50, 3), 200, np.uint8), (640, 360), BACKGROUND)
    assert tall.shape == (360, 640, 3) and (tall[:, :200] == BACKGROUND).all() and (tall[:, 240:400] == 200).all()
    assert missing("a reason " * 60, (640, 360)).shape == (360, 640, 3)
    assert missing("a reason", (640, 2)).shape[1:] == (640, 3)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda text: text + "[1, 2]\n", r"copied\.jsonl:31: not what `vpt play SET` writes"),
        (lambda text: "", r"copied\.jsonl is empty"),
        (lambda text: text[: text.rindex("\n", 0, -1) + 1], r"has 29 lines, .*play\.mp4 30 frames"),
        (None, r"copied\.jsonl does not exist"),
    ],
)
def test_a_log_that_is_not_the_plays_is_told_of(
    played: Played, spoil: Callable[[str], str] | None, expected: str
) -> None:
    log = copied_log(played.video)
    if spoil is None:
        log.unlink()
    else:
        log.write_text(spoil(log.read_text()))
    with pytest.raises(ValueError, match=expected):
        next(view_pictures(played.video, played.videos, 20))


def test_the_command_asks_for_a_set_and_says_where_its_video_is(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"expected a set .* found the agent 'random'"):
        play.main(PlayConfig("random", inspect=True, out=tmp_path / "out"))
    with pytest.raises(ValueError, match=r"our own rules .* not the published ones of zip_2022"):
        play.main(PlayConfig(f"zip_2022:{played.demos.folder}", "logs", inspect=True, out=tmp_path / "out"))

    def roll_out(plan: RolloutPlan, *others: object) -> Rollout:  # instead of a game
        assert plan.video is not None
        plan.video.parent.mkdir(parents=True)
        write_play(plan.video, make_log()[10:20])
        (played.demos.folder / "demos.toml").write_text("[half")  # somebody is just editing the set
        return Rollout(plan.agent, plan.task, plan.seed, 0, 0.0, None, 10, video=str(plan.video))

    monkeypatch.setattr(play, "roll_out", roll_out)
    config = PlayConfig(str(played.demos.folder), "logs", inspect=True, out=tmp_path / "out")
    assert play.main(config) == 0
    (out,) = (tmp_path / "out").rglob("*.inspect.mp4")
    assert out == view_of(out.with_name(out.name.replace(".inspect", "")))
    assert out.name in re.sub(r"\s", "", capsys.readouterr().err)
    frames = [frame.rgb for frame in read_frames(out)]
    assert len(frames) == 10 and frames[0].shape == (740, 1280, 3)
    assert apart(frames[7][VIEW, 660:1260], frame_of(tmp_path / "videos" / "two.mp4", 22)[20:-20, 20:-20]) < 8
