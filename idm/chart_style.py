"""How charts look: colours, fonts, and a figure that turns into PNG bytes.

matplotlib is an extra (``pip install "vpt-pipeline[viz]"``) and is imported when the first chart is drawn. Figures are
made without pyplot, so nothing global is touched and no display is needed. Colours are Okabe and Ito's, which stay
apart for colour-blind eyes; where two lines could still be confused, they also differ in dash or marker.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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


class figure:  # noqa: N801 - a context manager that is used like a function
    """A figure and its panels in our style: ``with figure(width, height) as (canvas, panels)``, inches."""

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
        canvas = Figure(figsize=self._size, dpi=160, layout="constrained")
        FigureCanvasAgg(canvas)
        panels = canvas.subplots(*self._grid, squeeze=False, height_ratios=self._heights)
        return canvas, list(panels.ravel())

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)


def png(canvas: Figure) -> bytes:
    """The figure as a file's bytes: equal figures are equal bytes."""
    buffer = io.BytesIO()
    # Without its default metadata, which names the library's version, the file depends on the picture alone.
    canvas.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
