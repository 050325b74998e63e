from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from markcut_client import (
    AsyncClient,
    AsyncTransport,
    DeadlineError,
    Extraction,
    OverloadedError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.transports import threaded
from markcut_client.transports.threaded import ThreadedTransport
from tests.client.fake_server import Engine, Refused, wait_until
from tests.client.test_servers import fingerprint


def test_extract_and_prompt(server: Any, engine: Engine, photo: Any) -> None:
    async def main() -> None:
        async with AsyncClient(server.url, headers={"x-id": "7"}) as client:
            found = await client.extract(photo(), mark_threshold=0.25)
            assert found[0].mark.kind == "circle"
            first = await client.prompt(photo(), boxes=(1, 2, 3, 4))
            again = await client.prompt(photo(), boxes=(1, 2, 3, 4), earlier=first)
            assert (again[0].logits == 1).all()
        await client.close()
        with pytest.raises(TransportError, match="the client is closed"):
            await client.extract(photo())

    asyncio.run(main())
    assert engine.requests[0][2] == {"mark_threshold": "0.25"}
    assert engine.headers[0]["x-id"] == "7"


def test_made_outside_of_an_event_loop_and_used_in_one(server: Any, photo: Any) -> None:
    client = AsyncClient(server.url)
    idle = AsyncClient(server.url)

    async def main() -> None:
        assert len(await client.extract(photo())) == 1
        await idle.close()

    asyncio.run(main())
    if server.url.startswith("grpc"):
        with pytest.raises(TransportError, match="belongs to another event loop"):
            asyncio.run(main())
    else:
        asyncio.run(client.close())


def test_many_in_order(server: Any, engine: Engine, photo: Any) -> None:
    pictures = [photo(f"{index}.png", size=(20 + index, 16)) for index in range(20)]
    pictures[3].write_bytes(b"nonsense")
    gate = threading.Barrier(5)
    engine.before = lambda number: None if number > 5 else gate.wait(20) and None
    taken: list[Path] = []

    def source() -> Iterator[Path]:
        for picture in pictures:
            taken.append(picture)
            yield picture

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            outcomes = client.extract_many(source(), concurrency=5)
            assert taken == []
            found = [await anext(outcomes)]
            assert len(taken) <= 11
            found += [outcome async for outcome in outcomes]
        assert isinstance(found[3], PictureError)
        for index, outcome in enumerate(found):
            if index != 3:
                assert isinstance(outcome, Extraction)
                assert outcome.stage_ms["total"] == fingerprint(pictures[index])
        assert len(found) == 20

    asyncio.run(main())
    assert engine.most_at_once == 5


def test_failures(server: Any, engine: Engine, photo: Any) -> None:
    def before(number: int) -> None:
        raise Refused("UNAVAILABLE", "Exceeds maximum queue size")

    engine.before = before

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            with pytest.raises(OverloadedError, match="try again later"):
                await client.extract(photo())
            assert len(engine.requests) == 3
            with pytest.raises(ParameterError, match="timeout: got 0"):
                await client.extract(photo(), timeout=0)
            with pytest.raises(ParameterError, match="max_marks: got 0"):
                client.extract_many([], max_marks=0)

    asyncio.run(main())


def test_deadline_and_the_next_one(server: Any, engine: Engine, photo: Any) -> None:
    go_on = threading.Event()
    engine.before = lambda number: None if number > 1 else bool(go_on.wait(20)) and None

    async def main() -> None:
        async with AsyncClient(server.url, timeout=0.3) as client:
            with pytest.raises(DeadlineError):
                await client.extract(photo())
            go_on.set()
            assert len(await client.extract(photo(), timeout=20)) == 1

    asyncio.run(main())


def test_waiting_for_a_thread_counts(
    http_server: Any, engine: Engine, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "_THREADS", 1)
    go_on = threading.Event()
    engine.before = lambda number: bool(go_on.wait(20)) and None

    async def main() -> None:
        async with AsyncClient(http_server.url) as client:
            first = asyncio.create_task(client.extract(photo(), timeout=60))
            await asyncio.to_thread(wait_until, lambda: len(engine.requests) == 1)
            others = [asyncio.create_task(client.extract(photo(), timeout=0.2)) for _ in range(3)]
            await asyncio.sleep(1)  # their time is over before it is their turn
            go_on.set()
            assert len(await first) == 1
            late = await asyncio.gather(*others, return_exceptions=True)
            assert {type(one) for one in late} == {DeadlineError}

    asyncio.run(main())
    assert len(engine.requests) == 1


def test_cancelling_reaches_the_server(grpc_server: Any, engine: Engine, photo: Any) -> None:
    go_on = threading.Event()
    engine.before = lambda number: bool(go_on.wait(20)) and None

    async def main() -> None:
        async with AsyncClient(grpc_server.url) as client:
            task = asyncio.create_task(client.extract(photo()))
            await asyncio.to_thread(wait_until, lambda: len(engine.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(engine.cancelled.wait, 20)
            go_on.set()
            engine.cancelled.clear()
            assert len(await client.extract(photo())) == 1

    asyncio.run(main())


def test_cancelling_over_http_leaves_no_thread_waiting(
    http_server: Any, engine: Engine, photo: Any
) -> None:
    go_on = threading.Event()

    def hold_the_first(number: int) -> None:
        if number == 1:
            go_on.wait(60)

    engine.before = hold_the_first

    async def main() -> None:
        async with AsyncClient(http_server.url) as client:
            task = asyncio.create_task(client.extract(photo()))
            await asyncio.to_thread(wait_until, lambda: len(engine.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            pool = client._transport._pool  # type: ignore[attr-defined]
            assert len(await client.extract(photo())) == 1
            await asyncio.to_thread(pool.shutdown)  # waits for all of its threads

    asyncio.run(main())
    assert not go_on.is_set()
    go_on.set()
    assert len(engine.requests) == 2


def test_leaving_many_early(grpc_server: Any, engine: Engine, photo: Any) -> None:
    go_on = threading.Event()
    pictures = [photo(f"{index}.png", size=(64 + index, 48)) for index in range(9)]

    def hold_all_but_the_first(number: int) -> None:
        # two requests are under way: the first to arrive need not be the first picture's
        if engine.requests[number - 1][1]["image"].tobytes() != pictures[0].read_bytes():
            go_on.wait(20)

    engine.before = hold_all_but_the_first

    async def main() -> None:
        async with AsyncClient(grpc_server.url) as client:
            outcomes = client.extract_many(pictures, concurrency=2)
            assert isinstance(await anext(outcomes), Extraction)
            await asyncio.to_thread(wait_until, lambda: len(engine.requests) >= 2)
            await outcomes.aclose()
            assert await asyncio.to_thread(engine.cancelled.wait, 20)
            go_on.set()

    asyncio.run(main())
    assert len(engine.requests) <= 5


def test_any_transport_in_threads(transport: Any, photo: Any) -> None:
    async def main() -> None:
        threaded: AsyncTransport = ThreadedTransport(transport)
        async with AsyncClient(threaded) as client:
            assert len(await client.extract(photo())) == 1

    asyncio.run(main())
    assert transport.closed == 1
    with pytest.raises(ParameterError, match="transport: got FakeTransport"):
        AsyncClient(transport)
