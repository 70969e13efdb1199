"""`vpt filter` and `vpt thresholds` as their user meets them: the books, bad tables, and a curve that means something."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.actions import ActionTrack
from data.clean_spans import CleanRules
from data.span_table import read_notes, read_spans
from idm.metrics import Predictions
from idm.thresholds import choose, shuffled, threshold_curve
from tests.pipeline.label_files import actions, labels_of, write_recording, write_table
from vpt_pipeline import filter as filter_verb
from vpt_pipeline import thresholds
from vpt_pipeline.filter import FilterConfig, filter_tables
from vpt_pipeline.thresholds import ThresholdsConfig

RULES = CleanRules(smooth=1, tolerate=0)


def play(frames: int = 6000, seed: int = 0) -> tuple[ActionTrack, Predictions]:
    """A labeller that errs the more often the less sure it says it is, in stretches of 50 frames."""
    rng = np.random.default_rng(seed)
    truth = ActionTrack.from_actions(actions(frames))
    sure = np.clip(np.repeat(rng.uniform(0.6, 1.0, frames // 50), 50) + rng.normal(0, 0.05, frames), 0, 0.97)
    wrong = rng.random(frames) > sure
    held = truth.buttons.copy()
    held[wrong, 0] ^= True
    camera = truth.camera + np.where(rng.random((frames, 1)) > sure[:, None], 2.0, 0.0)
    return truth, Predictions(np.where(held, 0.9, 0.1), camera, sure, sure**2, held)


def test_accuracy_rises_as_less_is_kept_and_not_when_confidence_is_shuffled() -> None:
    truth, said = play()
    curve = threshold_curve(truth, said, [3000, 3000], RULES)
    by_share = sorted(curve, key=lambda level: -level.kept.share)
    assert list(curve) == by_share and curve[0].kept.share == 1.0 and len(curve) > 30
    right = [level.kept.action_right for level in curve if level.kept.share > 0.1]
    assert right[-1] - right[0] > 0.2 and np.corrcoef(range(len(right)), right)[0, 1] > 0.9
    noise = [n.kept.action_right for n in threshold_curve(truth, shuffled(said), [3000, 3000], RULES)
             if n.kept.share > 0.1]  # fmt: skip
    assert np.ptp(noise) < 0.06
    assert noise[0] == right[0]


def test_thresholds_keep_in_the_filter_what_the_curve_said(tmp_path: Path) -> None:
    truth, said = play(1000)
    rules = CleanRules(smooth=5, tolerate=8)
    level = choose(threshold_curve(truth, said, [1000], rules), "action", keep=0.6)
    table = labels_of("a", 1000)
    table.conf_buttons[:], table.conf_camera[:] = said.confidence, said.camera_confidence
    chosen = CleanRules(min_buttons=level.min_buttons, min_camera=level.min_camera, smooth=5, tolerate=8, min_frames=1,
                        idle_seconds=100)  # fmt: skip
    # Confidence is float32 in tables: the thresholds must not lie on the wrong side of it.
    said32 = Predictions(said.probabilities, said.camera, table.conf_buttons, table.conf_camera, said.held)
    level = choose(threshold_curve(truth, said32, [1000], rules), "action", keep=0.6)
    chosen = CleanRules.from_dict(
        {**chosen.to_dict(), "min_buttons": level.min_buttons, "min_camera": level.min_camera}
    )
    tally = filter_tables([write_table(tmp_path / "a.parquet", table)], chosen, tmp_path / "clean.parquet")
    assert tally.kept == level.kept.frames and 0.6 <= level.kept.share < 0.75


def test_what_was_asked_for_is_reached_or_refused() -> None:
    truth, said = play()
    curve = threshold_curve(truth, said, [6000], RULES)
    for measure in ("action", "keys", "camera", "events"):
        low, high = curve[0].accuracy(measure) or 0, max(level.accuracy(measure) or 0 for level in curve)
        found = choose(curve, measure, accuracy=(low + high) / 2)
        assert (found.accuracy(measure) or 0) >= (low + high) / 2 and 0 < found.kept.share < 1
    assert 0.5 <= choose(curve, "action", keep=0.5).kept.share < 0.55
    with pytest.raises(ValueError, match=r"no threshold reaches keys and turn right of 1\.0: the best is 0\.9"):
        choose(curve, "action", accuracy=1.0)


def test_a_filter_keeps_the_books_and_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        write_table(tmp_path / "job" / "labels" / f"{name}.parquet", labels_of(name, 300))
    doubtful = labels_of("d", 300)
    doubtful.conf_camera[100:200] = 0.1
    doubtful.cut[50] = True
    write_table(tmp_path / "job" / "labels" / "d.parquet", doubtful)
    whole = (tmp_path / "job" / "labels" / "a.parquet").read_bytes()
    (tmp_path / "job" / "labels" / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "job" / "labels" / "rotten.parquet").write_bytes(_rotten(whole))
    write_table(tmp_path / "job" / "labels" / "e.parquet", labels_of("a", 300))
    out = tmp_path / "clean.parquet"
    config = FilterConfig((tmp_path / "job",), out=out, report=tmp_path / "page.html")
    assert filter_verb.main(config) == 1
    said = capsys.readouterr()
    assert "unsure camera" in said.out and "vpt inspect VIDEO --labels" in said.err.replace("\n", " ")
    table, notes = read_spans(out), read_notes(out)
    assert dict.fromkeys(table.video.tolist()) == dict.fromkeys(["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    assert sum(notes["dropped"].values()) + int((table.stop - table.start).sum()) == notes["frames"] == 1200
    assert len(notes["tables_sha256"]) == 4 and len(notes["left_out"]) == 3
    for name, why in (("broken", "expected a label table"), ("e", "is also in"), ("rotten", "cannot be read")):
        (line,) = [line for line in notes["left_out"] if f"{name}.parquet" in line.split(":")[0]]
        assert why in line
    assert "unsure camera" in (tmp_path / "page.html").read_text()
    again = out.read_bytes()
    filter_verb.main(config)
    assert out.read_bytes() == again
    # A span table among the label tables is no label table, and no problem either.
    out.rename(tmp_path / "job" / "labels" / "old_clean.parquet")
    for name in ("broken", "rotten", "e"):
        (tmp_path / "job" / "labels" / f"{name}.parquet").unlink()
    assert filter_verb.main(config) == 0


def _rotten(table: bytes) -> bytes:
    """A Parquet file whose footer is whole and whose columns are zeros."""
    footer = int.from_bytes(table[-8:-4], "little") + 8
    return table[:4] + bytes(len(table) - footer - 4) + table[-footer:]


def test_nothing_usable_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"none of 1 tables could be used; the first: .*a\.parquet"):
        filter_verb.main(FilterConfig((tmp_path / "a.parquet",), out=tmp_path / "out" / "clean.parquet"))
    assert list((tmp_path / "out").iterdir()) == []


def test_thresholds_are_chosen_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    write_recording(tmp_path / "truth", "a", 200)
    table = labels_of("a", 200)
    table.conf_buttons[:] = np.linspace(0.7, 1.0, 200)
    write_table(tmp_path / "labels" / "a.parquet", table)
    config = ThresholdsConfig((tmp_path / "labels",), truth=(tmp_path / "truth",), out=tmp_path / "out")
    assert thresholds.main(config) == 0
    assert (tmp_path / "out" / "kept_share.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "out" / "thresholds.json").exists() and "Nothing chosen" in capsys.readouterr().err
    keep = ThresholdsConfig(config.labels, truth=config.truth, keep=0.5, out=config.out, smooth=3)
    assert thresholds.main(keep) == 0
    path = tmp_path / "out" / "thresholds.json"
    chosen = json.loads(path.read_text())
    assert chosen["kept_share"] == pytest.approx(0.5, abs=0.02) and chosen["smooth"] == 3
    out = tmp_path / "clean.parquet"
    assert filter_verb.main(FilterConfig((tmp_path / "labels",), out=out, thresholds=path)) == 0
    assert read_spans(out).rules.min_buttons == chosen["min_buttons"] and read_notes(out)["thresholds"]["sha256"]
    both = FilterConfig((tmp_path / "labels",), out=out, thresholds=path, rules=CleanRules(min_camera=0.9))
    with pytest.raises(ValueError, match=r"thresholds\.json: says min_camera .*, but 0\.9 was asked for"):
        filter_verb.main(both)
    with pytest.raises(ValueError, match=r"a\.parquet: expected thresholds as `vpt thresholds` writes them"):
        filter_verb.main(FilterConfig(config.labels, out=out, thresholds=tmp_path / "labels" / "a.parquet"))
    with pytest.raises(ValueError, match="--accuracy is 95"):
        thresholds.main(ThresholdsConfig(config.labels, accuracy=95))
