"""`vpt eval-idm` pairs labels with truth, judges them, and writes numbers, charts, clips and a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.actions import BUTTONS
from tests.pipeline.label_files import labels_of, write_recording, write_table
from vpt_pipeline import eval_idm
from vpt_pipeline.eval_idm import EvalIdmConfig, main, pair_by_name, read_cases
from vpt_pipeline.label_view import find_labels
from vpt_pipeline.quality import judge

FRAMES = 200


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Recordings a, b, c; right labels of a and b, labels of c that are a frame late."""
    for name in "abc":
        write_recording(tmp_path / "truth", name, FRAMES)
    write_table(tmp_path / "labels" / "first.parquet", labels_of("a", FRAMES), labels_of("videos/b", FRAMES))
    write_table(tmp_path / "labels" / "deep" / "c.parquet", labels_of("c", FRAMES, late=1))
    return tmp_path


def test_labels_are_judged_and_the_results_written(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = files / "out"
    config = EvalIdmConfig(
        (files / "labels",), truth=(files / "truth",), out=out, min_events=20, clips=1, clip_seconds=1
    )
    assert main(config) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["recordings"] == 3 and metrics["frames"] == 3 * FRAMES and metrics["problems"] == []
    assert metrics["mean"]["counted_keys"] == ["forward", "jump"]
    exact, near = metrics["mean"]["events"][:2]
    assert exact["f1"] == pytest.approx(2 / 3, abs=0.02) and near["f1"] == pytest.approx(1.0, abs=0.01)
    assert 0.5 < metrics["camera"][1]["r2"] < 1.0 and metrics["camera"][0]["r2"] is None
    assert sorted(p.name for p in (out / "charts").iterdir()) == [
        "camera.png", "event_f1.png", "kept_share.png", "reliability.png",
    ]  # fmt: skip
    report = (out / "report.html").read_text()
    assert report.count("data:video/mp4") == 1 and "previous frame" in report
    printed = capsys.readouterr().out
    assert "forward" in printed and "camera R²" in printed


def test_what_has_no_truth_is_named_and_counts_as_incomplete(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "truth" / "c.jsonl").unlink()
    noted: list[str] = []
    monkeypatch.setattr(eval_idm, "write_results", lambda out, scores, cases, pairs, notes, **_: noted.extend(notes))
    config = EvalIdmConfig((files / "labels",), truth=(files / "truth",), out=files / "out")
    assert main(config) == 1
    assert len(noted) == 1 and "no c.jsonl among the recorded actions" in noted[0]
    assert "c.jsonl" in capsys.readouterr().err


def test_broken_records_are_left_out_and_reported(files: Path) -> None:
    path = files / "truth" / "a.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:50], "{broken", *lines[51:150]]))
    pairs, _ = pair_by_name(
        find_labels([files / "labels" / "first.parquet"], (".parquet",)), (files / "truth").glob("*.jsonl")
    )
    cases, problems = read_cases(pairs)
    scores = judge(cases)
    assert scores.frames_unknown == 51 and scores.frames == 2 * FRAMES - 51
    assert len(problems) == 2 and "a.jsonl:51" in problems[0] and "200 frames of a" in problems[1]


def test_nothing_to_compare_is_explained(files: Path) -> None:
    with pytest.raises(ValueError, match=r"no labels could be paired .* Names with recorded actions: none"):
        main(EvalIdmConfig((files / "labels",)))
    write_table(files / "labels" / "again.parquet", labels_of("a", FRAMES))
    with pytest.raises(ValueError, match=r"again\.parquet and .*first\.parquet both hold labels of a"):
        main(EvalIdmConfig((files / "labels",), truth=(files / "truth",)))
    write_recording(files / "truth" / "more", "a", 5)
    with pytest.raises(ValueError, match=r"a\.jsonl and .*a\.jsonl have one name"):
        main(EvalIdmConfig((files / "labels",), truth=(files / "truth",)))
    with pytest.raises(ValueError, match="give labels with --truth, or --data with --model"):
        main(EvalIdmConfig((files / "labels",), data=(files / "truth",)))
    with pytest.raises(ValueError, match=r"no recordings in .*labels: expected NAME\.mp4 beside NAME\.jsonl"):
        main(EvalIdmConfig(model=files / "model", data=(files / "labels",)))


def test_a_folder_of_labels_holds_each_video_once(files: Path) -> None:
    folder = files / "labels"
    (folder / "deep" / "c.jsonl").write_text("a copy of c.parquet, from vpt label --contractor")
    write_table(folder / "d.parts" / "part-00000000-00000200.parquet", labels_of("d", FRAMES))
    write_table(folder / ".e.parquet", labels_of("e", FRAMES))
    write_table(folder / "f.parquet", labels_of("take.2", FRAMES))
    assert [file.name for file in find_labels([folder], (".parquet", ".jsonl"))] == ["c", "take.2", "a", "b"]


def test_key_states_are_those_of_the_table_unless_a_threshold_is_asked_for(files: Path) -> None:
    table = labels_of("a", FRAMES)
    forward = BUTTONS.index("forward")
    table.buttons[15, forward] = 0.45  # a frame's doubt in the middle of a press, which the table says goes on
    write_table(files / "doubt.parquet", table)
    pairs, _ = pair_by_name(find_labels([files / "doubt.parquet"], (".parquet",)), (files / "truth").glob("*.jsonl"))
    said, cut = (judge(read_cases(pairs, threshold)[0]).keys[forward] for threshold in (None, 0.5))
    assert said.f1(0) == 1.0
    assert cut.events[0].predicted_events == said.events[0].predicted_events + 2


@pytest.mark.timeout(120)
def test_a_model_labels_recordings_and_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    from idm.checkpoint import save_model
    from idm.config import preset
    from idm.model import InverseDynamicsModel

    video = write_recording(tmp_path / "play", "a", 60)
    (write_recording(tmp_path / "play", "broken", 20)).write_bytes(b"no film")
    save_model(tmp_path / "model", InverseDynamicsModel(preset("debug")))
    seen: list[tuple[int, list[str]]] = []
    monkeypatch.setattr(
        eval_idm, "write_results", lambda out, s, cases, pairs, notes, **_: seen.append((s.frames, notes))
    )
    assert main(EvalIdmConfig(model=tmp_path / "model", data=(tmp_path / "play",), out=tmp_path / "out")) == 1
    assert video.exists() and seen[0][0] == 60
    assert [note.split("/")[-1] for note in seen[0][1]] == ["broken.jsonl: not judged, its video could not be labelled"]
