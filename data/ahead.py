"""Work in threads: on the next items while this one is used (decoding beside the model), or on some at the same time."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """The same items in the same order, up to ``depth`` of them made in advance.

    An error in the making is raised here, after the items before it. When the consumer stops early the thread ends
    after the item it is at; it is waited for, so that what the items are made from can be closed afterwards.
    """
    ready: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed over to the consumer
            put((False, error))

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            more, entry = ready.get()
            if not more:
                if isinstance(entry, BaseException):
                    raise entry
                return
            yield entry  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


def beside_each_other(work: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """What ``work`` makes of each, in their order. For videos: decoding and scaling leave the interpreter free, and what is one
    after the other in a video runs beside that of the next."""
    with ThreadPoolExecutor(max(2, (os.cpu_count() or 1) // 2)) as pool:
        return list(pool.map(work, items))
