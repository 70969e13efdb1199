"""`vpt index` and `vpt demos` as their users run them, with the debug policy."""

from __future__ import annotations

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
from search_agent.demos import DemoSet
from search_agent.encoder import PolicyEncoder
from search_agent.session import open_agent
from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import make_video
from vpt_pipeline.agents import make_agent
from vpt_pipeline.cli import main


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
