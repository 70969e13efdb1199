"""A process that decodes for a model worker, so that a video that crashes, hangs or eats memory takes nothing with it.

Run as ``python -m vpt_pipeline.cluster.decode_process FD``: answers requests on the socket FD until it is closed. It kills
itself where it stands still: a thread that needs no interpreter's lock watches (faulthandler), so this holds for a decoder
that loops in C, too, and for one whose worker is gone.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2

from data.files import sha256_file
from data.frame_inputs import FrameInputs, InputMaker
from data.readers import FrameReader, open_reader
from data.resample import ResampleReport, at_rate
from data.scratch import Scratch
from data.tick_plan import TickPlan, TickSpan
from data.video import probe
from data.video_index import IrregularVideo
from idm.blocks import Block, input_blocks
from idm.config import IDMConfig
from vpt_pipeline.cluster.wire import Arrays, receive, send


def reader_of(backend: str) -> Callable[[Path], FrameReader]:
    """A backend of data.readers, or ``package.module:function`` of the user's own, which is called with the path."""
    if ":" not in backend:
        return lambda path: open_reader(path, backend)
    module, _, name = backend.partition(":")
    function: Callable[[Path], FrameReader] = getattr(importlib.import_module(module), name)
    return function


def _may_share(backend: str) -> bool:
    """Spans are read with PyAV, so only where all of it is, or a reader of the user's own says ``like_pyav = True``."""
    return backend == "pyav" or getattr(reader_of(backend), "like_pyav", False)


class _Watched:
    """Sends messages, and is watched by the clock whenever it does not wait for the other side."""

    def __init__(self, pipe: Connection, patience_s: float) -> None:
        self._pipe, self._patience = pipe, patience_s

    def start(self) -> None:
        faulthandler.dump_traceback_later(self._patience, exit=True)

    def send(self, kind: str, values: dict[str, Any] | None = None, arrays: Arrays | None = None) -> None:
        faulthandler.cancel_dump_traceback_later()  # waiting for the model is no fault
        send(self._pipe, kind, values, arrays)
        self.start()


def _answer(say: _Watched, asked: dict[str, Any], arrays: Arrays, scratch: Scratch) -> None:
    config = IDMConfig.from_dict(asked["config"])
    maker = InputMaker(config.inputs, threads=1, block=asked["block"])
    with scratch.local(asked["url"], asked["stamp"]) as path:
        if "span" in asked:
            span = TickSpan(
                asked["span"]["start"],
                arrays["source_frame"],
                arrays["resampled"],
                arrays["pts"],
                asked["span"]["start_pts"],
                Fraction(*asked["span"]["time_base"]),
            )
            _blocks(say, input_blocks(span.read(path), maker))
            say.send("end", {"problems": []})
            return
        if not path.is_file():
            raise ValueError(f"{path}: no such file; expected a video")
        say.send("file", {"sha256": sha256_file(path), "bytes": path.stat().st_size})
        first = asked["plan_ticks"]  # ticks of the first of several spans
        plan = _plan(path, config.rate, first, asked["backend"]) if first else None
        if plan is not None and plan.report.ticks > first:
            index = plan.index
            base = [index.time_base.numerator, index.time_base.denominator]
            told = {"time_base": base, "report": asdict(plan.report)}
            lists = {"pts": index.pts, "keyframes": index.keyframes}
            say.send("plan", told, lists | {"source_frame": plan.source_frame, "resampled": plan.resampled})
            _blocks(say, input_blocks(plan.span(0, first).read(path), maker))
            say.send("end", {"problems": []})
            return
        report = ResampleReport()
        with reader_of(asked["backend"])(path) as reader:
            _blocks(say, input_blocks(at_rate(reader, config.rate, report), maker))
            say.send("end", {"problems": reader.problems, "report": asdict(report), "codec": reader.info.codec})


def _plan(path: Path, rate: int, first: int, backend: str) -> TickPlan | None:
    """How to share a video that is longer than ``first`` ticks; None for one that must be read from its beginning."""
    if not _may_share(backend) or (probe(path).duration_s or 0) * rate <= first:
        return None
    try:
        return TickPlan.of(path, rate)
    except IrregularVideo:
        return None


def _blocks(say: _Watched, blocks: Iterator[Block]) -> None:
    for block in blocks:
        ticks, base = block.ticks, block.ticks.time_base
        say.send(
            "block",
            {"time_base": [base.numerator, base.denominator]},
            {
                "images": block.inputs.images,
                "motion": block.inputs.motion,
                "source_frame": ticks.source_frame,
                "pts": ticks.pts,
                "resampled": ticks.resampled,
                "cut": ticks.cut,
            },
        )


def digest(inputs: FrameInputs) -> str:
    """What two spans must agree on where they meet."""
    return blake2b(inputs.images.tobytes() + inputs.motion.tobytes(), digest_size=16).hexdigest()


def main(fd: int) -> None:
    cv2.setNumThreads(1)
    faulthandler.enable()
    pipe = Connection(fd)
    kind, settings, _ = receive(pipe)
    assert kind == "settings"
    limit = settings["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    scratch = Scratch(Path(settings["scratch"]), settings["scratch_bytes"])
    say = _Watched(pipe, settings["patience_s"])
    while True:
        try:
            _, asked, arrays = receive(pipe)
        except EOFError:
            return
        say.start()
        try:
            _answer(say, asked, arrays, scratch)
        except IrregularVideo as error:
            say.send("irregular", {"error": str(error)})
        except (BrokenPipeError, ConnectionResetError):
            return
        except MemoryError:
            say.send("error", {"error": f"it needs more than the {limit / 2**30:.1f} GiB that decoding may use"})
        except Exception as error:
            named = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
            say.send("error", {"error": named})
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(int(sys.argv[1]))
