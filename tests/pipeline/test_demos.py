"""`vpt demos` where people mistype: nothing outside the set is touched, and nothing is lost that was not meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from search_agent.demos import DemoSet
from tests.search_agent.test_demos import INFO, add
from vpt_pipeline.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = DemoSet.create(tmp_path / "set", INFO)
    for number in range(3):
        add(made, f"d{number}", tags=("logs",) if number else (), seed=number)
    return made.folder


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "demos.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def vpt(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["demos", *map(str, words)])
    return code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["../../precious", "../demos/d0", "", ".", "..", "/abs"])
def test_nothing_outside_the_set_is_removed(
    folder: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    name = str(tmp_path / "precious") if name == "/abs" else name
    edit(folder, "[d2]", f'["{name}"]')
    before = sorted(tmp_path.rglob("*"))
    for chosen in ((name,), ("--tag", "logs")):
        code, said = vpt(capsys, "remove", folder, *chosen)
        assert code == 2 and "demos.toml: a demonstration cannot be called" in said
        assert sorted(tmp_path.rglob("*")) == before and "[d0]" in (folder / "demos.toml").read_text()


def test_a_link_is_removed_and_what_cannot_be_deleted_is_told_of(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = folder / "demos" / "d1"
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    assert vpt(capsys, "remove", folder, "d1") == (0, "1 removed: d1")
    assert not linked.is_symlink() and len(list((tmp_path / "elsewhere").iterdir())) == 2

    def refuse(path: Path) -> None:
        raise PermissionError(f"not yours: {path}")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    code, said = vpt(capsys, "remove", folder, "d2")
    assert code == 1 and "1 removed: d2 not deleted: not yours:" in said
    assert vpt(capsys, "list", folder)[0] == 1  # it lies there unlisted


def test_comments_stay_with_what_comes_next(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "demos.toml"
    edit(folder, "[d1]", "# the best one\n# of all\n[d1]")
    edit(folder, "[d2]", "  # another\n[d2]")
    path.write_text(path.read_text() + "# the end\n")
    kept = path.read_text()
    for name in ("d0", "d2", "d1"):
        assert vpt(capsys, "remove", folder, name)[0] == 0
        assert not DemoSet(folder).read().problems
        if name == "d0":
            assert path.read_text().split() == (kept[: kept.index("[d0]")] + kept[kept.index("# the best") :]).split()
    comments = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    assert comments[1:] == ["# the best one", "# of all", "# another", "# the end"]


def test_what_is_mistyped_is_named_and_the_rest_can_be_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, 'tags = ["logs"]\ntext = ""\nvideo = "/videos/d1', 'tags = "logs"\ntext = ""\nvideo = "/videos/d1')
    path = folder / "demos.toml"
    path.write_text("a = 5\n" + path.read_text() + "\n[b]\ntags = 5\n[c]\ntags = [[1]]\n")
    assert vpt(capsys, "disable", folder, "--tag", "logs") == (0, "1 disabled: d2")
    for verb, *rest in (("enable",), ("disable",), ("tag", "--text", "x")):
        code, said = vpt(capsys, verb, folder, "a", *rest)
        assert code == 2 and "demos.toml: [a] is 5, expected a table with enabled, tags, text, video" in said
    for letter in "lo":  # of "logs", which is no list of them
        code, said = vpt(capsys, "remove", folder, "d0", "--tag", letter)
        assert code == 2 and f"there is no demonstration with the tag {letter};" in said
    assert (folder / "demos" / "d0").is_dir()
    assert vpt(capsys, "tag", folder, "d1", "--set", "night")[0] == 0
    assert vpt(capsys, "remove", folder, "a", "b", "c") == (0, "3 removed: a, b, c")
    found = DemoSet(folder).read()
    assert not found.problems and found.demos["d1"].tags == ("night",)
    assert vpt(capsys, "tag", folder, "d1", "--set")[0] == 0 and DemoSet(folder).read().demos["d1"].tags == ()
    code, said = vpt(capsys, "tag", folder, "d1")
    assert code == 2 and "nothing to change: expected --set TAG" in said


def test_brackets_are_shown_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be broken anywhere
    made = DemoSet.create(Path("a[red]set"), INFO)
    add(made, "d0", tags=("[b]",))
    edit(made.folder, 'text = ""', 'text = "[i]chop"\ncolour = "[/x]"')
    code, said = vpt(capsys, "list", made.folder)
    assert code == 1 and "a[red]set" in said and "unknown keys colour" in said
    edit(made.folder, 'colour = "[/x]"', "")
    said = vpt(capsys, "list", made.folder)[1]
    assert "[b]" in said and "[i]chop" in said
    assert "a[red]set" in vpt(capsys, "merge", made.folder, "--other", made.folder)[1]


def test_a_mistyped_demonstration_is_not_overwritten_by_a_merge(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = DemoSet.create(tmp_path / "other", INFO)
    for number in (1, 3):
        add(other, f"d{number}", seed=10 + number)
    edit(folder, "[d1]\nenabled = true", "[d1]\nenabeld = false")
    before = (folder / "demos" / "d1" / "latents.npy").read_bytes()
    code, said = vpt(capsys, "merge", folder, "--other", other.folder)
    assert code == 1 and "has a demonstration d1" in said and "1 added to" in said
    assert (folder / "demos" / "d1" / "latents.npy").read_bytes() == before
    assert "enabeld = false" in (folder / "demos.toml").read_text()
