"""Choose how sure labels must be: accuracy against the share of frames kept, on recordings whose true actions are known.

Labels are tables from `vpt label`, paired with recorded actions by name: play1.parquet with play1.jsonl. Say what is wanted,
--accuracy 0.95 (keep as much as reaches it) or --keep 0.8 (the surest part of that size), and thresholds.json is written for
`vpt filter --thresholds`; without either, only the curve is drawn. Choose on recordings that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.clean_spans import CleanRules
from data.files import atomic_path, sha256_file, write_json_atomic
from idm.threshold_plot import threshold_chart
from idm.thresholds import MEASURES, Level, choose, threshold_curve
from vpt_pipeline.eval_idm import Pair, pair_by_name, read_cases
from vpt_pipeline.label_view import RECORDS, TABLE, find_labels
from vpt_pipeline.progress import say
from vpt_pipeline.quality import RATE, joined, show


@dataclass(frozen=True)
class ThresholdsConfig:
    """Settings of `vpt thresholds`."""

    labels: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Label tables (.parquet), or folders of them."""
    truth: tuple[Path, ...] = ()
    """Recorded actions (.jsonl), or folders of recordings."""
    accuracy: float | None = None
    """Keep as many frames as reach this accuracy, 0 to 1."""
    keep: float | None = None
    """Instead: keep this share of the frames, 0 to 1, the surest ones."""
    measure: Literal["action", "keys", "camera", "events"] = "action"
    """Accuracy is the share of kept frames with all keys and the turn right (action), all keys right (keys), the turn right
    (camera: both axes within half a degree or a fifth), or F1 of presses and releases within one frame (events)."""
    smooth: int = CleanRules.smooth
    """As in `vpt filter`, which takes it from thresholds.json."""
    tolerate: int = CleanRules.tolerate
    """As in `vpt filter`, which takes it from thresholds.json."""
    out: Path = Path("runs/thresholds")
    """Where thresholds.json and kept_share.png go."""


SHOWN = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


def print_curve(curve: Sequence[Level], chosen: Level | None, console: Console) -> None:
    """Rows of the curve near round shares, and the chosen one."""
    near = {min(range(len(curve)), key=lambda n: abs(curve[n].kept.share - share)) for share in SHOWN}
    if chosen is not None:
        near.add(list(curve).index(chosen))
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for head in ("kept", "action\nright", "keys\nright", "camera\nright", "event F1\n±1", "events\nkept",
                 "min\nbuttons", "min\ncamera", ""):  # fmt: skip
        table.add_column(head, justify="right", no_wrap=True)
    for n in sorted(near):
        level, kept = curve[n], curve[n].kept
        picked = level is chosen
        values = (kept.action_right, kept.keys_right, kept.camera_right, kept.event_f1, kept.events_kept)
        table.add_row(f"{kept.share:.1%}", *(show(v) for v in values), f"{level.min_buttons:.3f}",
                      f"{level.min_camera:.3f}", "chosen" if picked else "", style="bold" if picked else None)  # fmt: skip
    console.print(table)


def as_json(config: ThresholdsConfig, chosen: Level, pairs: Sequence[Pair], frames: int) -> dict[str, Any]:
    """What `vpt filter` reads, and where it comes from."""
    kept = chosen.kept
    return {
        "version": 1,
        "min_buttons": chosen.min_buttons,
        "min_camera": chosen.min_camera,
        "smooth": config.smooth,
        "tolerate": config.tolerate,
        "asked_for": {"accuracy": config.accuracy, "keep": config.keep, "measure": config.measure},
        "kept_share": kept.share,
        "accuracy": {name: chosen.accuracy(name) for name in MEASURES},
        "events_kept": kept.events_kept,
        "frames_judged": frames,
        "tables_sha256": {str(path): sha256_file(path) for path in sorted({pair.labels.path for pair in pairs})},
    }


def main(config: ThresholdsConfig) -> int:
    """Returns 1 where some labels had no truth."""
    for name, value in (("--accuracy", config.accuracy), ("--keep", config.keep)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{name} is {value}; expected more than 0 and at most 1, as in {name} 0.9")
    if config.accuracy is not None and config.keep is not None:
        raise ValueError("give --accuracy or --keep, not both: one of them decides")
    rules = CleanRules(smooth=config.smooth, tolerate=config.tolerate)
    truth = [file.path for file in find_labels(config.truth, (RECORDS,))]
    pairs, alone = pair_by_name(find_labels(config.labels, (TABLE,)), truth)
    cases, problems = read_cases(pairs)
    for note in [*alone, *problems]:
        say(f"[yellow]note:[/yellow] {escape(note)}")
    if not cases:
        raise ValueError("no recording to choose by: expected at least one label table with a recorded truth")
    curve = threshold_curve(*joined(cases), [len(case.truth) for case in cases], rules)
    chosen = None
    if config.accuracy is not None or config.keep is not None:
        chosen = choose(curve, config.measure, accuracy=config.accuracy, keep=config.keep)
    frames = curve[0].kept.frames
    say(f"{len(cases)} recordings, {frames / RATE / 60:.1f} minutes with known actions")
    print_curve(curve, chosen, Console())
    picture, file = config.out / "kept_share.png", config.out / "thresholds.json"
    with atomic_path(picture) as part:
        part.write_bytes(threshold_chart(curve, config.measure, chosen))
    say(f"curve: {picture}")
    if chosen is None:
        say(
            "Nothing chosen yet. Add --accuracy 0.95, say, or --keep 0.8, and thresholds.json is written for `vpt filter`."
        )
    else:
        write_json_atomic(file, as_json(config, chosen, pairs, frames))
        say(f"{MEASURES[config.measure][1]}: {show(chosen.accuracy(config.measure))} on the {chosen.kept.share:.0%} kept, "
            f"{show(curve[0].accuracy(config.measure))} on all")  # fmt: skip
        say(f"Next: vpt filter LABELS --thresholds {file}")
    return 1 if alone else 0
