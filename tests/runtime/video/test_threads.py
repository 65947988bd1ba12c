from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from runtime.video.threads import WriteBehind, prefetch


def count(stop: int, seen: list[int] | None = None, fail_at: int | None = None) -> Iterator[int]:
    for i in range(stop):
        if i == fail_at:
            raise OSError(f"broken at {i}")
        if seen is not None:
            seen.append(i)
        yield i


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_prefetch_keeps_order_and_ends() -> None:
    assert list(prefetch(count(100), depth=3)) == list(range(100))
    assert list(prefetch([])) == []


def test_prefetch_stays_within_its_depth() -> None:
    seen: list[int] = []
    with closing(prefetch(count(50, seen), depth=4)) as items:
        for item in items:
            # one in the consumer's hand, four waiting, one in the reader's hand
            assert len(seen) <= item + 1 + 4 + 1
            if item == 20:
                break
    assert len(seen) < 50


def test_prefetch_passes_an_exception_on_after_the_items_before_it() -> None:
    got = []
    with pytest.raises(OSError, match="broken at 7"):
        for item in prefetch(count(20, fail_at=7)):
            got.append(item)
    assert got == list(range(7))


def test_prefetch_ends_its_thread_when_the_consumer_raises() -> None:
    with pytest.raises(ValueError, match="enough"), closing(prefetch(count(10**9))) as items:
        for item in items:
            if item == 5:
                raise ValueError("enough")


def test_prefetch_ends_its_thread_on_a_plain_break() -> None:
    for item in prefetch(count(10**9)):
        if item == 5:
            break


def test_prefetch_with_drop_keeps_the_newest() -> None:
    release, exhausted = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 0
        release.wait(5)
        yield from range(1, 100)
        exhausted.set()

    items = prefetch(source(), depth=2, drop=True)
    assert next(items) == 0
    release.set()
    assert exhausted.wait(5)
    assert list(items) == [98, 99]


def test_write_behind_writes_everything_in_order() -> None:
    written: list[int] = []
    writer = WriteBehind(written.append, depth=2)
    for i in range(50):
        writer.put(i)
    writer.close()
    assert written == list(range(50))
    with pytest.raises(ValueError, match="closed"):
        writer.put(50)


def test_write_behind_waits_when_full() -> None:
    gate = threading.Event()
    entered = threading.Event()

    def write(item: int) -> None:
        entered.set()
        gate.wait(5)

    writer = WriteBehind(write, depth=2)
    writer.put(0)
    assert entered.wait(5)
    writer.put(1)
    writer.put(2)  # the queue is full now
    late = threading.Thread(target=writer.put, args=(3,))
    late.start()
    late.join(0.05)
    assert late.is_alive()
    gate.set()
    late.join(5)
    assert not late.is_alive()
    writer.close()


def test_write_behind_raises_what_the_thread_met_once() -> None:
    def write(item: int) -> None:
        raise OSError("disk full")

    writer = WriteBehind(write, depth=1)
    with pytest.raises(OSError, match="disk full"):
        for i in range(10):
            writer.put(i)
    writer.put(11)  # told once already; later items are dropped without a word
    writer.close()


def test_write_behind_raises_on_close() -> None:
    handed_over = threading.Event()

    def write(item: int) -> None:
        handed_over.wait(5)
        raise OSError("disk full")

    writer = WriteBehind(write)
    writer.put(0)
    handed_over.set()
    with pytest.raises(OSError, match="disk full"):
        writer.close()
