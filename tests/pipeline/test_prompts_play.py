"""`vpt play` and `vpt evaluate` of agents that are asked: texts, clips, schedules, and every mistake told of clearly."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.actions import BUTTON_INDEX, ActionTrack
from data.video import probe
from prior.checkpoint import save_policy, write_safetensors
from prior.config import preset
from prior.policy import Policy
from prior.text.agent import GuidedAgent
from prior.text.cvae import GoalPrior
from prior.text.follower import load_follower
from search_agent.demos import DemoSet, SetInfo
from search_agent.encoder import PolicyEncoder
from tests.pipeline.cluster_jobs import make_video
from tests.pipeline.followers import make_follower
from vpt_pipeline.agents import Acting, DemoAgent, TextAgent, can_be_asked, make_agent
from vpt_pipeline.cli import main
from vpt_pipeline.prompts import Ask, read_asked
from vpt_pipeline.rollout_models import Models

FAKE = ("--env", "minerl:Fake-v0", "--task", "dirt")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A follower (text, clip), a plain policy (prior) and a set (set) of two demonstrations with tags, and a video."""
    folder = tmp_path_factory.mktemp("asked")
    make_follower(folder)
    torch.manual_seed(0)
    save_policy(folder / "prior", Policy(preset("debug")))
    encoder = PolicyEncoder(str(folder / "prior"))
    demos = DemoSet.create(folder / "set", SetInfo(encoder.source, encoder.sha256, encoder.dims, 20, seen=encoder.seen))
    for name, key in (("logs", "attack"), ("dirt", "forward")):
        buttons = np.zeros((60, 20), bool)
        buttons[:, BUTTON_INDEX[key]] = True
        track = ActionTrack(buttons, np.full((60, 2), (1.0, 0.0), np.float32))
        latents = np.random.default_rng(len(key)).normal(0, 1, (60, encoder.dims)).astype(np.float16)
        demos.add(name, latents, track, np.arange(60), np.ones(60, bool), video=Path(), tags=(name,))
    make_video(folder / "goal.mp4", 60)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_said_of_minerl(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VPT_MINERL_")]:
        monkeypatch.delenv(name)


def frames(count: int) -> list[dict[str, np.ndarray]]:
    made = np.random.default_rng(0).integers(0, 255, (count, 90, 160, 3), dtype=np.uint8)
    return [{"pov": frame} for frame in made]


def asked(name: str, **how: float) -> TextAgent | DemoAgent:
    agent = make_agent(name, None, "luanti", "dirt", 0, Acting(**how))  # type: ignore[arg-type]
    assert isinstance(agent, TextAgent | DemoAgent)
    agent.reset({})
    return agent


def test_goals_change_on_time_and_the_memory_stays(place: Path) -> None:
    text, clip = place / "text", place / "goal.mp4"
    told = asked(f"{text}:chop a tree; 0.5: video:{clip}:2; 1: ")
    follower = load_follower(text)
    agent = GuidedAgent(follower.policy, scale=3.0, min_p=0.001, seed=0)
    goals = {0: follower.goal_of_text("chop a tree"), 10: follower.goal_of_clip(clip, 2.0), 20: None}
    for n, frame in enumerate(frames(30)):
        if n in goals:
            agent.set_goal(goals[n])
        assert told.act(frame) == agent.act(frame)
    assert told.asked == [Ask(0, "chop a tree"), Ask(10, f"video:{clip}:2"), Ask(20, "")]
    assert not np.allclose(goals[0], goals[10])  # type: ignore[arg-type]


def test_a_goal_of_a_video_is_that_of_its_last_frames_before_a_second(place: Path) -> None:
    from prior.text.clips import frames_until

    follower = load_follower(place / "text")
    window = follower.embedder.window
    shown = frames_until(place / "goal.mp4", 2.0, window + 5, follower.embedder.shape.rate)
    assert np.array_equal(follower.goal_of_clip(place / "goal.mp4", 2.0), follower.goal_of_video(shown))
    assert not np.allclose(follower.goal_of_clip(place / "goal.mp4"), follower.goal_of_video(shown))


def test_a_set_is_asked_by_tags_and_goes_on_looking_where_it_looked(place: Path) -> None:
    agent = asked(f"{place / 'set'}:logs; 1: dirt; 2:")
    done = [agent.act(frame) for frame in frames(50)]
    held = [set(action.buttons) for action in done]
    assert held[:20] == [{"attack"}] * 20 and held[20:40] == [{"forward"}] * 20
    assert agent.told()["demo"] in ("logs", "dirt")  # type: ignore[union-attr]
    assert isinstance(agent, DemoAgent) and agent.told()["demo"] in ("logs", "dirt")
    looks = agent._agent._pitch.own  # the demonstrators look further down with each frame
    assert looks > 10 and looks == pytest.approx(sum(action.camera[0] for action in done))
    with pytest.raises(ValueError, match=r"no demonstration with a tag of seeds .*tags there are: dirt, logs"):
        asked(f"{place / 'set'}; 1: seeds")
    with pytest.raises(ValueError, match=r"no embeddings to compare a text with"):
        asked(f"{place / 'set'}; 1: text:dig dirt")


def test_who_can_be_asked(place: Path) -> None:
    for name in ("text", "text:dig", "text:dig; 3: chop", "set", "set:logs", "set:logs; 3: dirt"):
        assert can_be_asked(str(place / name))
    for name in ("random", "scripted:steady", str(place / "prior"), f"zip_2022:{place / 'set'}"):
        assert not can_be_asked(name)
    with pytest.raises(ValueError, match="same demonstrations to the end"):
        make_agent(f"zip_2022:{place / 'set'}; 3: dirt", None, "luanti", "dirt", 0)  # type: ignore[arg-type]


def test_a_play_that_is_asked_leaves_what_it_was_asked_for(place: Path, tmp_path: Path) -> None:
    words = ["--text", "chop a tree", "--then", "0.5:dig dirt", "--seconds", "1", "--captions", "--out", str(tmp_path)]
    assert main(["play", str(place / "text"), *FAKE, *words]) == 0
    (told,) = tmp_path.rglob("*.told.mp4")
    video = told.with_name(told.name.replace(".told", ""))
    assert read_asked(video) == [Ask(0, "chop a tree"), Ask(10, "dig dirt")]
    assert probe(video).frames == probe(told).frames == 20 and probe(told).height > probe(video).height
    assert len(video.with_suffix(".jsonl").read_text().splitlines()) == 20


def test_several_wishes_are_played_from_one_start_and_shown_side_by_side(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--text",
        "chop a tree",
        "dig dirt",
        "pick flowers",
        "--video",
        f"{place / 'goal.mp4'}:1",
        "--seconds",
        "0.5",
    ]
    assert main(["play", str(place / "text"), *FAKE, *words, "--out", str(tmp_path)]) == 0
    (page,) = tmp_path.glob("*-side-by-side.html")
    assert page.with_suffix(".png").is_file() and probe(page.with_suffix(".mp4")).frames == 10
    videos = sorted(tmp_path.glob("videos/*.mp4"))
    assert len(videos) == 4
    starts = {next(iter(_frames(video))).tobytes() for video in videos}
    assert len(starts) == 1, "all begin alike"
    html = page.read_text()
    assert all(words in html for words in ("chop a tree", "dig dirt", "pick flowers", "as in goal.mp4 at 1 s"))
    assert page.name in "".join(capsys.readouterr().err.split())


def _frames(video: Path) -> list[np.ndarray]:
    from data.video import read_frames

    return [frame.rgb for frame in read_frames(video)]


def test_what_is_typed_beforehand_is_asked_for_from_the_start(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "typed").write_text("dirt\nnonsense\nlogs\n\n")
    with (tmp_path / "typed").open() as typed:
        monkeypatch.setattr("sys.stdin", typed)
        words = ["--interactive", "--seconds", "1", "--out", str(tmp_path)]
        assert main(["play", str(place / "set"), *FAKE, *words]) == 0
    (video,) = tmp_path.rglob("*.mp4")
    assert read_asked(video) == [Ask(0, "dirt"), Ask(2, "logs"), Ask(3, "")]
    said = " ".join(capsys.readouterr().err.split())
    assert "0.1 s asked for: logs" in said and "no demonstration with a tag of nonsense" in said


def test_an_evaluation_takes_schedules_and_overlong_texts(place: Path, tmp_path: Path) -> None:
    agents = [f"{place / 'text'}:dig dirt; 0.2: chop a tree", f"{place / 'text'}:{'dig dirt and ' * 60}"]
    words = ["--episodes", "1", "--seconds", "0.5", "--workers", "1", "--out", str(tmp_path)]
    assert main(["evaluate", *agents, *FAKE, *words]) == 0
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert {row["rollout"]["agent"] for row in rows} == set(agents)
    (video,) = tmp_path.glob("videos/*0.2s chop a tree*.mp4")
    assert read_asked(video) == [Ask(0, "dig dirt"), Ask(4, "chop a tree")]


@pytest.mark.parametrize(
    ("agent", "words", "expected"),
    [
        ("text", ["--text", " "], "--text is empty; expected what is to be done"),
        ("text", ["--video", ""], "--video is empty"),
        ("text:", [], "the text after the colon is empty"),
        ("text:dig", ["--text", "chop"], "it is asked twice"),
        ("text:dig; 3: chop", ["--then", "4:walk"], "says itself what is asked for, and when"),
        ("text", ["--then", "dirt"], "expected a second of the episode"),
        ("text", ["--text", "a", "b", "--interactive"], "one thing after another"),
        ("text", ["--text", "a; 3: b"], "read as another one"),
        ("text", ["--video", "gone.mp4"], "gone.mp4: expected a video to take a goal from"),
        ("text", ["--video", "GOAL:99"], "it is 3 seconds long; there is no second 99"),
        ("prior", ["--text", "dig"], "cannot be asked for anything; expected a policy that follows texts"),
        ("prior", ["--interactive"], "--interactive: "),
        ("set", ["--then", "1:seeds"], "tags there are: dirt, logs"),
        ("set", ["--text", "dig"], "no embeddings to compare a text with"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_played(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: str, words: list[str], expected: str
) -> None:
    words = [word.replace("GOAL", str(place / "goal.mp4")) for word in words]
    assert main(["play", f"{place}/{agent}", *FAKE, *words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vpt play: ") and expected in error
    assert not list(tmp_path.rglob("*.mp4"))


def _about(**changed: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "text.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def _copied(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(folder.parent / source, folder / target)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_about(embedder="mincelip:a.pth"), "there is no kind 'mincelip'. Did you mean 'mineclip'?"),
        (_about(embedder="clip:gone"), "cannot be opened (gone/config.json does not exist"),
        (_about(key="clip of others"), "made with the embedder clip of others, to be used with clip "),
        (lambda folder: (folder / "text.json").write_text("{"), "text.json: expected what `vpt train-text` writes"),
        (
            lambda folder: (folder / "goal_prior.safetensors").unlink(),
            "goal_prior.safetensors: expected a file of weights",
        ),
        (_copied("prior/model.safetensors", "goal_prior.safetensors"), "holds no prior of STEVE-1"),
        (_copied("prior/model.safetensors", "model.safetensors"), "net.mineclip_embed_linear.weight"),
        (_copied("text/goal_prior.safetensors", "model.safetensors"), "holds no policy"),
        (
            lambda folder: write_safetensors(folder / "goal_prior.safetensors", GoalPrior(20, 16, 8)),
            "expected one size of embeddings, found {'policy': 32, 'prior from texts': 20, 'embedder': 32}",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_told_of(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], expected: str
) -> None:
    for name in ("text", "prior"):
        shutil.copytree(place / name, tmp_path / name)
    spoil(tmp_path / "text")
    assert main(["play", f"{tmp_path / 'text'}:dig dirt", *FAKE, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vpt play: ") and expected in error and str(tmp_path) in error


def test_a_text_that_is_too_long_is_cut_and_the_person_is_told_what_is_kept(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "dig dirt " * 5 + "chop down the tallest tree " * 20
    assert main(["play", str(place / "text"), *FAKE, "--text", text, "--seconds", "0.2", "--out", str(tmp_path)]) == 0
    (warned,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warned.startswith("vpt play: warning: a text of 110 tokens was cut to the 14 that the model reads")
    assert warned.endswith("is kept what ends with 'dig dirt dig dirt chop down the tallest'")
    follower = Models().follower(place / "text")
    kept = "dig dirt " * 5 + "chop down the tallest"
    with pytest.warns(UserWarning, match="was cut"):
        assert np.array_equal(follower.goal_of_text(text), follower.goal_of_text(kept))
