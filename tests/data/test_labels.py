"""The label table: what is written is read, the same rows are the same bytes, and a job's parts make one table."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from data import label_parts
from data.actions import BUTTON_INDEX, BUTTONS, CameraQuantizer
from data.contractor import read_contractor
from data.label_parts import find_parts, frames_done, merge_parts, span_of, write_labels, write_part
from data.labels import SCHEMA, LabelTable, check_schema, write_contractor
from data.manifest import Manifest, VideoEntry


def labels(video: str = "a", count: int = 50, first: int = 0, seed: int = 0) -> LabelTable:
    """Random labels of ``count`` frames; frame n of a video is the same whatever span it is made in."""
    end = first + count

    def random(column: int, *width: int) -> NDArray[np.float64]:
        """A stream a column, so that a row does not depend on how many there are."""
        return np.random.default_rng([seed, len(video), column]).random((end, *width))[first:]

    p = random(0, 20).astype(np.float32)
    bins = (random(1, 2) * 11).astype(np.int8)
    camera = CameraQuantizer().undiscretize(bins) + 0.01
    frames = np.arange(first, end)
    return LabelTable.from_predictions(
        video, first_frame=first, source_frame=frames * 3 // 2, pts=frames * 512 + 7, time_base=Fraction(1, 15360),
        buttons=p, camera=camera, camera_bin=bins, conf_camera=random(2),
        gui=frames % 7 == 0, resampled=frames % 5 == 0, cut=frames % 11 == 3, hotbar=frames // 4 % 10 - 1,
    )  # fmt: skip


def join(tables: list[LabelTable]) -> LabelTable:
    return LabelTable.from_arrow(pa.concat_tables([table.to_arrow() for table in tables]))


def assert_equal(one: LabelTable, two: LabelTable) -> None:
    for name in one.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = join([labels("a"), labels("folder/b.mp4", 30)])
    write_labels(table, tmp_path / "labels.parquet")
    assert_equal(LabelTable.read(tmp_path / "labels.parquet"), table)
    assert table.videos == ["a", "folder/b.mp4"] and check_schema(tmp_path / "labels.parquet") == 80
    assert_equal(LabelTable.read(tmp_path / "labels.parquet", video="folder/b.mp4"), labels("folder/b.mp4", 30))
    assert_equal(table.of_video("a"), labels("a"))
    with pytest.raises(ValueError, match=r"no label of video 'c'.*a, folder"):
        table.of_video("c")


def test_columns_are_what_other_tools_are_told(tmp_path: Path) -> None:
    write_labels(labels(), tmp_path / "labels.parquet")
    found = pq.read_table(tmp_path / "labels.parquet")
    assert found.schema.names[:6] == ["video", "frame", "source_frame", "pts", "time_base_num", "time_base_den"]
    assert [f"p_{button}" for button in BUTTONS] == found.schema.names[6:26]
    assert [f"held_{button}" for button in BUTTONS] == found.schema.names[26:46]
    assert found.schema.names[46:] == [
        "camera_pitch", "camera_yaw", "camera_pitch_bin", "camera_yaw_bin", "conf_buttons", "conf_camera",
        "null", "gui", "resampled", "low_confidence", "cut", "hotbar",
    ]  # fmt: skip
    only = pq.read_table(tmp_path / "labels.parquet", columns=["p_hotbar.1"])
    np.testing.assert_array_equal(only.column(0).to_numpy(), labels().buttons[:, BUTTON_INDEX["hotbar.1"]])


def test_tables_of_earlier_versions_are_read_and_merged(tmp_path: Path) -> None:
    """Version 1 knew no cuts, and neither it nor version 2 the slots of the hotbar."""
    for n, (version, lacked) in enumerate({"1": ["cut", "hotbar"], "2": ["hotbar"]}.items()):
        old = labels(first=50 * n).to_arrow().drop_columns(lacked).replace_schema_metadata({"vpt_labels": version})
        pq.write_table(old, tmp_path / f"{version}.parquet")
    unknown = {"cut": np.zeros(50, bool), "hotbar": np.full(50, -1, np.int8)}
    table = LabelTable.read(tmp_path / "1.parquet")
    assert_equal(table, LabelTable(**{**labels().__dict__, **unknown}))
    assert labels().cut.any() and LabelTable.read(tmp_path / "1.parquet", video="a").cut.sum() == 0
    write_part(labels(first=100), tmp_path)
    parts = [tmp_path / "1.parquet", tmp_path / "2.parquet", *find_parts(tmp_path)]
    assert merge_parts(parts, tmp_path / "all.parquet") == 150
    merged = LabelTable.read(tmp_path / "all.parquet")
    assert np.flatnonzero(merged.cut)[0] == 58 and (merged.hotbar[:100] == -1).all()
    np.testing.assert_array_equal(merged.hotbar[100:], labels(first=100).hotbar)


def test_confidence_and_flags_follow_from_the_predictions() -> None:
    p = np.full((4, 20), 0.1, np.float32)
    p[1, 3] = 0.45
    p[2, BUTTON_INDEX["forward"]] = 0.9
    table = LabelTable.from_predictions(
        "a", first_frame=5, source_frame=[0, 1, 2, 3], pts=[0, 1, 2, 3], time_base=Fraction(1, 20), buttons=p,
        camera=[[0.1, -0.1], [0.0, 0.0], [0.0, 0.0], [0.0, 2.0]], camera_bin=[[5, 5], [5, 5], [5, 5], [5, 7]],
        conf_camera=[0.9, 0.9, 0.5, 0.9], gui=[0, 0, 0, 1], resampled=[0, 1, 0, 0],
    )  # fmt: skip
    assert table.frame.tolist() == [5, 6, 7, 8] and table.time_base.tolist() == [[1, 20]] * 4
    np.testing.assert_allclose(table.conf_buttons, [0.9, 0.55, 0.9, 0.9])
    assert table.null.tolist() == [True, True, False, False]
    assert table.low_confidence.tolist() == [False, True, True, False]
    assert table.gui.tolist() == [False, False, False, True]
    actions = table.to_actions()
    assert actions.is_null.tolist() == [True, True, False, False]
    assert actions.action(2).buttons == {"forward"} and actions.action(3).camera == (0.0, 2.0)
    assert actions.gui_open.tolist() == [False, False, False, True] and actions.valid.all()
    assert table.to_actions(threshold=0.4).action(1).buttons == {BUTTONS[3]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": np.zeros(3, np.int32)}, r"frame is int32 \(3,\), expected int32 \(50,\)"),
        ({"pts": np.zeros(50, np.int32)}, "pts is int32"),
        ({"buttons": np.full((50, 20), np.nan, np.float32)}, "buttons holds values that are no probabilities"),
        ({"conf_camera": np.full(50, 1.5, np.float32)}, "conf_camera holds"),
        ({"camera": np.full((50, 2), np.inf, np.float32)}, "camera holds values that are not finite"),
        ({"hotbar": np.full(50, 9, np.int8)}, "hotbar holds other values than the slots 0 to 8"),
    ],
)
def test_impossible_tables_are_refused(change: dict[str, Any], says: str) -> None:
    table = labels()
    values = {name: getattr(table, name) for name in table.__dataclass_fields__} | change
    with pytest.raises(ValueError, match=says):
        LabelTable(**values)


def test_the_same_rows_are_the_same_bytes_however_they_were_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_parts, "ROWS_PER_GROUP", 64)
    write_labels(join([labels("a", 300), labels("bb", 77)]), tmp_path / "whole.parquet")
    generator = np.random.default_rng(0)
    for trial in range(5):
        parts = []
        for video, count in (("a", 300), ("bb", 77)):
            cuts = [0, *sorted(set(generator.integers(1, count, trial * 3).tolist())), count]
            for start, stop in pairwise(cuts):
                parts.append(write_part(labels(video, stop - start, start), tmp_path / str(trial) / video))
            assert find_parts(tmp_path / str(trial) / video) == [p for p in parts if p.parent.name == video]
        merged = tmp_path / f"{trial}.parquet"
        assert merge_parts(parts, merged) == 377
        assert merged.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    with pq.ParquetFile(merged) as file:
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [64] * 5 + [57]


def test_parts_say_how_far_a_job_is(tmp_path: Path) -> None:
    assert find_parts(tmp_path / "none") == [] and frames_done([]) == 0
    for first, count in ((0, 10), (10, 20), (40, 5)):
        write_part(labels(count=count, first=first), tmp_path)
    (tmp_path / ".part-00000030-00000040.ab12.part.parquet").write_bytes(b"unfinished")
    parts = find_parts(tmp_path)
    assert [span_of(part) for part in parts] == [(0, 10), (10, 30), (40, 45)] and frames_done(parts) == 30
    with pytest.raises(ValueError, match="expected a name like part-"):
        span_of(tmp_path / "labels.parquet")
    with pytest.raises(ValueError, match="consecutive frames of one video"):
        write_part(labels()[::2], tmp_path)


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ([("a", 0, 10), ("a", 20, 5)], "frame 20 follows frame 9, expected 10"),
        ([("a", 0, 10), ("a", 5, 10)], "frame 5 follows frame 9, expected 10"),
        ([("a", 0, 10), ("bb", 0, 5), ("a", 10, 5)], "video 'a' turns up again"),
    ],
)
def test_a_merge_with_gaps_or_repeats_is_refused(tmp_path: Path, spans: list[tuple[str, int, int]], says: str) -> None:
    parts = [write_part(labels(v, n, first), tmp_path / str(i)) for i, (v, first, n) in enumerate(spans)]
    with pytest.raises(ValueError, match=says):
        merge_parts(parts, tmp_path / "out" / "labels.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_merge_holds_one_row_group_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_parts, "ROWS_PER_GROUP", 100)
    parts = [write_part(labels(count=90, first=90 * n), tmp_path / "parts") for n in range(30)]
    seen = 0
    original = pa.concat_tables

    def watched(tables: list[pa.Table], *args: Any) -> pa.Table:
        nonlocal seen
        seen = max(seen, sum(map(len, tables)))
        return original(tables, *args)

    monkeypatch.setattr(pa, "concat_tables", watched)
    assert merge_parts(parts, tmp_path / "labels.parquet") == 2700 and 100 <= seen < 200


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write_labels(labels()[:0], tmp_path / "labels.parquet")
    assert len(LabelTable.read(tmp_path / "labels.parquet")) == 0
    with pytest.raises(ValueError, match="no parts"):
        merge_parts([], tmp_path / "x.parquet")


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    pq.write_table(pa.table({"video": ["a"]}), tmp_path / "other.parquet")
    old = SCHEMA.with_metadata({"vpt_labels": "0"})
    pq.write_table(labels().to_arrow().cast(old), tmp_path / "old.parquet")
    for name, says in (
        ("text", "expected a label table"),
        ("none", "expected a label table"),
        ("other", "expected a label table of version 3, found version none with columns video"),
        ("old", "expected a label table of version 3, found version 0"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.parquet: {says}"):
            LabelTable.read(tmp_path / f"{name}.parquet")


def test_labels_become_a_contractor_file_with_the_same_actions(tmp_path: Path) -> None:
    table = labels(count=200)
    write_contractor(table, tmp_path / "a.jsonl", threshold=0.7)
    track = read_contractor(tmp_path / "a.jsonl")
    expected = table.to_actions(0.7)
    np.testing.assert_array_equal(track.actions.buttons, expected.buttons)
    np.testing.assert_allclose(track.actions.camera, expected.camera, rtol=1e-6)
    np.testing.assert_array_equal(track.actions.gui_open, expected.gui_open)
    assert track.actions.is_null.tolist() == expected.is_null.tolist() and track.problems == []
    with pytest.raises(ValueError, match=r"b\.jsonl: expected the labels of one whole video"):
        write_contractor(table[10:], tmp_path / "b.jsonl")


def test_a_manifest_resumes_its_own_job_only(tmp_path: Path) -> None:
    manifest = Manifest("abc", {"window": 128, "threshold": 0.5}, {"a.mp4": VideoEntry("done", "ff", 600)})
    manifest.videos["b.mp4"] = VideoEntry("failed", error="b.mp4: empty")
    manifest.save(tmp_path / "manifest.json")
    again = Manifest.load(tmp_path / "manifest.json")
    assert again == manifest
    again.require_same_job("abc", {"threshold": 0.5, "window": 128})
    with pytest.raises(ValueError, match=r"differs in the model, window \(was 128, is 64\)"):
        again.require_same_job("abd", {"window": 64, "threshold": 0.5})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 9}',
        '{"version": 1, "model_sha256": "", "config": {}, "videos": {"a": {"status": "x"}}}',
    ],
)
def test_other_json_is_no_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: expected the manifest"):
        Manifest.load(tmp_path / "manifest.json")
    assert content != "{}" or json.loads(content) == {}
