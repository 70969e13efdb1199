"""`vpt train-prior`, `vpt evaluate` and `vpt play` as their users run them, with the debug policy."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.contractor import ContractorWriter
from data.labels import LabelTable
from prior.checkpoint import from_pretrained
from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import make_model, make_video
from vpt_pipeline import rollout as rollouts
from vpt_pipeline.envs.luanti import GameDied
from vpt_pipeline.evaluate import EvaluateConfig, evaluate, plans_of, score, scores_of, table_of
from vpt_pipeline.label import LabelConfig, label_videos
from vpt_pipeline.rollout import Rollout, RolloutPlan, roll_out
from vpt_pipeline.tasks import TASKS
from vpt_pipeline.train_prior import TrainPriorConfig, train


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with actions, one of which is cut short, and one that is no video."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(4):
        make_video(folder / f"r{seed}.mp4", 90, seed)
        _, track = turning_world(90, seed, (72, 128))
        with ContractorWriter(folder / f"r{seed}.jsonl") as records:
            for index in range(90 if seed < 3 else 40):
                records.write(track.action(index))
    (folder / "broken.mp4").write_bytes(b"no video")
    shutil.copy(folder / "r0.jsonl", folder / "broken.jsonl")
    return folder


def settings(recordings: Path, out: Path, **changed: object) -> TrainPriorConfig:
    config = TrainPriorConfig(
        (recordings,), out=out, preset="debug", recipe="debug", cache=out.parent / "cache", device="cpu"
    )
    return replace(config, nulls="keep", steps=4, **changed)  # type: ignore[arg-type]


def test_training_leaves_out_what_it_cannot_use_and_says_so(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(settings(recordings, tmp_path / "prior"))
    said = " ".join(capsys.readouterr().err.split())
    assert "broken.mp4: expected a video file" in said
    assert "90 frames at 20 Hz but 40 action records" in said
    assert "in 2 recordings (nulls: keep), 1 held back" in said
    assert np.isfinite(metrics["validation_loss"])
    lines = (tmp_path / "prior" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    policy = from_pretrained(tmp_path / "prior")
    assert policy.config.hidden == 32

    more = replace(
        settings(recordings, tmp_path / "tuned"), start=str(tmp_path / "prior"), recipe="bc_house", batch=4, chunk=8
    )
    train(more)
    tuned = from_pretrained(tmp_path / "tuned")
    changed = [(a - b).abs().max() for a, b in zip(policy.parameters(), tuned.parameters(), strict=True)]
    assert 0 < max(changed) < 0.01, "fine-tuning begins with the weights it was given"


def test_killed_then_without_room_on_the_disk_then_finished_is_as_if_nothing_had_been(
    recordings: Path, tmp_path: Path
) -> None:
    """All in processes of their own: tests before may have left this one with other numbers of threads."""

    def run(out: Path) -> list[str]:
        command = [sys.executable, "-m", "vpt_pipeline", "train-prior", str(recordings), "--out", str(out)]
        command += ["--preset", "debug", "--recipe", "debug", "--nulls", "keep", "--steps", "60", "--save-every", "5"]
        return [*command, "--validate-every", "60", "--cache", str(tmp_path / "cache"), "--device", "cpu"]

    def told(file: Path) -> str:  # a comparison of the bytes themselves is told of at great length
        return hashlib.sha256(file.read_bytes()).hexdigest()

    assert subprocess.run(run(tmp_path / "whole"), check=False, stderr=subprocess.DEVNULL).returncode == 0
    out = tmp_path / "stopped"
    command = run(out)
    log, resume = out / "metrics.jsonl", out / "resume.pt"
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 100
    while time.monotonic() < until and not (log.exists() and len(log.read_text().splitlines()) > 12):
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not (out / "model.safetensors").exists()

    kept, size = told(resume), resume.stat().st_size
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, resource.RLIM_INFINITY))"
    arguments = repr(command[3:])
    full = subprocess.run(
        [sys.executable, "-c", f"{limit}\nfrom vpt_pipeline.cli import main\nraise SystemExit(main({arguments}))"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = " ".join(full.stderr.split())
    assert full.returncode and "resume.pt: File too large; free space there" in said and "Traceback" not in said
    assert told(resume) == kept

    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    assert told(out / "model.safetensors") == told(tmp_path / "whole" / "model.safetensors")


def test_labels_take_the_place_of_what_was_recorded(recordings: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "idm")
    videos = tuple(str(recordings / f"r{seed}.mp4") for seed in range(4))
    label_videos(LabelConfig(videos=videos, model=model, out=str(tmp_path / "labels")))
    only = tmp_path / "videos"
    only.mkdir()
    for seed in range(4):
        shutil.copy(recordings / f"r{seed}.mp4", only)
    for doubts in ("keep", "weight"):
        out = tmp_path / doubts
        metrics = train(settings(only, out, labels=(tmp_path / "labels",), doubts=doubts))
        assert np.isfinite(metrics["loss"])
    with pytest.raises(ValueError, match="nothing to clone"):  # an untrained model is sure of nothing
        assert LabelTable.read(tmp_path / "labels" / "r0.parquet").low_confidence.all()
        train(settings(only, tmp_path / "mask", labels=(tmp_path / "labels",), doubts="mask"))
    with pytest.raises(ValueError, match=r"hotbar is 0\.3, but .*videos do not tell which slot .* labels of a model"):
        train(settings(only, tmp_path / "slots", labels=(tmp_path / "labels",), hotbar=0.3))
    assert "accuracy_hotbar" in train(settings(recordings, tmp_path / "told", hotbar=0.3))
    with pytest.raises(ValueError, match="expected one, or as many"):
        train(settings(only, tmp_path / "x", labels=(tmp_path, tmp_path)))


def test_a_rollout_in_the_game_and_its_table(recordings: Path, tmp_path: Path) -> None:
    train(settings(recordings, tmp_path / "prior"))
    agents = (str(tmp_path / "prior"), "random", "scripted")
    config = EvaluateConfig(agents, ("travel",), 1, seconds=2, out=tmp_path / "evaluation", size=(160, 90))
    scores = evaluate(config)
    assert [s.agent for s in scores] == list(agents) and all(s.episodes == 1 and s.failed == 0 for s in scores)
    kept = (tmp_path / "evaluation" / "episodes.jsonl").read_text()
    assert len(list((tmp_path / "evaluation" / "videos").glob("*.mp4"))) == 3
    evaluate(config)
    assert (tmp_path / "evaluation" / "episodes.jsonl").read_text() == kept, "finished episodes are not played again"
    assert "travel (m)" in (tmp_path / "evaluation" / "table.md").read_text()


def test_a_game_that_dies_is_started_again_and_one_that_always_dies_has_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = RolloutPlan("random", "luanti", "logs", 1_000_000, 10)
    begun = []

    class Dying:
        def __init__(self) -> None:
            begun.append(self)

        def reset(self, **_: object) -> None:
            raise GameDied("it crashed")

        def close(self) -> None:
            pass

    monkeypatch.setattr(rollouts, "make_env", lambda game, size: Dying())
    threads = torch.get_num_threads()
    rollout = roll_out(replace(plan, threads=threads))
    assert len(begun) == 3 and rollout.result is None and "it crashed" in rollout.error


_ALL = dict.fromkeys(TASKS, 0.0)


def test_failed_episodes_are_counted_apart_from_results() -> None:
    def one(seed: int, result: float | None) -> Rollout:
        measures = None if result is None else {"logs": result, "dirt": 1.0}
        return Rollout("random", "logs", seed, 1, result, None, measures=measures)

    found = score([one(1, 4.0), one(2, None), one(3, 0.0), one(4, 2.0)])
    assert (found.mean, found.episodes, found.failed) == (2.0, 3, 1)
    assert found.success == pytest.approx(1 / 3)
    assert found.interval is not None and 0 <= found.interval[0] < 2 < found.interval[1] <= 4
    assert table_of([found])[1][1].endswith("33%, 1 failed to run")
    assert table_of([score([one(1, None)])])[1][1] == "failed to run"
    free = scores_of(
        [replace(one(seed, 2.0 * seed), task="freeplay", measures=_ALL | {"logs": seed}) for seed in range(4)]
    )
    assert [s.measure for s in free] == [name for name in TASKS if name != "freeplay"]
    assert [row[0] for row in table_of(free)][2] == "freeplay: logs (logs)" and free[1].mean == 1.5


def test_unknown_tasks_and_agents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown task 'log'"):
        plans_of(EvaluateConfig(("random",), ("log",)))
    with pytest.raises(ValueError, match="nowhere"):
        plans_of(EvaluateConfig((str(tmp_path / "nowhere"),), ("logs",)))


@pytest.mark.parametrize("stem", ["debug", "debug_motion"])
def test_decoding_while_training_ends_with_the_same_weights_and_keeps_nothing(
    recordings: Path, tmp_path: Path, stem: str
) -> None:
    kept = replace(settings(recordings, tmp_path / "kept"), preset=stem, steps=12, nulls="drop")
    streamed = replace(kept, out=tmp_path / "streamed", stream=True, cache=tmp_path / "nothing")
    told = [train(config) for config in (kept, streamed)]
    weights = [(config.out / "model.safetensors").read_bytes() for config in (kept, streamed)]
    assert weights[0] == weights[1]
    assert told[0]["validation_loss"] == told[1]["validation_loss"]
    assert not (tmp_path / "nothing").exists()
