"""Each rule drops what it says, in its order, and the books balance; span tables are read as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.clean_spans import CleanRules, LabelledFrames, clean_spans, smoothed, tolerated
from data.files import sha256_file
from data.label_parts import write_labels
from data.labels import LabelTable
from data.span_table import clean_table, find_tables, read_notes, read_spans, span_writer
from tests.pipeline.label_files import labels_of, write_table

OPEN = CleanRules(min_buttons=0, min_camera=0, smooth=1, tolerate=0, idle_seconds=1e6, min_frames=1, min_video=0,
                  cut_margin=0)  # fmt: skip
"""Rules that drop nothing; each test turns on one."""


def frames(count: int, **columns: Any) -> LabelledFrames:
    usual: dict[str, Any] = {"conf_buttons": np.ones(count, np.float32), "conf_camera": np.ones(count, np.float32)}
    usual |= {name: np.zeros(count, bool) for name in ("null", "gui", "resampled", "cut")}
    return LabelledFrames("a", **{"frame": np.arange(count, dtype=np.int32), **usual, **columns})


def at(count: int, *where: int | slice) -> Any:
    mask = np.zeros(count, bool)
    for one in where:
        mask[one] = True
    return mask


def spans(labels: LabelledFrames, **rules: Any) -> tuple[list[tuple[int, int]], dict[str, int]]:
    found = clean_spans(labels, CleanRules.from_dict({**OPEN.to_dict(), **rules}))
    dropped = {rule: count for rule, count in found.dropped.items() if count}
    assert sum(dropped.values()) + int((found.stop - found.start).sum()) == found.frames == len(labels)
    return list(zip(found.start.tolist(), found.stop.tolist(), strict=True)), dropped


def test_cuts_and_missing_frames_end_spans() -> None:
    assert spans(frames(50)) == ([(0, 50)], {})
    assert spans(frames(50, cut=at(50, 20))) == ([(0, 20), (20, 50)], {})
    assert spans(frames(50, cut=at(50, 20, 49)), cut_margin=2) == ([(0, 18), (22, 47)], {"beside a cut": 7})
    gap = np.append(np.arange(10), np.arange(15, 25)).astype(np.int32)
    assert spans(frames(20, frame=gap)) == ([(0, 10), (15, 25)], {})
    assert spans(frames(0)) == ([], {})
    with pytest.raises(ValueError, match="frames of video 'a' are not in order"):
        spans(frames(2, frame=np.array([1, 1], np.int32)))


def test_unsure_frames_are_dropped_by_head_and_short_lapses_tolerated() -> None:
    keys, camera = np.ones(60, np.float32), np.ones(60, np.float32)
    keys[10:14], keys[30:35], camera[50:] = 0.5, 0.5, 0.3
    labels = frames(60, conf_buttons=keys, conf_camera=camera)
    assert spans(labels, min_buttons=0.6, min_camera=0.4) == (
        [(0, 10), (14, 30), (35, 50)], {"unsure keys": 9, "unsure camera": 10},
    )  # fmt: skip
    # Four frames are forgiven between sure ones, five are not, and nothing is at the end.
    assert spans(labels, min_buttons=0.6, min_camera=0.4, tolerate=4)[0] == [(0, 30), (35, 50)]
    assert spans(labels, min_camera=0.4, tolerate=30)[0] == [(0, 50)]
    cut = frames(60, conf_buttons=keys, cut=at(60, 12))
    assert spans(cut, min_buttons=0.6, tolerate=4)[0] == [(0, 10), (14, 30), (35, 60)]  # no bank beyond a cut


def test_confidence_is_smoothed_within_a_scene_only() -> None:
    values = np.array([1, 1, 1, 0, 0, 0], np.float32)
    scene = np.array([1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(smoothed(values, 3, scene), [1, 1, 2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(smoothed(values, 3, np.array([1, 1, 1, 2, 2, 2])), values)
    np.testing.assert_allclose(smoothed(values, 1, scene), values)
    lapse = np.ones(40, np.float32)
    lapse[20] = 0.3
    assert spans(frames(40, conf_buttons=lapse), min_buttons=0.6, smooth=11)[0] == [(0, 40)]


def test_tolerance_of_numbers_agrees_with_tolerance_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    values, scene = rng.random(300), np.cumsum(rng.random(300) < 0.03, dtype=np.int64)
    filled = tolerated(values, 4, scene)
    assert (filled >= values).all() and (filled > values).any()
    for threshold in (0.1, 0.4, 0.7):
        np.testing.assert_array_equal(filled >= threshold, tolerated(values >= threshold, 4, scene))


def test_long_idling_is_cut_to_what_touches_the_play() -> None:
    still = frames(200, null=at(200, slice(50, 120)))
    assert spans(still, idle_seconds=1) == ([(0, 60), (110, 200)], {"idle": 50})
    assert spans(still, idle_seconds=3.5) == ([(0, 200)], {})
    assert spans(still, idle_seconds=0) == ([(0, 50), (120, 200)], {"idle": 70})
    assert spans(frames(200, null=at(200, slice(0, 60))), idle_seconds=1) == ([(40, 200)], {"idle": 40})
    assert spans(frames(200, null=at(200, slice(140, 200))), idle_seconds=1) == ([(0, 160)], {"idle": 40})


def test_flags_short_spans_and_unsure_videos() -> None:
    labels = frames(100, gui=at(100, slice(40, 60)), resampled=at(100, slice(50, 80)))
    assert spans(labels) == ([(0, 100)], {})
    assert spans(labels, gui="drop", resampled="drop") == ([(0, 40), (80, 100)], {"GUI open": 20, "resampled": 20})
    assert spans(labels, gui="drop", min_frames=41) == ([], {"GUI open": 20, "short span": 80})
    half = np.full(100, 0.45, np.float32)
    assert spans(frames(100, conf_camera=half), min_video=0.5) == ([], {"unsure video": 100})
    assert clean_spans(frames(100, conf_camera=half), OPEN).confidence == pytest.approx([0.45])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"min_buttons": 1.5}, "min_buttons is 1.5; expected a confidence"),
        ({"min_frames": 0}, "min_frames is 0; expected 1 or more"),
        ({"idle_seconds": float("nan")}, "idle_seconds is nan"),
        ({"gui": "maybe"}, "gui is 'maybe'; expected 'keep' or 'drop'"),
    ],
)
def test_impossible_rules_are_refused(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CleanRules(**setting)


def test_tables_are_read_a_video_at_a_time_and_written_as_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", _small_batches)
    a, b = labels_of("a", 130), labels_of("b", 90, sure=0.55)
    a.cut[100] = True
    path = write_table(tmp_path / "labels" / "two.parquet", a, b)
    rules = CleanRules(min_frames=20, cut_margin=0, min_video=0)
    cleaned = clean_table(path, rules)
    assert [(v.video, v.start.tolist(), v.stop.tolist()) for v in cleaned.videos] == [
        ("a.mp4", [0, 100], [100, 130]), ("b.mp4", [], []),
    ]  # fmt: skip
    with span_writer(tmp_path / "clean.parquet", rules, {"frames": 220}) as writer:
        writer.add(cleaned)
    table = read_spans(tmp_path / "clean.parquet")
    assert (table.video.tolist(), table.stop.tolist(), table.rules) == (["a.mp4", "a.mp4"], [100, 130], rules)
    np.testing.assert_allclose(table.confidence, 0.9, rtol=1e-6)
    notes = read_notes(tmp_path / "clean.parquet")
    assert notes == {"frames": 220, "rules": rules.to_dict(), "tables_sha256": {str(path): sha256_file(path)}}
    with pytest.raises(ValueError, match=r"two\.parquet: expected a table of clean spans"):
        read_spans(path)
    write_labels(_interleaved(a, b), tmp_path / "mixed.parquet")
    with pytest.raises(ValueError, match=r"mixed\.parquet: the rows of video 'a\.mp4' are not together"):
        clean_table(tmp_path / "mixed.parquet", rules)


def test_label_tables_are_found_in_folders_of_every_kind(tmp_path: Path) -> None:
    job = tmp_path / "job"
    for name in ("labels/b.parquet", "labels/a.parquet", "work/c.parquet"):
        write_table(job / name, labels_of(name[-9], 20))
    write_table(job / "labels" / "d.parts" / "part-00000000-00000020.parquet", labels_of("d", 20))
    write_table(job / "labels" / ".e.parquet", labels_of("e", 20))
    assert [path.name for path in find_tables([job])] == ["a.parquet", "b.parquet"]
    assert [path.name for path in find_tables([job / "work", job / "work" / "c.parquet"])] == ["c.parquet"]
    (tmp_path / "empty").mkdir()
    for name, says in (("none", "found nothing there"), ("empty", "found none")):
        with pytest.raises(ValueError, match=f"{name}: expected .*{says}"):
            find_tables([job, tmp_path / name])


def _interleaved(a: LabelTable, b: LabelTable) -> LabelTable:
    names = LabelTable.__dataclass_fields__
    return LabelTable(**{n: np.concatenate([getattr(a[:9], n), getattr(b, n), getattr(a[9:], n)]) for n in names})


_iter_batches = pq.ParquetFile.iter_batches


def _small_batches(file: Any, **options: Any) -> Any:
    return _iter_batches(file, batch_size=37, **options)
