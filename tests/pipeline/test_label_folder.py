"""Which table is a video's, where videos in several folders have one name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.files import sha256_file
from data.label_folder import LabelFolder
from data.label_parts import write_labels
from data.manifest import Manifest, VideoEntry
from tests.pipeline.label_files import labels_of, write_table
from vpt_pipeline.label import find_videos


@pytest.fixture
def named(tmp_path: Path) -> dict[str, Path]:
    """Videos of one name by the names that `vpt label` gives them, with tables in labels/."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r#0.mp4").write_bytes(folder.encode())
    found = {name: Path(source.url) for name, source in find_videos([tmp_path / "a", tmp_path / "b"]).items()}
    for frames, name in enumerate(found, 5):
        write_labels(labels_of(name, frames), tmp_path / "labels" / f"{name}.parquet")
    return found


def by_names(folder: Path, named: dict[str, Path]) -> None:
    pass


def by_manifest(folder: Path, named: dict[str, Path]) -> None:
    entries = {name: VideoEntry("done", sha256_file(video)) for name, video in named.items()}
    Manifest("m", {}, entries | {"later": VideoEntry()}).save(folder / "manifest.json")


def by_cluster(folder: Path, named: dict[str, Path]) -> None:
    rows = {"name": list(named), "source_sha256": [sha256_file(video) for video in named.values()], "rows": [5, 6]}
    pq.write_table(pa.table(rows), folder.parent / "manifest.parquet")


@pytest.mark.parametrize("known", [by_names, by_manifest, by_cluster])
def test_each_of_two_videos_of_one_name_has_its_own_labels(named: dict[str, Path], tmp_path: Path, known) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "labels"
    known(folder, named)
    first, second = named.values()
    assert (first.parent.name, second.parent.name) == ("a", "b") and next(iter(named)) == "r_0"
    assert len(LabelFolder(folder).read(first)) == 5 and len(LabelFolder(folder).read(second)) == 6
    second.write_bytes(b"another")
    (folder / f"{list(named)[1]}.parquet").unlink()
    if known is not by_names:  # names alone do not tell
        with pytest.raises(
            ValueError, match=r"b/r#0.mp4: .*labels/r_0.parquet is of another video of that name, as .*man"
        ):
            LabelFolder(folder).read(second)
    (folder / "r_0.parquet").unlink()
    with pytest.raises(ValueError, match=r"b/r#0.mp4: no labels in .*labels/r_0.parquet; `vpt label` writes them"):
        LabelFolder(folder).read(second)


def test_a_table_of_other_videos_is_refused(named: dict[str, Path], tmp_path: Path) -> None:
    table, video = tmp_path / "labels" / "r_0.parquet", next(iter(named.values()))
    for tables in ([labels_of("r_1", 5)], [labels_of("r_0", 5), labels_of("r_1", 5)]):
        write_table(table, *tables)
        with pytest.raises(ValueError, match=r"r_0.parquet: labels of .*r_1.mp4, expected those of r_0 alone"):
            LabelFolder(table.parent).read(video)
