"""Items made in advance: same order, errors in their place, and no thread left when the consumer stops."""

import threading
from collections.abc import Iterator

import pytest

from data.ahead import ahead


def test_order_is_kept_and_work_is_done_in_advance() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for n in range(20):
            made.append(n)
            yield n

    stream = ahead(items(), depth=3)
    assert next(stream) == 0
    for _ in range(200):
        if len(made) >= 4:
            break
        threading.Event().wait(0.01)
    assert 4 <= len(made) <= 6  # bounded: the queue, the one in hand and the one given out
    assert list(stream) == list(range(1, 20))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    stream = ahead(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(stream)


def test_a_consumer_that_stops_leaves_no_thread() -> None:
    stream = ahead(iter(range(10**9)))
    assert next(stream) == 0
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
