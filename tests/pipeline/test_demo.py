"""The demo: all of it once, at its smallest, in the real game; and how it splits its time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.recording import find_recordings
from search_agent.demos import DemoSet
from vpt_pipeline.demo import DemoConfig, main, minutes_of, plan
from vpt_pipeline.demo_agents import ASKED


@pytest.mark.timeout(600)
def test_it_goes_from_video_to_agents_and_a_report(tmp_path: Path) -> None:
    assert main(DemoConfig(tmp_path, game="luanti", clips=tmp_path / "none", quick=True)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["quick"], "a demo in earnest can follow in the same folder"
    out = tmp_path / "quick"
    hidden = find_recordings(out / "hidden" / "videos")
    assert len(hidden) == 2 and all(recording.actions is None for recording in hidden), "their actions are hidden"
    assert len(list((out / "hidden" / "labels").glob("*.parquet"))) == 2
    videos = {demo.video for demo in DemoSet(out / "demonstrations").read().demos.values()}
    assert videos and videos <= {recording.video.resolve() for recording in hidden}
    lines = (out / "rollouts" / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    played = {row["agent"]: row for row in (json.loads(line)["rollout"] for line in lines)}
    texts = [f"{out / 'text'}:{text}" for text in ASKED]
    assert set(played) == {
        str(out / "prior"),
        str(out / "prior_on_true_actions"),
        "random",
        str(out / "demonstrations"),
        *texts,
    }
    assert all(row["frames"] == 60 and not row["error"] for row in played.values())
    assert len({(row["seed"], row["map_seed"]) for row in played.values()}) == 1, "one start for all"
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("In short", "The prior plays", "An agent without training", "Asked in words", *ASKED, "How to go on"):
        assert part in page, part
    assert page.count("<video") >= 6 and "Real Minecraft video" not in page
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["seconds"].keys() >= {"label", "train texts"}


def test_who_is_judged_was_never_seen_and_more_time_is_more_play() -> None:
    minutes = []
    for budget in ("6m", "32m", "1h30m", "3h"):
        parts = plan(DemoConfig(budget=budget), "luanti")
        for what in ("player", "map_seed", "seed"):
            trained, judged = ({getattr(one, what) for one in part} for part in (parts.train, parts.held_out))
            assert not trained & judged, what
        minutes.append(sum(one.steps for one in parts.train) / 1200)
    assert minutes == sorted(minutes) and 15 < minutes[1] < 24


def test_a_budget_is_a_time() -> None:
    assert [minutes_of(text) for text in ("30m", "3h", "1h30m", " 12.5 ")] == [30, 180, 90, 12.5]
    for wrong in ("", "soon", "3d", "4m"):
        with pytest.raises(ValueError, match="budget"):
            minutes_of(wrong)
