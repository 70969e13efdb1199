"""Captions from what a game wrote down, texts from transcripts, and files of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.actions import Action, ActionTrack
from data.contractor import ContractorWriter
from data.contractor_state import PlayerState, read_state
from data.recording import Recording
from prior.text.embedding.caption_words import gerund, mirrored, tell, thing_of, third_person
from prior.text.embedding.captions import caption, deeds_of
from prior.text.embedding.doings import Doing, doing_in
from prior.text.embedding.pairs import TextClip, by_video, read_pairs, write_pairs
from prior.text.embedding.transcripts import keyword_clips, read_transcript

EVENTS = [
    {"type": "punch", "node": "default:pine_tree", "pos": [1, 2, 3], "tick": 40},
    {"type": "punch", "node": "default:stone", "pos": [9, 9, 9], "tick": 41},
    {"type": "dig", "node": "default:pine_tree", "pos": [1, 2, 3], "tick": 60},
    {"type": "pickup", "item": "default:pine_tree", "count": 1, "own": False, "tick": 90},
    {"type": "pickup", "item": "default:brick", "count": 1, "own": True, "tick": 110},
    {"type": "hp", "change": -1, "cause": "fall", "tick": 120},
]


def recording(folder: Path, name: str = "a", **changed: Any) -> Recording:
    meta = {
        "task": "logs",
        "text": "chop down trees and collect the logs",
        "frames": 160,
        "tick_rate": 20,
        "events": EVENTS,
    }
    (folder / f"{name}.mp4").write_bytes(b"")
    (folder / f"{name}.meta.json").write_text(json.dumps({**meta, **changed}))
    return Recording.beside(folder / f"{name}.mp4")


def test_each_clip_is_told_by_what_happens_in_it(tmp_path: Path) -> None:
    clips = caption(recording(tmp_path))
    assert [clip.start for clip in clips] == [32, 48, 80] and {clip.frames for clip in clips} == {16}
    kinds = {clip.start: clip.kind for clip in clips}
    assert kinds[48] == "dig tree", "between the first punch and the tree's fall"
    assert kinds[80] == "pickup tree"
    told = {clip.start: clip.texts for clip in clips}
    assert told[48][0] == "chop down a tree" and told[80][0] == "collect logs"
    assert all(len(set(texts)) == len(texts) > 1 for texts in told.values())
    assert not any("chop down trees and" in text for texts in told.values() for text in texts), (
        "not by what is to be done"
    )
    walk = caption(recording(tmp_path, "far", task="travel", text="go far", events=[]))
    assert len(walk) == 10 and all(clip.texts[0] == "go far" and clip.kind == "do" for clip in walk)
    deeds = deeds_of(EVENTS, 160)
    assert [(deed.begin, deed.end, deed.deed) for deed in deeds] == [(40, 64, "dig"), (82, 94, "pickup")]


def test_and_by_what_is_done_and_seen(tmp_path: Path) -> None:
    walks = Action(frozenset({"forward", "sprint"}), (0.0, 4.0))
    digs = Action(frozenset({"attack"}), (0.0, 0.0))
    axe = {"inventory": [{"slot": 0, "type": "default:axe_steel", "quantity": 1}]}
    with ContractorWriter(tmp_path / "a.jsonl") as records:
        for row in range(160):
            records.write(walks if row < 32 else digs, hotbar=0, extra={"pitch": 60.0 if row >= 32 else 0.0, **axe})
    clips = {clip.start: clip for clip in caption(recording(tmp_path))}
    assert len(clips) == 10
    assert clips[0].texts[0] == "running, turning right, looking ahead, with an axe in hand" and clips[0].kind == "run"
    assert clips[48].texts[0] == "chop down a tree, standing still, looking down, with an axe in hand"
    assert clips[48].texts[1] == "chop down a tree", "and short"
    assert clips[96].texts[0].startswith("standing still, striking, looking down") and clips[96].kind == "strike"
    for clip in clips.values():
        assert 1 < len(clip.texts) == len(set(clip.texts)) <= 6 and all(text.strip(", ") == text for text in clip.texts)
    assert mirrored("turning right, sidestepping left") == "turning left, sidestepping right"
    assert mirrored("to the left, turning right") == "to the right, turning left"
    assert mirrored("right now we left") == "right now we left", "no side is meant"
    (tmp_path / "a.jsonl").write_text("no record")
    with pytest.raises(ValueError, match=r"a\.jsonl: expected contractor records"):
        caption(recording(tmp_path))


def test_what_somebody_does_in_a_stretch() -> None:
    def doing(*buttons: str, camera: tuple[float, float] = (0.0, 0.0), pitch: float = 0.0, **odd: Any) -> Doing:
        track = ActionTrack.from_actions([Action(frozenset(buttons), camera)] * 20, odd.get("gui"))
        state = PlayerState(
            np.full(20, pitch, np.float32), ("default:axe_steel",) * 19 + (odd.get("last", "default:axe_steel"),)
        )
        return doing_in(track, state, 4, 20)

    assert doing("forward", "jump").move == "hop" and doing("forward").move == "walk" and doing("back").move == "back"
    assert doing("left").move == "left" and doing().move == "stand"
    assert (
        doing(camera=(0, -2)).turn == "left"
        and doing(camera=(0, 2)).turn == "right"
        and doing(camera=(0, 1)).turn == "no"
    )
    assert [doing(pitch=pitch).view for pitch in (-40.0, 0.0, 60.0, float("nan"))] == ["up", "ahead", "down", ""]
    assert doing("attack").strikes and doing("attack").kind == "strike" and not doing("use").strikes
    assert doing().holds == "default:axe_steel" and doing(last="").holds == "", "what is changed meanwhile is not held"
    assert doing("forward", gui=[False] * 19 + [True]) == Doing()
    part = np.zeros((20, 20), bool)
    part[:8, 2] = True
    some = doing_in(
        ActionTrack(part, np.zeros((20, 2), np.float32)), PlayerState(np.zeros(20, np.float32), ("",) * 20), 0, 20
    )
    assert some.move == "", "now and then is neither walking nor standing"
    assert doing_in(ActionTrack.from_actions([]), PlayerState(np.zeros(0, np.float32), ()), 0, 16) == Doing()


def test_records_tell_of_the_view_and_the_hand(tmp_path: Path) -> None:
    slots = [{"slot": 0, "type": "a", "quantity": 1}, {"slot": 3, "type": "b", "quantity": 1}]
    rows = [
        {"pitch": 12.5, "hotbar": 3, "inventory": slots}, {"pitch": "up", "hotbar": 1, "inventory": slots},
        {"pitch": 500, "hotbar": 0, "inventory": "all"}, [], {"pitch": -90, "hotbar": 0, "inventory": [7, *slots]},
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{half a record\n\n")
    state = read_state(tmp_path / "a.jsonl")
    assert state.holds == ("b", "", "", "", "a", "")
    assert np.array_equal(
        state.pitch, np.array([12.5, np.nan, np.nan, np.nan, -90, np.nan], np.float32), equal_nan=True
    )
    with pytest.raises(ValueError, match=r"none\.jsonl: cannot be read as contractor records"):
        read_state(tmp_path / "none.jsonl")


def test_a_dig_begins_with_the_first_punch_that_is_not_too_old() -> None:
    punches = [{"type": "punch", "pos": [1, 2, 3], "tick": tick} for tick in (10, 260, 280)]
    dig = {"type": "dig", "node": "default:dirt", "pos": [1, 2, 3], "tick": 300}
    (deed,) = deeds_of([*punches, dig], 400)
    assert deed.begin == 260


def test_texts_vary_with_seed_and_name_alone(tmp_path: Path) -> None:
    one, other = recording(tmp_path), recording(tmp_path, "b")
    texts = [clip.texts for clip in caption(one)]
    assert texts == [clip.texts for clip in caption(one)]
    assert texts != [clip.texts for clip in caption(one, seed=1)]
    assert texts != [clip.texts for clip in caption(other)]
    rng = np.random.default_rng(0)
    many = {text for _ in range(100) for text in tell("dig", "default:tree", 4, rng)}
    assert len(many) > 60 and not any("{" in text for text in many)
    assert {"dig", "chop", "cut", "fell"} & {word for text in many for word in text.split()} == {"chop", "cut", "fell"}


def test_words() -> None:
    assert [gerund(verb) for verb in ("chop down", "mine", "pick up", "dig")] == [
        "chopping down",
        "mining",
        "picking up",
        "digging",
    ]
    assert [third_person(verb) for verb in ("chop down", "smash", "get")] == ["chops down", "smashes", "gets"]
    assert thing_of("minecraft:oak_log")[0] == "tree" and thing_of("farming:seed_wheat")[0] == "seeds"
    assert thing_of("mobs:blue_dragon_3") == ("blue dragon", ("a blue dragon",))


def test_what_is_not_told_gives_no_clips_and_what_is_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare.mp4").write_bytes(b"")
    assert caption(Recording.beside(tmp_path / "bare.mp4")) == []
    assert caption(recording(tmp_path, "mute", task="", text="", events=[])) == []
    free = caption(recording(tmp_path, "free", task="freeplay", text="do as you like"))
    assert {clip.kind for clip in free} == {"dig tree", "pickup tree"}
    assert not any("like" in text for clip in free for text in clip.texts), "what fits anything tells nothing apart"
    with pytest.raises(ValueError, match=r"old\.meta\.json: expected frames, task, text and events.*tick and type"):
        caption(recording(tmp_path, "old", events=[{"type": "dig"}]))
    with pytest.raises(ValueError, match=r"fast\.meta\.json: its events are counted at 35 a second"):
        caption(recording(tmp_path, "fast", tick_rate=35))


SRT = "1\n00:00:01,000 --> 00:00:03,500\n<i>first we chop</i>\na tree\n\n" + (
    "2\n00:01:00,000 --> 00:01:02,000\nand dig for diamonds now\n"
)
VTT = "WEBVTT\n\nNOTE made by hand\n\n00:01.000 --> 00:03.500 align:start\nfirst <c>we</c> chop a tree\n\n" + (
    "01:00.000 --> 01:02.000\nand dig for diamonds now\n"
)
ROWS = [
    {"start": 60.0, "duration": 2.0, "text": "and dig for diamonds now"},
    {"start": 1.0, "end": 3.5, "text": "first we chop  a tree"},
]


def test_transcripts_of_three_kinds_say_the_same(tmp_path: Path) -> None:
    for name, text in (
        ("a.srt", SRT), ("a.vtt", VTT), ("a.json", json.dumps(ROWS)), ("b.json", json.dumps({"segments": ROWS})),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        first, second = read_transcript(tmp_path / name)
        assert (first.start_ms, first.end_ms, first.text) == (1000, 3500, "first we chop a tree")
        assert (second.start_ms, second.text) == (60000, "and dig for diamonds now")
    for name, text, message in (
        ("a.txt", SRT, "expected a transcript as .json, .srt, .vtt, found .txt"), ("c.srt", "nothing", "no lines with times"),
        ("c.json", '[{"text": "dig"}]', r'c\.json: expected a list of \{"start"'),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_transcript(tmp_path / name)


ROLLING = """WEBVTT
Kind: captions

00:00:00.000 --> 00:00:02.000 align:start position:0%
~
lets<00:00:00.500><c> chop</c><00:00:01.000><c> a</c><c> tree</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
lets chop a tree
~

00:00:02.010 --> 00:00:04.000 align:start position:0%
lets chop a tree
and<00:00:02.500><c> dig</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
and dig
~

00:00:09.000 --> 00:00:10.000
and dig
""".replace("~", " ")


def test_lines_that_roll_are_said_once(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(ROLLING)
    lines = read_transcript(tmp_path / "a.vtt")
    assert [(line.start_ms, line.end_ms, line.text) for line in lines] == [
        (0, 2000, "lets chop a tree"), (2010, 4000, "and dig"), (9000, 10000, "and dig"),
    ]  # fmt: skip


def test_texts_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(SRT.replace("first", "d\u00e9j\u00e0").encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.srt: expected text in UTF-8, found byte 0xe9"):
        read_transcript(tmp_path / "a.srt")
    (tmp_path / "p.jsonl").write_bytes(b'{"texts": ["d\xe9"]}')
    with pytest.raises(ValueError, match=r"p\.jsonl: expected text in UTF-8, found byte 0xe9 at 13"):
        read_pairs(tmp_path / "p.jsonl")


def test_clips_lie_around_the_words_that_matter(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    lines, video = read_transcript(tmp_path / "a.srt"), tmp_path / "a.mp4"
    clips = keyword_clips(video, lines, ["tree", "diamond"], 1400, words=(3, 5), seconds=(4, 8))
    assert [clip.kind for clip in clips] == ["tree", "diamond"]
    tree, diamond = clips
    assert "tree" in tree.texts[0] and "diamonds" in diamond.texts[0] and 3 <= len(diamond.texts[0].split()) <= 5
    assert set(tree.texts[0].split()) <= {"first", "we", "chop", "a", "tree"}, (
        "what is said a minute later is another text"
    )
    assert tree.start == 0 and 80 <= tree.frames <= 160, "held inside the video"
    assert diamond.start + diamond.frames <= 1400 and diamond.start <= 1240 <= diamond.start + diamond.frames
    assert clips == keyword_clips(video, lines, ["tree", "diamond"], 1400, words=(3, 5), seconds=(4, 8))
    assert not keyword_clips(video, lines, ["pig"], 1400)
    assert [clip.kind for clip in keyword_clips(video, lines, ["tree", "diamond"], 400)] == ["tree"], (
        "the video was cut"
    )
    with pytest.raises(ValueError, match="expected keywords and ranges"):
        keyword_clips(video, lines, [], 1400)
    with pytest.raises(ValueError, match=r"expected keywords and ranges .* got 'a tree'"):
        keyword_clips(video, lines, "a tree", 1400)


def test_a_clip_has_one_window_whoever_asks() -> None:
    long, short = (TextClip(Path("a.mp4"), 50, frames, ("dig",)) for frames in (40, 6))
    assert long.window(16, 100) == 62 and short.window(16, 100) == 45, "in the middle, and around it"
    assert short.window(16, 58) == 42 and TextClip(Path("a.mp4"), 0, 6, ("dig",)).window(16, 58) == 0, (
        "inside the video"
    )
    drawn = {long.window(16, 100, np.random.default_rng(seed)) for seed in range(200)}
    assert drawn == set(range(50, 75))
    assert long.lies_in(16, 66) and not long.lies_in(16, 65) and short.lies_in(16, 56) and not short.lies_in(16, 55)
    assert not TextClip(Path("a.mp4"), 0, 6, ("dig",)).lies_in(16, 15), "there is no window"


def test_a_film_under_two_paths_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    paths = (tmp_path / "b.mp4", tmp_path / "a.mp4", tmp_path / "sets" / ".." / "b.mp4", tmp_path / "A.mp4")
    found = by_video(TextClip(path, 0, 16, ("dig",)) for path in paths)
    assert {video: len(clips) for video, clips in found.items()} == {tmp_path / "A.mp4": 1, tmp_path / "b.mp4": 3}


def test_pairs_are_lines_that_people_can_edit(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    clips = [TextClip(tmp_path / "a.mp4", 16, 16, ("dig", "d\u00edg"), "dig dirt")]
    path = tmp_path / "sets" / "pairs.jsonl"
    write_pairs(path, clips)
    assert '"../a.mp4"' in path.read_text() and "d\u00edg" in path.read_text()
    found = read_pairs(path)
    assert found[0].video.resolve() == clips[0].video.resolve() and found[0].texts == clips[0].texts
    for line, message in (
        ('{"video": "../a.mp4"}', "line 1: .*texts is missing"), ("dig", "line 1: expected"),
        ('{"video": "b.mp4", "start": 0, "frames": 16, "texts": ["dig"]}', "there is no video"),
        ('{"video": "../a.mp4", "start": 0, "frames": 16, "texts": "dig"}', "texts is no list"),
        ('{"video": "../a.mp4", "start": 0, "frames": 16, "texts": [" "]}', "empty text"), ("", "found none"),
    ):  # fmt: skip
        path.write_text(line)
        with pytest.raises(ValueError, match=message):
            read_pairs(path)
