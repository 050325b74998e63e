"""Pictures through shared memory, and every way in which that may not work."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markcut_client import Client, InferenceError, ParameterError, TransportError
from markcut_client.transports import shared_memory
from markcut_client.transports.messages import Failure, Infer, Register, Unregister
from markcut_client.transports.shared_memory import Segments
from tests.client.fake_server import Engine, Refused
from tests.client.test_servers import fingerprint

pytestmark = pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm on this system")


def left_behind() -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"markcut-{os.getpid()}-")]


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    assert left_behind() == []


@pytest.fixture
def pictures(photo: Any) -> list[Path]:
    return [photo(f"{index}.bmp", size=(200 + index, 100)) for index in range(12)]


def status(client: Client) -> str:
    return client._transport.shared_memory  # type: ignore[attr-defined, no-any-return]


def test_pictures_come_through_it(server: Any, engine: Engine, pictures: list[Path]) -> None:
    with Client(server.url, shared_memory="on") as client:
        assert status(client) == "not used so far"
        found = list(client.extract_many(pictures, concurrency=3))
        assert status(client) == "on"
        assert left_behind() == []  # nameless as soon as the server has it
        assert 1 <= len(engine.regions) <= 3  # and used again
    assert [one.stage_ms["total"] for one in found] == [fingerprint(p) for p in pictures]
    assert engine.shared == len(pictures)
    assert engine.regions == {}  # the server was told to forget


def test_auto_leaves_small_pictures_alone(
    server: Any, engine: Engine, pictures: list[Path], photo: Any
) -> None:
    with Client(server.url) as client:
        client.extract(pictures[0])
        assert engine.shared == 0
        assert status(client).startswith("not used so far (pictures under")
        client.extract(photo("big.bmp", size=(800, 600)))
        assert engine.shared == 1
        assert status(client) == "on"


def test_off(server: Any, engine: Engine, photo: Any) -> None:
    with Client(server.url, shared_memory="off") as client:
        client.extract(photo("big.bmp", size=(800, 600)))
        assert status(client) == "off: not asked for"
    assert engine.shared == 0


def test_a_server_that_refuses(server: Any, engine: Engine, photo: Any) -> None:
    engine.accepts_shared_memory = False
    big = photo("big.bmp", size=(800, 600))
    with Client(server.url) as client:
        assert len(client.extract(big)) == 1
        assert "off: the server refuses it (client shared memory" in status(client)
        assert len(client.extract(big)) == 1
    message = r"no shared memory .*--allow-client-shm=true"
    with (
        Client(server.url, shared_memory="on") as client,
        pytest.raises(TransportError, match=message),
    ):
        client.extract(big)
    assert engine.shared == 0


def test_a_server_that_forgot(server: Any, engine: Engine, pictures: list[Path]) -> None:
    with Client(server.url, shared_memory="on") as client:
        client.extract(pictures[0])
        engine.regions.clear()  # as a restart does
        assert client.extract(pictures[1]).stage_ms["total"] == fingerprint(pictures[1])
        client.extract(pictures[2])
    assert engine.shared == 2  # the second went as bytes, the third was registered anew


def test_segments_of_failed_requests_are_not_used_again(
    server: Any, engine: Engine, pictures: list[Path]
) -> None:
    names: list[str] = []

    def before(number: int) -> None:
        names.extend(engine.regions)
        if number == 1:
            raise Refused("UNAVAILABLE", "Exceeds maximum queue size")

    engine.before = before
    with Client(server.url, shared_memory="on") as client:
        client.extract(pictures[0])
        assert len(set(names)) == 2
        assert list(engine.regions) == names[1:]  # the first was given back to the server


def test_what_a_server_still_reads_is_given_back_later(
    server: Any, engine: Engine, pictures: list[Path]
) -> None:
    mapped: list[Any] = []

    def before(number: int) -> None:
        if number == 1:
            mapped.extend(engine.regions.values())
            engine.reading.update(engine.regions)
            assert mapped[0].any()
            raise Refused("INTERNAL", "no memory")

    engine.before = before
    with Client(server.url, shared_memory="on") as client:
        with pytest.raises(InferenceError):
            client.extract(pictures[0])
        assert not mapped[0].any()  # the memory itself is the system's again
        client.extract(pictures[1])
        assert len(engine.regions) == 2
        engine.reading.clear()
        client.extract(pictures[2])
        assert len(engine.regions) == 1
        engine.reading.update(engine.regions)
    assert len(engine.regions) == 1  # it does not let go, and nobody waits for that
    assert not next(iter(engine.regions.values())).any()


def test_a_client_that_nobody_closed_gives_its_memory_back() -> None:
    segments = Segments(enabled=True)
    with segments.create(5) as segment:
        there = np.memmap(f"/dev/shm{segment.region.key}", np.uint8, "r")
        segment.fill(np.ones(5, np.uint8))
    assert there[:5].all()
    del segments, segment
    gc.collect()
    assert not there.any()


def test_no_memory_for_it(
    server: Any, engine: Engine, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with Client(server.url) as client:
        assert len(client.extract(photo("big.bmp", size=(800, 600)))) == 1
        assert status(client) == "off: no memory for it (No space left on device)"


def test_only_on_this_host() -> None:
    with Client("grpc://192.0.2.1") as client:
        assert status(client) == "off: the server is on another host"
    with pytest.raises(ParameterError, match="expected a server on this host"):
        Client("grpc://192.0.2.1", shared_memory="on")


def test_a_cancelled_registration_leaves_nothing() -> None:
    from markcut_client import Request, ServerOptions
    from markcut_client.transports.address import Address
    from markcut_client.transports.exchange import Exchange

    exchange = Exchange(Address.parse("grpc://localhost"), ServerOptions(shared_memory="on"))
    request = Request("marked_object", {"image": np.ones(9, np.uint8)}, {})
    steps = exchange.infer(request)
    first = next(steps)
    assert isinstance(first.message, Register)  # type: ignore[union-attr]
    assert len(left_behind()) == 1
    steps.close()
    assert left_behind() == []

    steps = exchange.infer(request)
    forget = next(steps)  # the server may have mapped the first one
    assert forget.message == Unregister(first.message.region.name)  # type: ignore[union-attr]
    assert isinstance(steps.send(None).message, Register)  # type: ignore[union-attr]
    asked = steps.send(None)
    assert isinstance(asked.message, Infer)  # type: ignore[union-attr]
    assert asked.message.region is not None
    steps.close()
    (told,) = exchange.farewell()
    assert told.message == Unregister(asked.message.region.name)  # type: ignore[union-attr]


def test_few_large_segments_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_MOST_FREE", 5 << 20)
    segments = Segments(enabled=True)
    made = []
    for size in (1 << 20, 1 << 22, 1 << 21):
        with segments.create(size) as segment:
            made.append(segment)
    for segment in made:
        segments.give_back(segment)
    assert segments.count == 2
    assert segments.to_forget() == [made[1].region.name]
    segments.close()


def test_sizes_grow_in_powers_of_two() -> None:
    segments = Segments(enabled=True)
    for size, granted in ((1, 1 << 20), ((1 << 20) + 1, 1 << 21)):
        with segments.create(size) as segment:
            assert segment.region.size == granted
        segments.give_back(segment)
    assert segments.take((1 << 21) + 1) is None
    small = segments.take(5)
    assert small is not None
    assert small.region.size == 1 << 20
    segments.close()
    assert len(segments.to_forget()) == 1
    segments.give_back(small)  # after the end: it is let go
    assert segments.count == 0
    assert not isinstance(segments.take(1), Failure)
