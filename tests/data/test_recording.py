"""Finding recordings and what belongs to them."""

from pathlib import Path

import pytest

from data.actions import Action
from data.contractor import ContractorWriter
from data.recording import Recording, find_recordings, spans_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_videos_are_found_in_order_with_their_companions(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.mp4", "b.jsonl", "b.meta.json", "a/x.y.MKV", "a/x.y.jsonl", "c.webm", "notes.txt", "metrics.jsonl"
    )
    touch(tmp_path, ".b.1234.part.mp4", ".cache/z.mp4")
    (tmp_path / "folder.mp4").mkdir()
    found = find_recordings(tmp_path)
    assert found == [
        Recording(tmp_path / "a/x.y.MKV", tmp_path / "a/x.y.jsonl"),
        Recording(tmp_path / "b.mp4", tmp_path / "b.jsonl", tmp_path / "b.meta.json"),
        Recording(tmp_path / "c.webm"),
    ]
    assert [recording.name for recording in found] == ["x.y", "b", "c"]
    assert find_recordings(tmp_path / "b.mp4") == [found[1]]
    assert find_recordings(str(tmp_path / "folder.mp4")) == []


def test_a_hidden_parent_of_the_folder_does_not_hide_it(tmp_path: Path) -> None:
    touch(tmp_path, ".data/a.mp4")
    assert len(find_recordings(tmp_path / ".data")) == 1


def test_a_missing_folder_and_an_ambiguous_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: expected a folder"):
        find_recordings(tmp_path / "nowhere")
    touch(tmp_path, "a.mp4", "a.mkv")
    assert len(find_recordings(tmp_path)) == 2
    touch(tmp_path, "a.jsonl")
    with pytest.raises(ValueError, match=r"a\.jsonl: belongs to .*a\.mkv and .*a\.mp4"):
        find_recordings(tmp_path)


def test_loading_actions_and_meta(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    bare = Recording.beside(tmp_path / "a.mp4")
    assert bare.load_meta() == {}
    with pytest.raises(ValueError, match=r"a\.mp4: has no recorded actions; expected a\.jsonl"):
        bare.load_actions()
    with ContractorWriter(tmp_path / "a.jsonl") as writer:
        writer.write(Action(frozenset({"jump"})))
    (tmp_path / "a.meta.json").write_text('{"seed": 3}')
    full = Recording.beside(tmp_path / "a.mp4")
    assert full.load_actions().actions.action(0) == Action(frozenset({"jump"})) and full.load_meta() == {"seed": 3}


@pytest.mark.parametrize("content", ["", "[1]", '{"seed": '])
def test_broken_meta_is_named(tmp_path: Path, content: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "a.meta.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.meta\.json: expected a JSON object"):
        Recording.beside(tmp_path / "a.mp4").load_meta()


def test_who_is_to_be_copied_is_told_by_the_meta_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.meta.json")
    recording = Recording.beside(tmp_path / "a.mp4")
    assert recording.meta is not None
    recording.meta.write_text('{"novice_spans": [[0, 2], [3, 9]]}')
    assert recording.to_copy(5).tolist() == [False, False, True, False, False]
    recording.meta.write_text('{"novice_spans": [[0, 1]], "slip_spans": [[2, 3]]}')
    assert recording.to_copy(4).tolist() == [False, True, False, True]
    recording.meta.write_text("{}")
    assert recording.to_copy(3).all() and Recording(tmp_path / "b.mp4").to_copy(3).all()
    recording.meta.write_text('{"novice_spans": [3]}')
    with pytest.raises(ValueError, match=r"a\.meta\.json: novice_spans is \[3\]; expected pairs"):
        recording.to_copy(5)


def test_spans_are_stretches_of_what_is_true() -> None:
    assert spans_of([True, True, False, True]) == [(0, 2), (3, 4)]
    assert spans_of([]) == spans_of([False]) == []
