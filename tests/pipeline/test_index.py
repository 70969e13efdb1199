"""`vpt index` and `vpt demos` as their users run them, with the debug policy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data.contractor import ContractorWriter
from data.recording import find_recordings
from data.video import VideoReader
from prior.checkpoint import save_policy
from prior.config import preset
from prior.episodes import frames_of
from prior.policy import Policy
from prior.text.cvae import GoalPrior
from prior.text.embedding.load import load_embedder
from prior.text.embedding.small_clip import SmallClip, save_clip
from prior.text.embedding.small_clip import preset as clip_preset
from prior.text.follower import Follower, load_follower, save_follower
from prior.text.policy import GoalPolicy
from search_agent.demos import DemoSet
from search_agent.encoder import PolicyEncoder
from search_agent.session import open_agent
from search_agent.ts_agent import TsAgent
from search_agent.wishes import TextWishes
from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import make_model, make_video
from vpt_pipeline.agents import make_agent
from vpt_pipeline.cli import main
from vpt_pipeline.label import LabelConfig, label_videos
from vpt_pipeline.rollout_models import Models


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of recordings, a broken one among them, and two models."""
    folder = tmp_path_factory.mktemp("world")
    for where, seeds in (("logs", (0, 1)), ("dirt", (2, 3))):
        for seed in seeds:
            make_video(folder / where / f"r{seed}.mp4", 80, seed)
            with ContractorWriter(folder / where / f"r{seed}.jsonl") as records:
                track = turning_world(80, seed, (72, 128))[1]
                for index in range(80):
                    records.write(track.action(index))
    (folder / "dirt" / "broken.mp4").write_bytes(b"no video")
    shutil.copy(folder / "dirt" / "r2.jsonl", folder / "dirt" / "broken.jsonl")
    for seed, name in enumerate(("prior", "other")):
        torch.manual_seed(seed)
        save_policy(folder / name, Policy(preset("debug_motion")))
    return folder


def index(world: Path, folder: str, out: Path, model: str = "prior") -> int:
    command = ["index", str(world / folder), "--model", str(world / model), "--out", str(out), "--tag", folder]
    return main([*command, "--cache", str(world / "cache"), "--device", "cpu"])


def test_from_recordings_to_an_agent_and_back(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert index(world, "logs", out) == 0
    assert index(world, "dirt", out) == 1  # one could not be read
    assert "broken.mp4" in capsys.readouterr().err
    demos = DemoSet(out).read().demos
    assert {name: demo.tags for name, demo in demos.items()} == {
        "r0": ("logs",), "r1": ("logs",), "r2": ("dirt",), "r3": ("dirt",),
    }  # fmt: skip
    times = {path: path.stat().st_mtime_ns for path in out.rglob("latents.npy")}
    assert index(world, "logs", out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("latents.npy")} == times  # nothing encoded twice

    assert main(["demos", "disable", str(out), "--tag", "dirt"]) == 0
    assert main(["demos", "tag", str(out), "r1", "--set", "logs", "night", "--text", "chop"]) == 0
    assert main(["demos", "list", str(out)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "2 disabled: r2, r3" in said and "night" in said
    assert main(["demos", "remove", str(out), "r0"]) == 0
    assert not (out / "demos" / "r0").exists()
    assert main(["demos", "remove", str(out), "r7"]) == 2
    assert "there is no demonstration r7" in capsys.readouterr().err
    other = tmp_path / "other"
    assert index(world, "logs", other) == 0
    assert main(["demos", "merge", str(out), "--other", str(other)]) == 1  # r1 is there already
    assert set(DemoSet(out).read().demos) == {"r0", "r1", "r2", "r3"}

    pictures, _ = turning_world(30, 1)
    for name in (f"{out}:night", f"zip_2022:{out}:night"):
        agent = make_agent(name, None, "luanti", "logs", 0)  # type: ignore[arg-type]
        agent.reset({})
        for picture in pictures:
            agent.act({"pov": picture})
    with pytest.raises(ValueError, match="tags there are: dirt, logs, night"):
        open_agent(out, ("nigth",))


def test_a_novices_turns_and_slips_of_the_hand_are_not_copied(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = tmp_path / "play"
    shutil.copytree(world / "logs", play)
    (play / "r0.meta.json").write_text('{"novice_spans": [[0, 80]]}')
    (play / "r1.meta.json").write_text('{"novice_spans": [[0, 20]], "slip_spans": [[30, 33], [50, 51]]}')
    assert index(tmp_path, "play", tmp_path / "set", str(world / "prior")) == 1
    said = "".join(capsys.readouterr().err.split())  # long paths are broken anywhere
    assert "r0.mp4:nothingisdoneinitthatcouldbecopied" in said
    [demo] = DemoSet(tmp_path / "set").read().demos.values()
    apart = {*range(20), *range(30, 33), 50}
    assert demo.name == "r1" and set(demo.rows[~demo.copied].tolist()) == apart & set(demo.rows.tolist())
    assert (
        main(
            ["demos", "merge", str(_empty_copy(tmp_path / "set", tmp_path / "more")), "--other", str(tmp_path / "set")]
        )
        == 0
    )
    assert (DemoSet(tmp_path / "more").read().demos["r1"].copied == demo.copied).all()
    agent = open_agent(tmp_path / "set")
    with VideoReader(find_recordings(play)[1].video) as reader:
        for frame in reader:
            agent.act({"pov": frame.rgb})
            assert agent.step is not None and demo.copied[agent.step.row]


def test_mirrored_pictures_are_followed_the_other_way_round(world: Path, tmp_path: Path) -> None:
    out, both = tmp_path / "set", ["--mirror", "True"]
    command = ["index", str(world / "logs"), "--model", str(world / "prior"), "--out", str(out)]
    assert main([*command, "--cache", str(world / "cache"), "--device", "cpu", *both]) == 0
    assert main(["demos", "merge", str(_empty_copy(out, tmp_path / "more")), "--other", str(out)]) == 0
    with VideoReader(find_recordings(world / "logs")[0].video) as reader:
        frames = [frame.rgb for frame in reader][:20]
    straight, turned = open_agent(out), open_agent(tmp_path / "more")
    assert len(turned.demos) == 4 and len(DemoSet(out).read().demos) == 2
    for frame in frames:
        straight.act({"pov": frame})
        turned.act({"pov": np.ascontiguousarray(frame[:, ::-1])})
    assert not straight.told()["turned"] and turned.told()["turned"]
    assert turned.told()["demo"] == straight.told()["demo"] and turned.told()["frame"] == straight.told()["frame"]


def test_a_model_that_learnt_from_mirrored_episodes_is_asked_for_them(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "prior", tmp_path / "prior")
    for share in (0.5, 0.0):
        (tmp_path / "prior" / "training.json").write_text(json.dumps({"training": {"mirror": share}}))
        assert index(world, "logs", tmp_path / f"set{share}", str(tmp_path / "prior")) == 0
        demos = DemoSet(tmp_path / f"set{share}").read().demos.values()
        assert [demo.mirrored is not None for demo in demos] == [share > 0] * 2


def _empty_copy(demos: Path, folder: Path) -> Path:
    DemoSet.create(folder, DemoSet(demos).info)
    return folder


def test_a_demonstration_seen_again_is_followed_to_the_letter(world: Path, tmp_path: Path) -> None:
    """Frame by frame, the playing agent's latents are those of the index, so each frame finds itself."""
    assert index(world, "logs", tmp_path / "set") == 0
    agent = open_agent(tmp_path / "set")
    recording = find_recordings(world / "logs")[0]
    encoder = PolicyEncoder(str(world / "prior"))
    inputs = frames_of(recording, encoder.shape, world / "cache")
    with VideoReader(recording.video) as reader:
        frames = [frame.rgb for frame in reader]
    rows = np.arange(20)
    again = encoder.encode(inputs, rows)
    fresh = encoder.stream()
    live = np.stack([fresh.look(frame) for frame in frames[:20]])
    np.testing.assert_allclose(live, again.astype(np.float32), atol=2e-2)
    agent.act({"pov": frames[0]})
    assert agent.step is not None and agent.demos[agent.step.demo].name == "r0" and agent.step.row <= 1


def test_another_models_latents_and_a_changed_model_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    shutil.copytree(world / "prior", tmp_path / "model")
    command = ["index", str(world / "logs"), "--model", str(tmp_path / "model"), "--out", str(out)]
    assert main([*command, "--cache", str(world / "cache"), "--device", "cpu"]) == 0
    assert index(world, "logs", out, model="other") == 2
    assert "latents of different models cannot be compared" in " ".join(capsys.readouterr().err.split())
    shutil.copy(world / "other" / "model.safetensors", tmp_path / "model" / "model.safetensors")
    with pytest.raises(ValueError, match="cannot be compared"):
        open_agent(out)


def test_a_model_that_moved_is_told_of_and_found_again(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, first = tmp_path / "set", tmp_path / "model"
    shutil.copytree(world / "prior", first)
    assert index(world, "logs", out, model=str(first)) == 0
    first.rename(tmp_path / "moved")
    expected = rf"{out}: the model that made its latents is not where it was .*vpt index --model MODEL --out {out}"
    with pytest.raises(ValueError, match=expected):
        make_agent(str(out), None, "luanti", "logs", 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=expected):
        open_agent(out)
    assert main(["index", "--out", str(out), "--device", "cpu"]) == 2
    assert "vpt index --model MODEL --out" in " ".join(capsys.readouterr().err.split())
    assert main(["index", "--out", str(out), "--device", "cpu", "--model", str(tmp_path / "moved")]) == 0
    assert open_agent(out).set.info.source == str(tmp_path / "moved")


def test_odd_names_and_videos_without_actions(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "play[b]", tmp_path / "set[b]"
    folder.mkdir()
    for name in ("play (1)", "bob's run"):
        shutil.copy(world / "logs" / "r0.mp4", folder / f"{name}.mp4")
        shutil.copy(world / "logs" / "r0.jsonl", folder / f"{name}.jsonl")
    assert index(tmp_path, folder.name, out, str(world / "prior")) == 0
    assert set(DemoSet(out).read().demos) == {"play _1_", "bob_s run"}
    assert "2 added, 2 demonstrations in" in capsys.readouterr().err
    for path in folder.glob("*.jsonl"):
        path.unlink()
    assert index(tmp_path, folder.name, out, str(world / "prior")) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "passed over: 2 videos without actions (bob's run.mp4, play (1).mp4); expected NAME.jsonl" in said
    assert "nothing to add:" in said and "set[b]" in said.replace(" ", "")


def test_a_mistyped_demonstration_is_not_indexed_over(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert index(world, "logs", out) == 0
    path = out / "demos.toml"
    for typed in (path.read_text().replace("[r0]\nenabled = true", "[r0]\nenabeld = false"), "r0 = 5\n"):
        path.write_text(typed)
        times = {file: file.stat().st_mtime_ns for file in out.rglob("r0/*")}
        capsys.readouterr()
        assert index(world, "logs", out) == 1
        assert "cannot be used:" in capsys.readouterr().err and typed.rstrip() in path.read_text()
        assert {file: file.stat().st_mtime_ns for file in out.rglob("r0*/*")} == times
    assert DemoSet(out).read().demos["r1"].tags == ("logs",)
    path.write_text("")
    assert index(world, "logs", out) == 2 and path.read_text() == ""
    assert "demos.toml is empty, but 2 demonstrations lie in" in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_used_is_told_of_once_where_it_is_played(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, models = tmp_path / "set", Models()
    assert index(world, "logs", out) == 0
    path = out / "demos.toml"
    path.write_text(path.read_text().replace("[r0]\nenabled", "[r0]\nenabeld"))
    capsys.readouterr()
    for name in (str(out), f"zip_2022:{out}", str(out)):
        make_agent(name, None, "luanti", "logs", 0, models=models)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("enabeld") == 1


def test_labels_of_another_video_of_that_name_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, video in (("labelled", "logs/r0.mp4"), ("other", "dirt/r2.mp4"), ("copied", "logs/r0.mp4")):
        (tmp_path / folder).mkdir()
        shutil.copy(world / video, tmp_path / folder / "r0.mp4")
    labels = tmp_path / "labels"
    label_videos(LabelConfig((str(tmp_path / "labelled"),), make_model(tmp_path / "idm"), out=str(labels)))
    for folder, code, said in (("other", 2, "is of another video of that name"), ("copied", 0, "1 added")):
        words = [
            "index",
            str(tmp_path / folder),
            "--labels",
            str(labels),
            "--out",
            str(tmp_path / "set"),
            "--keep-nulls",
        ]
        words += ["--model", str(world / "prior"), "--cache", str(world / "cache"), "--device", "cpu"]
        assert main(words) == code and said in " ".join(capsys.readouterr().err.split())


def test_what_is_seen_stands_beside_what_is_remembered(world: Path, tmp_path: Path) -> None:
    recording = find_recordings(world / "logs")[0]
    encoder = PolicyEncoder(str(world / "prior"))
    inputs, rows = frames_of(recording, encoder.shape, world / "cache"), np.arange(20, 40)
    both, plain = encoder.encode(inputs, rows), PolicyEncoder(str(world / "prior"), seen=False).encode(inputs, rows)
    assert encoder.dims == both.shape[1] == 2 * plain.shape[1]
    later = encoder.encode(inputs, rows[5:])
    half = plain.shape[1]
    assert np.allclose(both[5:, half:], later[:, half:], atol=2e-3), "a picture is the same whatever was before"
    assert not np.allclose(both[5:, :half], later[:, :half], atol=2e-3), "what is remembered is not"
    save_policy(tmp_path / "image", Policy(preset("debug")))
    assert not PolicyEncoder(str(tmp_path / "image")).seen
    with pytest.raises(ValueError, match="its stem sees single pictures"):
        PolicyEncoder(str(tmp_path / "image"), seen=True)


@pytest.fixture(scope="module")
def spaces(world: Path) -> Path:
    """Two embedders, and a policy that follows texts, which has a prior from texts to goals."""
    for seed, name in enumerate(("clip", "other_clip")):
        torch.manual_seed(seed)
        save_clip(world / name, SmallClip(clip_preset("debug")))
    embedder = load_embedder(world / "clip")
    policy = GoalPolicy.of(Policy(preset("debug")), embedder.dims)
    save_follower(world / "follower", Follower(policy, GoalPrior(embedder.dims, 8, 4).eval(), embedder))
    return world


def embed(world: Path, out: Path, embedder: str) -> int:
    return main(
        ["index", "--out", str(out), "--embedder", embedder, "--cache", str(world / "cache"), "--device", "cpu"]
    )


def test_what_is_seen_is_embedded_and_can_be_asked_for(
    spaces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, clip = tmp_path / "set", tmp_path / "clip"
    shutil.copytree(spaces / "clip", clip)
    assert index(spaces, "logs", out) == 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("latents.npy")}
    with pytest.raises(ValueError, match=rf"vpt index --out {out} --embedder EMBEDDER"):
        open_agent(out, text="turn left")
    assert embed(spaces, out, str(clip)) == 0  # of what is there, without another word
    assert index(spaces, "dirt", out) == 1  # and of what is added from then on
    assert times == {path: path.stat().st_mtime_ns for path in times}, "nothing is encoded twice"
    demos = DemoSet(out)
    assert demos.info.embedder == str(clip.resolve()) and demos.info.embedder_dims == 32
    embedder = load_embedder(clip)
    for demo in demos.read().demos.values():
        assert demo.goals is not None and demo.goals.dtype == np.float16 and len(demo.goals) == len(demo)
        with VideoReader(demo.video) as reader:
            frames = np.stack([frame.rgb for frame in reader])
        last = int(demo.rows[-1])
        seen = embedder.encode_video(frames[last - embedder.window + 1 : last + 1])
        np.testing.assert_allclose(demo.goals[-1], seen, atol=4e-3)
    capsys.readouterr()
    assert embed(spaces, out, str(spaces / "other_clip")) == 2
    assert "embeddings of different models cannot be compared" in " ".join(capsys.readouterr().err.split())

    pictures, _ = turning_world(30, 1)
    agent = open_agent(out, ("logs",), text="turn left")
    keys = [agent.act({"pov": picture}) for picture in pictures]
    assert len(keys) == 30 and agent.told()["hope"] is not None
    assert main(["demos", "list", str(out)]) == 0 and "embedded" in capsys.readouterr().err
    merged = tmp_path / "merged"
    assert index(spaces, "logs", merged) == 0 and embed(spaces, merged, str(clip)) == 0
    assert main(["demos", "merge", str(merged), "--other", str(out)]) == 1  # logs are there already
    assert all(demo.goals is not None for demo in DemoSet(merged).read().demos.values())

    demos.read().demos["r0"].video.rename(tmp_path / "away.mp4")
    try:
        (out / "demos" / "r0" / "goals.npy").unlink()
        assert embed(spaces, out, str(clip)) == 1
        assert "not embedded: r0" in " ".join(capsys.readouterr().err.split())
    finally:
        (tmp_path / "away.mp4").rename(demos.read().demos["r0"].video)
    shutil.copy(spaces / "other_clip" / "model.safetensors", clip / "model.safetensors")
    with pytest.raises(ValueError, match="made with the embedder clip"):
        open_agent(out, text="turn left")


def test_a_prior_from_texts_to_goals_is_asked_where_there_is_one(spaces: Path, tmp_path: Path) -> None:
    follower = load_follower(spaces / "follower")
    out = tmp_path / "set"
    assert index(spaces, "logs", out) == 0 and embed(spaces, out, str(spaces / "follower")) == 0
    demos = DemoSet(out)
    wishes = TextWishes(demos)
    np.testing.assert_allclose(wishes.wish("turn left"), follower.goal_of_text("turn left"), atol=1e-6)
    drawn = [wishes.wish("turn left", seed) for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all() and not np.allclose(drawn[0], drawn[2])

    agent = TsAgent(demos)
    agent.want_text("turn left")
    pictures, _ = turning_world(60, 1)
    actions = [agent.act({"pov": picture}) for picture in pictures]
    assert {action.camera for action in actions[:19]} == {(0.0, 20.0)}
    assert agent.step is not None and agent.step.frame is not None and agent.step.nearest >= 0

    for name in (f"ts_bc_2024:{out}:logs; 0: text:turn left; 2: turn right", f"{out}; 0: text:turn left; 1: logs"):
        player = make_agent(name, None, "luanti", "logs", 0)  # type: ignore[arg-type]
        player.reset({})
        for picture in pictures[:45]:
            player.act({"pov": picture})
    with pytest.raises(ValueError, match=r"it searches towards a goal; ask it for something from the start"):
        make_agent(f"ts_bc_2024:{out}", None, "luanti", "logs", 0)  # type: ignore[arg-type]


def test_a_running_agent_never_copies_again_what_was_taken_out(world: Path, tmp_path: Path) -> None:
    """A real model's latents: it is shown the very recording that it copies, whose nearest frames are its own."""
    out = tmp_path / "set"
    assert index(world, "logs", out) == 0
    agent = open_agent(out)
    with VideoReader(find_recordings(world / "logs")[0].video) as reader:
        frames = [frame.rgb for frame in reader]

    def copied(count: int) -> set[str]:
        names = set()
        for frame in frames[:count]:
            agent.act({"pov": frame})
            names.add(agent.told()["demo"])
        return names

    assert "r0" in copied(30)
    assert main(["demos", "remove", str(out), "r0"]) == 0
    copied(10)  # the next look at the set is among these
    assert copied(70) == {"r1"}
    assert main(["demos", "disable", str(out), "r1"]) == 0
    copied(10)
    assert copied(20) == {""}, "nothing is left: it stands still"
    assert index(world, "logs", out) == 0  # both again, one of them still disabled
    copied(10)
    assert copied(30) == {"r0"}
