"""Charts of an evaluation, as PNG bytes.

matplotlib is an extra (``pip install "vpt-pipeline[viz]"``) and is imported when the first chart is drawn. Figures are
made without pyplot, so nothing global is touched and no display is needed. Colours are Okabe and Ito's, which stay
apart for colour-blind eyes; where two lines could still be confused, they also differ in dash or marker.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data.actions import BUTTONS
from idm.events import Bools, Floats
from idm.scores import IdmScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, FAINT, GRID = "#24292f", "#6e7781", "#e3e6ea"

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


def event_f1_bars(scores: IdmScores) -> bytes:
    """Event F1 of each key that was ever used, within 0, +-1 and +-2 frames, beside the chance level of +-1."""
    keys = [key for key in scores.keys if key.true_events]
    with _figure(9.0, 1.2 + 0.42 * max(len(keys), 2)) as (figure, (axes,)):
        rows = np.arange(len(keys))[::-1]
        tolerances = [score.tolerance for score in scores.mean.events]
        height = 0.8 / len(tolerances)
        for n, (tolerance, colour) in enumerate(zip(tolerances, (SKY, BLUE, "#003f63"), strict=False)):
            offset = height * ((len(tolerances) - 1) / 2 - n)
            label = f"within ±{tolerance} frame{'' if tolerance == 1 else 's'}" if tolerance else "on the exact frame"
            values = [key.events[n].f1 or 0.0 for key in keys]
            axes.barh(rows + offset, values, height * 0.92, color=colour, label=label)
            if tolerance == 1:
                chance = [key.random_presses_f1[n] or 0.0 for key in keys]
                axes.plot(chance, rows + offset, "|", color=RED, ms=11, mew=2, ls="", label="random presses, ±1")
        axes.set_yticks(rows, [f"{key.key}  ({key.true_events}{'' if key.counted else ', few'})" for key in keys])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set(xlim=(0, 1.0), ylim=(-0.6, max(len(keys), 1) - 0.4), xlabel="event F1")
        axes.set_title("Presses and releases found, by key (number of true events)", pad=26)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1.4, handlelength=1.4)
        return _png(figure)


def reliability_diagram(scores: IdmScores) -> bytes:
    """What the probabilities said against how often it was so, all keys pooled, above the number of frames."""
    with _figure(5.2, 5.2, rows=2, heights=(3, 1)) as (figure, (axes, counts)):
        filled = [b for b in scores.reliability if b.mean_probability is not None and b.share_held is not None]
        axes.plot((0, 1), (0, 1), "--", color=FAINT, lw=1, label="perfectly calibrated")
        axes.plot([b.mean_probability or 0 for b in filled], [b.share_held or 0 for b in filled], "o-", color=BLUE,
                  ms=5, label=f"predicted (ECE {_short(scores.mean.calibration_error_pooled, 4)})")  # fmt: skip
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), ylabel="share of them truly held", title="Reliability of key probabilities"
        )
        axes.legend(loc="upper left")
        axes.tick_params(labelbottom=False)
        width = 1 / max(len(scores.reliability), 1)
        counts.bar([b.low + width / 2 for b in scores.reliability], [b.count for b in scores.reliability], width * 0.9,
                   color=SKY)  # fmt: skip
        counts.set(xlim=(0, 1), xlabel="predicted probability that a key is held", ylabel="key-frames")
        counts.set_yscale("symlog", linthresh=10)
        counts.set_ylim(bottom=0)
        return _png(figure)


def kept_share_curves(scores: IdmScores) -> bytes:
    """Quality of what is kept against the share of frames kept: keys by button confidence, camera by its own."""
    with _figure(10.5, 4.3, columns=3) as (figure, (keys, fit, error)):
        points = scores.kept_by_button_confidence
        lines = (
            ("event F1 within ±1", [p.event_f1 for p in points], BLUE, "o-"),
            ("all keys right at changes", [p.change_exact for p in points], GREEN, "s-"),
            ("true events kept", [p.events_kept for p in points], FAINT, "--"),
        )
        for label, values, colour, style in lines:
            keys.plot([100 * p.share for p in points], _nan(values), style, color=colour, ms=4, label=label)
        keys.set(ylim=(0, 1.02), title="Keys")
        points = scores.kept_by_camera_confidence
        share = [100 * p.share for p in points]
        for axis, colour, style in ((0, ORANGE, "o-"), (1, PURPLE, "s-")):
            name = ("pitch", "yaw")[axis]
            fit.plot(share, _nan([p.camera_r2[axis] for p in points]), style, color=colour, ms=4, label=name)
            error.plot(share, [p.camera_mae[axis] for p in points], style, color=colour, ms=4, label=name)
        lowest = min([v for p in points for v in p.camera_r2 if v is not None], default=0.0)
        fit.set(ylim=(max(min(lowest - 0.05, 0.0), -1.0), 1.02), title="Camera: R² of kept frames")
        error.set(title="Camera: mean error, °/frame")
        error.set_ylim(bottom=0)
        for axes in (keys, fit, error):
            axes.set(xlabel="frames kept, %, surest first", xlim=(103, 0))
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.17), borderpad=0)
        return _png(figure)


def camera_scatter(true: Floats, predicted: Floats, *, limit: float | None = None) -> bytes:
    """Predicted against true degrees, one panel an axis, as a density of frames. Both arrays (T, 2).

    What lies beyond ``limit`` degrees is drawn at the edge; by default one frame in a thousand does, or less.
    """
    if limit is None:
        limit = float(np.clip(np.quantile(np.abs(true), 0.999) * 1.1 if len(true) else 0.0, 1.0, 12.0))
    with _figure(9.0, 4.2, columns=2) as (figure, panels):
        for axis, axes in enumerate(panels):
            x, y = np.clip(true[:, axis], -limit, limit), np.clip(predicted[:, axis], -limit, limit)
            image = axes.hexbin(
                x, y, gridsize=48, extent=(-limit, limit, -limit, limit), bins="log", mincnt=1, cmap="viridis_r"
            )
            axes.plot((-limit, limit), (-limit, limit), "--", color=FAINT, lw=1)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="true degrees a frame", aspect="equal")
            axes.set_title(("Pitch", "Yaw")[axis])
            bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
            bar.set_label("frames")
            bar.outline.set_visible(False)
        panels[0].set_ylabel("predicted degrees a frame")
        return _png(figure)


def camera_trace(true: Floats, predicted: Floats, *, rate: float = 20.0, title: str = "") -> bytes:
    """Both camera axes over time, prediction upon truth. Both arrays (T, 2), degrees a frame, at ``rate`` frames/s."""
    with _figure(9.0, 4.2, rows=2) as (figure, panels):
        seconds = np.arange(len(true)) / rate
        for axis, axes in enumerate(panels):
            axes.plot(seconds, true[:, axis], color=INK, lw=1.6, alpha=0.75, label="true")
            axes.plot(seconds, predicted[:, axis], color=ORANGE, lw=1.4, label="predicted")
            axes.set(ylabel=("pitch, °/frame\n(+ down)", "yaw, °/frame\n(+ right)")[axis])
            axes.set_xlim(0, max(len(true) / rate, 1 / rate))
        panels[0].tick_params(labelbottom=False)
        panels[0].set_title(title or "Camera over time", pad=20)
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        panels[1].set_xlabel("seconds")
        return _png(figure)


def key_roll(true: Bools, probabilities: Floats, *, rate: float = 20.0, title: str = "") -> bytes:
    """Keys over time: the truth as a line, the predicted probability as a band above it. Both arrays (T, 20)."""
    used = [k for k in range(len(BUTTONS)) if true[:, k].any() or (probabilities[:, k] >= 0.5).any()]
    with _figure(9.0, 0.9 + 0.36 * max(len(used), 2)) as (figure, (axes,)):
        seconds = (np.arange(len(true) + 1) / rate)[None]
        for row, k in enumerate(reversed(used)):
            axes.pcolormesh(seconds.ravel(), (row + 0.02, row + 0.42), probabilities[:, k][None], vmin=0, vmax=1,
                            cmap="Blues", rasterized=True)  # fmt: skip
            axes.pcolormesh(seconds.ravel(), (row - 0.38, row - 0.02), np.where(true[:, k], 1.0, np.nan)[None], vmin=0,
                            vmax=1.25, cmap="Greys", rasterized=True)  # fmt: skip
        axes.set_yticks(range(len(used)), [BUTTONS[k] for k in reversed(used)])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set(ylim=(-0.6, max(len(used), 1) - 0.4), xlim=(0, max(len(true) / rate, 1 / rate)), xlabel="seconds")
        axes.set_title(title or "Keys over time: predicted (blue, upper) and true (grey, lower)")
        return _png(figure)


def data_efficiency_curve(
    minutes: Sequence[float], curves: Mapping[str, Sequence[float | None]], *, title: str = "More data, better labels"
) -> bytes:
    """Scores against minutes of training data (log scale): curves[name] has one value a point of ``minutes``."""
    with _figure(6.4, 3.8) as (figure, (axes,)):
        styles = zip(curves.items(), (BLUE, ORANGE, GREEN, PURPLE, RED, SKY), "os^DvP", strict=False)
        for (name, values), colour, marker in styles:
            axes.plot(minutes, _nan(values), marker + "-", color=colour, ms=5, label=name)
        axes.set_xscale("log")
        axes.set_xticks(minutes, [f"{m:g}" for m in minutes])
        axes.minorticks_off()
        axes.set(xlabel="minutes of play with known actions", ylabel="score", title=title)
        axes.set_ylim(top=max(1.0, axes.get_ylim()[1]))
        axes.legend(loc="best")
        return _png(figure)


class _figure:  # noqa: N801 - a context manager that is used like a function
    """A figure and its panels in our style: ``with _figure(width, height) as (figure, panels)``, inches."""

    def __init__(
        self, width: float, height: float, *, rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None
    ) -> None:
        try:
            import matplotlib
        except ModuleNotFoundError as error:
            raise ValueError('charts need matplotlib: pip install "vpt-pipeline[viz]"') from error
        self._style = matplotlib.rc_context(_STYLE)
        self._size, self._grid, self._heights = (width, height), (rows, columns), heights

    def __enter__(self) -> tuple[Figure, list[Axes]]:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._style.__enter__()
        figure = Figure(figsize=self._size, dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(*self._grid, squeeze=False, height_ratios=self._heights)
        return figure, list(panels.ravel())

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without its default metadata, which names the library's version, the file depends on the picture alone.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _nan(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _short(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
