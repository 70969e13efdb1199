"""The charts of a labelling job's summary, as PNG bytes, in the style of idm/chart_style.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idm.chart_style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, figure, png
from vpt_pipeline.cluster.history import Stretch
from vpt_pipeline.cluster.overview import Overview

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 500
"""More points than this are not to be told apart in a chart this wide."""
_GAP = 0.03
"""Width of a pause in the chart, of all the time worked: a weekend would leave no room for the work."""


def can_draw() -> bool:
    """Whether matplotlib is there, which is an extra."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def confidence_chart(overview: Overview, doubt: float) -> bytes:
    """Frames by confidence, the means of each video in order, and videos by their share of null actions."""
    with figure(11.5, 3.9, columns=3) as (canvas, (frames, videos, null)):
        counts, bins = overview.confidence, len(overview.confidence)
        edges = np.linspace(0, 1, bins + 1)
        shares = 100 * counts / max(counts.sum(), 1)
        colours = [SKY if high <= doubt + 1e-9 else BLUE for high in edges[1:]]
        frames.bar(edges[:-1], shares, 0.92 / bins, align="edge", color=colours)
        frames.axvline(doubt, color=INK, ls="--", lw=1.2, label=f"below {doubt:g}: low_confidence")
        frames.set(xlim=(0, 1), xlabel="confidence, the lesser of keys and camera", ylabel="frames, %")
        frames.set_title("Frames by confidence")
        frames.legend(loc="upper left")
        for name, values, colour, style in (
            ("keys", overview.buttons, BLUE, "-"),
            ("camera", overview.camera, ORANGE, "-."),
        ):
            x, y = _in_order(np.array(values))
            videos.plot(x, y, style, color=colour, marker="o" if len(y) < 3 else "", ms=4, label=name)
        videos.axhline(doubt, color=INK, ls="--", lw=1)
        videos.set(
            xlim=(0, 100), xlabel="videos, %, least sure first", ylabel="mean confidence", title="Videos by confidence"
        )
        videos.set_ylim(min(doubt, videos.get_ylim()[0]) - 0.02, 1)
        videos.legend(loc="lower right")
        null.hist(100 * np.array(overview.null), list(range(0, 101, 5)), color=GREEN, rwidth=0.92)
        if (share := overview.share("null")) is not None:
            null.axvline(100 * share, color=INK, ls="--", lw=1.2, label=f"of all frames: {share:.0%}")
        null.set(
            xlim=(0, 100), xlabel="frames in which nothing is done, %", ylabel="videos", title="Videos by null actions"
        )
        _whole_numbers(null)
        null.legend(loc="upper right")
        return png(canvas)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def _in_order(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percent of the videos, and the value that so many do not exceed; few enough points to draw."""
    if len(values) < 2:
        return np.full(len(values), 50.0), values
    percent = np.linspace(0, 100, min(len(values), _POINTS))
    return percent, np.percentile(values, percent)


def speed_chart(stretches: Sequence[Stretch]) -> bytes:
    """Frames a second, what of it the models computed, and workers, over the time worked; pauses are narrow bands."""
    worked = sum(stretch.seconds for stretch in stretches)
    unit, name = (3600.0, "hours") if worked > 7200 else (60.0, "minutes")
    with figure(11.5, 4.8, rows=3, heights=(2, 1.2, 1.2)) as (canvas, panels):
        speed, busy, workers = panels
        begin, ended = 0.0, None
        for stretch in stretches:
            if ended is not None:
                gap = _GAP * worked / unit
                _pause(panels, begin, begin + gap, stretch.time[0] - ended)
                begin += gap
            seconds = stretch.time - stretch.time[0]
            lines = (
                (speed, stretch.frames_s, BLUE),
                (busy, 100 * stretch.busy, PURPLE),
                (workers, stretch.workers, GREEN),
            )
            for axes, values, colour in lines:
                x, y = _thinned(seconds, values)
                axes.plot(begin + x / unit, y, color=colour, marker="o" if len(y) == 1 else "", ms=3)
                axes.fill_between(begin + x / unit, y, color=colour, alpha=0.12, lw=0)
            begin += stretch.seconds / unit
            ended = float(stretch.time[-1])
        for axes in panels:
            axes.set_xlim(0, begin)
            axes.set_ylim(bottom=0)
            axes.margins(y=0.15)
        speed.set(title="Speed over the time worked", ylabel="frames/s")
        busy.set(ylim=(0, 100), ylabel="model busy, %")
        workers.set(ylabel="workers", xlabel=f"{name} of work")
        workers.set_ylim(0, 1.25 * max(1.0, *(float(s.workers.max()) for s in stretches)))
        _whole_numbers(workers)
        speed.tick_params(labelbottom=False)
        busy.tick_params(labelbottom=False)
        canvas.align_ylabels()
        return png(canvas)


def _pause(panels: Sequence[Axes], begin: float, end: float, seconds: float) -> None:
    for axes in panels:
        axes.axvspan(begin, end, color=FAINT, alpha=0.18, lw=0)
    words: Any = {"ha": "center", "va": "center", "rotation": 90, "fontsize": 8, "color": INK}
    middle, transform = (begin + end) / 2, panels[0].get_xaxis_transform()
    panels[0].text(middle, 0.5, f"pause {length(seconds)}", transform=transform, **words)


def _thinned(
    seconds: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of neighbours, where there are too many points to draw."""
    each = -(-len(values) // _POINTS)
    if each == 1:
        return seconds, values
    starts = np.arange(0, len(values), each)
    counts = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(seconds, starts) / counts, np.add.reduceat(values, starts) / counts


def length(seconds: float) -> str:
    """A time span as people say it."""
    seconds = max(seconds, 0.0)
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.1f} {name}" if name == "h" and value < 10 else f"{value:.0f} {name}"
    return f"{seconds / 86400:.1f} days"
