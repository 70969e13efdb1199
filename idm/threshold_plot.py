"""The chart of idm/thresholds.py: what is gained, and what is lost, as confidence thresholds rise."""

from __future__ import annotations

from collections.abc import Sequence

from idm.chart_style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, figure, png
from idm.thresholds import MEASURES, Level


def threshold_chart(curve: Sequence[Level], measure: str, chosen: Level | None = None) -> bytes:
    """Accuracy of kept frames, events found and lost, and the two thresholds, against the share of frames kept, as PNG."""
    with figure(11.5, 4.3, columns=3) as (canvas, (frames, events, levels)):
        share = [100 * level.kept.share for level in curve]
        for name, colour, style in (("action", BLUE, "-"), ("keys", GREEN, "-."), ("camera", ORANGE, ":")):
            values = [level.accuracy(name) or 0.0 for level in curve]
            frames.plot(share, values, style, color=colour, label=MEASURES[name][1], lw=2.4 if name == measure else 1.8)
        unsorted = curve[0].accuracy(measure if measure != "events" else "action") or 0.0
        frames.axhline(unsorted, color=FAINT, ls="--", lw=1, label="confidence that means nothing")
        lowest = min(min(level.kept.action_right for level in curve), unsorted)
        frames.set(ylim=(max(0.0, lowest - 0.05), 1.005), title="Kept frames that are right")
        lines = (
            ("event F1 within ±1", [level.kept.event_f1 for level in curve], BLUE, "-"),
            ("all keys right at changes", [level.kept.change_exact for level in curve], GREEN, "-."),
            ("true events kept", [level.kept.events_kept for level in curve], FAINT, "--"),
        )
        for label, found, colour, style in lines:
            events.plot(share, [float("nan") if v is None else v for v in found], style, color=colour, label=label)
        events.set(ylim=(0, 1.02), title="Presses and releases")
        levels.plot(share, [level.min_buttons for level in curve], "-", color=PURPLE, label="min_buttons")
        levels.plot(share, [level.min_camera for level in curve], "-.", color=INK, label="min_camera")
        levels.set(ylim=(0, 1.02), title="Thresholds")
        for axes in (frames, events, levels):
            if chosen is not None:
                axes.axvline(100 * chosen.kept.share, color=RED, lw=1.2, label="chosen" if axes is frames else None)
            axes.set(xlabel="frames kept, %, surest first", xlim=(103, 0))
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.17), borderpad=0)
        return png(canvas)
