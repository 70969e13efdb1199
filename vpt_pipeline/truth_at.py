"""Recorded actions at the rows of a label table: one record a video frame there, one row a tick of 20 Hz here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import ActionTrack


def truth_at(truth: ActionTrack, source_frame: NDArray[np.integer[Any]]) -> ActionTrack:
    """The truth of T rows that show the video's frames ``source_frame`` (T,), which never fall.

    At 20 frames a second this is the truth itself. Otherwise a row has the keys held at its frame, and the whole turn
    until the next row's frame; a frame shown twice turns only after its second showing. Rows beyond the last record,
    and rows whose records are broken, are not valid.
    """
    source = np.asarray(source_frame, np.int64)
    if len(source) == 0:
        return truth[:0]
    if len(truth) == 0:
        raise ValueError("there is no record of true actions")
    if (np.diff(source) < 0).any() or source[0] < 0:
        raise ValueError("the rows of a label table must show the video's frames in order")
    last = len(truth) - 1
    inside = source <= last
    here = np.minimum(source, last)
    # The last row's turn lasts for as many frames as the row before it did, as far as there are records.
    step = source[-1] - source[-2] if len(source) > 1 else 1
    ends = np.minimum(np.append(source[1:], source[-1] + max(int(step), 1)), last + 1)
    turned = np.vstack([np.zeros((1, 2)), np.cumsum(truth.camera, axis=0, dtype=np.float64)])
    broken = np.append(0, np.cumsum(~truth.valid))
    starts = np.minimum(here, ends)
    valid = inside & truth.valid[here] & (broken[ends] == broken[starts])
    return ActionTrack(
        truth.buttons[here] & valid[:, None],
        ((turned[ends] - turned[starts]) * valid[:, None]).astype(np.float32),
        truth.gui_open[here] & valid,
        valid,
    )
