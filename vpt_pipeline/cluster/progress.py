"""How a job goes: a live line, a line of JSON every few seconds for other programs, and Ray's metrics for its dashboard."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpt_pipeline.progress import Bar

EVERY_S = 5.0


@dataclass(frozen=True)
class State:
    """frames: labelled by this run. frames_s: of the last minute or so. busy: share of the workers' time in which the
    model computed. left_s, left_cost: estimates, None while nothing is known."""

    time: float
    done: int
    quarantined: int
    open: int
    video_hours: float
    frames: int
    frames_s: float
    busy: float
    workers: int
    deaths: int
    left_s: float | None
    left_cost: float | None


class Meter:
    """Fed with counts; tells the state."""

    def __init__(self, bar: Bar, path: Path, rate: int, gpu_hour_price: float, gpus_per_worker: float) -> None:
        self._bar, self._path, self._rate = bar, path, rate
        self._price, self._gpus = gpu_hour_price, gpus_per_worker or 1.0
        self._begun = self._told = time.monotonic()
        self._frames = 0
        self._recent: list[tuple[float, int, float, float]] = [(self._begun, 0, 0.0, 0.0)]
        self._metrics: dict[str, Any] = {}
        self._at_start: int | None = None

    def tick(self, frames: int, counts: dict[str, int], seconds: dict[str, float], workers: int, deaths: int) -> None:
        """frames: labelled since the last call. counts: of the books. seconds: of the fleet."""
        self._frames += frames
        now = time.monotonic()
        if now - self._told < EVERY_S and counts["open"]:
            return
        self._told = now
        state = self._state(now, counts, seconds, workers, deaths)
        self._bar.note(_line(state))
        self._bar.advance(0)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(state)) + "\n")
        self._measure(state)

    def _state(self, now: float, counts: dict[str, int], seconds: dict[str, float], workers: int, deaths: int) -> State:
        self._recent.append((now, self._frames, seconds["wall_s"], seconds["model_s"]))
        self._recent = [r for r in self._recent if now - r[0] < 90] or self._recent[-1:]
        first, last = self._recent[0], self._recent[-1]
        span = last[0] - first[0] if len(self._recent) > 1 else now - self._begun
        frames = last[1] - first[1] if len(self._recent) > 1 else self._frames
        busy = (last[3] - first[3]) / (last[2] - first[2]) if last[2] > first[2] else 0.0
        ended = counts["done"] + counts["quarantined"]
        if self._at_start is None:
            self._at_start = ended
        here, left = ended - self._at_start, None
        if here and counts["open"]:
            left = (now - self._begun) / here * counts["open"]
        cost = left / 3600 * workers * self._gpus * self._price if left is not None and self._price else None
        return State(
            time.time(),
            counts["done"],
            counts["quarantined"],
            counts["open"],
            counts["rows"] / self._rate / 3600,
            self._frames,
            frames / span if span > 0 else 0.0,
            min(busy, 1.0),
            workers,
            deaths,
            left,
            cost,
        )

    def _measure(self, state: State) -> None:
        """Ray's metrics, where they can be had: a job must not end over them."""
        with contextlib.suppress(Exception):
            from ray.util.metrics import Gauge

            for name in ("done", "quarantined", "open", "video_hours", "frames_s", "busy", "deaths"):
                if name not in self._metrics:
                    self._metrics[name] = Gauge(f"vpt_label_{name}", description=f"vpt label: {name}")
                self._metrics[name].set(float(getattr(state, name)))


def _line(state: State) -> str:
    parts = [
        f"{state.video_hours:,.2f} h of video",
        f"{state.frames_s:,.0f} frames/s",
        f"model busy {state.busy:.0%} of {state.workers} worker{'s' * (state.workers != 1)}",
    ]
    if state.quarantined:
        parts.append(f"{state.quarantined} quarantined")
    if state.deaths:
        parts.append(f"{state.deaths} workers replaced")
    if state.left_cost is not None:
        parts.append(f"{state.left_cost:,.2f} to pay")
    return ", ".join(parts)
