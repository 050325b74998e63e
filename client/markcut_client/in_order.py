"""Many calls at once, their results in the order of what they were called with."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2  # results per call under way that may wait for an earlier one


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    concurrency: int,
    abandon: Callable[[], None],
) -> Generator[Result, None, None]:
    """``function`` of every item, ``concurrency`` at once; items are taken when there is room.

    Whatever ends the iteration early, ``abandon`` is called to end what is under way, and waited
    for.
    """
    if concurrency == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="markcut-client")
    window: deque[Future[Result]] = deque()
    source = iter(items)
    try:
        _fill(window, source, lambda item: pool.submit(function, item), concurrency)
        while window:
            result = window.popleft().result()
            _fill(window, source, lambda item: pool.submit(function, item), concurrency)
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        abandon()
        pool.shutdown(wait=True)


async def map_in_tasks(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, concurrency: int
) -> AsyncGenerator[Result, None]:
    """As :func:`map_in_threads` in the running event loop; what is under way is cancelled."""
    import asyncio  # a quarter of this package's import time, which most callers need not pay

    room = asyncio.Semaphore(concurrency)

    async def within(item: Item) -> Result:
        async with room:
            return await function(item)

    window: deque[asyncio.Task[Result]] = deque()
    source = iter(items)
    try:
        _fill(window, source, lambda item: asyncio.create_task(within(item)), concurrency)
        while window:
            result = await window[0]
            window.popleft()
            _fill(window, source, lambda item: asyncio.create_task(within(item)), concurrency)
            yield result
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


async def in_thread(function: Callable[..., Result], *arguments: object) -> Result:
    """``function`` of ``arguments``, in a thread: for what would stop the event loop."""
    import asyncio

    return await asyncio.to_thread(function, *arguments)


Started = TypeVar("Started")


def _fill(
    window: deque[Started],
    source: Iterator[Item],
    start: Callable[[Item], Started],
    concurrency: int,
) -> None:
    while len(window) < _AHEAD * concurrency:
        for item in source:
            window.append(start(item))
            break
        else:
            return
