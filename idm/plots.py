"""Charts of an evaluation, as PNG bytes, in the style of idm/chart_style.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data.actions import BUTTONS
from idm.chart_style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, SKY, figure, png
from idm.events import Bools, Floats
from idm.scores import IdmScores


def event_f1_bars(scores: IdmScores) -> bytes:
    """Event F1 of each key that was ever used, within 0, +-1 and +-2 frames, beside the chance level of +-1."""
    keys = [key for key in scores.keys if key.true_events]
    with figure(9.0, 1.2 + 0.42 * max(len(keys), 2)) as (canvas, (axes,)):
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
        return png(canvas)


def reliability_diagram(scores: IdmScores) -> bytes:
    """What the probabilities said against how often it was so, all keys pooled, above the number of frames."""
    with figure(5.2, 5.2, rows=2, heights=(3, 1)) as (canvas, (axes, counts)):
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
        return png(canvas)


def kept_share_curves(scores: IdmScores) -> bytes:
    """Quality of what is kept against the share of frames kept: keys by button confidence, camera by its own."""
    with figure(10.5, 4.3, columns=3) as (canvas, (keys, fit, error)):
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
        return png(canvas)


def camera_scatter(true: Floats, predicted: Floats, *, limit: float | None = None) -> bytes:
    """Predicted against true degrees, one panel an axis, as a density of frames. Both arrays (T, 2).

    What lies beyond ``limit`` degrees is drawn at the edge; by default one frame in a thousand does, or less.
    """
    if limit is None:
        limit = float(np.clip(np.quantile(np.abs(true), 0.999) * 1.1 if len(true) else 0.0, 1.0, 12.0))
    with figure(9.0, 4.2, columns=2) as (canvas, panels):
        for axis, axes in enumerate(panels):
            x, y = np.clip(true[:, axis], -limit, limit), np.clip(predicted[:, axis], -limit, limit)
            image = axes.hexbin(
                x, y, gridsize=48, extent=(-limit, limit, -limit, limit), bins="log", mincnt=1, cmap="viridis_r"
            )
            axes.plot((-limit, limit), (-limit, limit), "--", color=FAINT, lw=1)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="true degrees a frame", aspect="equal")
            axes.set_title(("Pitch", "Yaw")[axis])
            bar = canvas.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
            bar.set_label("frames")
            bar.outline.set_visible(False)
        panels[0].set_ylabel("predicted degrees a frame")
        return png(canvas)


def camera_trace(true: Floats, predicted: Floats, *, rate: float = 20.0, title: str = "") -> bytes:
    """Both camera axes over time, prediction upon truth. Both arrays (T, 2), degrees a frame, at ``rate`` frames/s."""
    with figure(9.0, 4.2, rows=2) as (canvas, panels):
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
        return png(canvas)


def key_roll(true: Bools, probabilities: Floats, *, rate: float = 20.0, title: str = "") -> bytes:
    """Keys over time: the truth as a line, the predicted probability as a band above it. Both arrays (T, 20)."""
    used = [k for k in range(len(BUTTONS)) if true[:, k].any() or (probabilities[:, k] >= 0.5).any()]
    with figure(9.0, 0.9 + 0.36 * max(len(used), 2)) as (canvas, (axes,)):
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
        return png(canvas)


def data_efficiency_curve(
    minutes: Sequence[float], curves: Mapping[str, Sequence[float | None]], *, title: str = "More data, better labels"
) -> bytes:
    """Scores against minutes of training data (log scale): curves[name] has one value a point of ``minutes``."""
    with figure(6.4, 3.8) as (canvas, (axes,)):
        styles = zip(curves.items(), (BLUE, ORANGE, GREEN, PURPLE, RED, SKY), "os^DvP", strict=False)
        for (name, values), colour, marker in styles:
            axes.plot(minutes, _nan(values), marker + "-", color=colour, ms=5, label=name)
        axes.set_xscale("log")
        axes.set_xticks(minutes, [f"{m:g}" for m in minutes])
        axes.minorticks_off()
        axes.set(xlabel="minutes of play with known actions", ylabel="score", title=title)
        axes.set_ylim(top=max(1.0, axes.get_ylim()[1]))
        axes.legend(loc="best")
        return png(canvas)


def _nan(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _short(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
