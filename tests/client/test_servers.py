"""Clients against servers of both protocols in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markcut_client import (
    AnswerError,
    Client,
    ClientError,
    DeadlineError,
    Extraction,
    InferenceError,
    OverloadedError,
    ParameterError,
    PictureError,
    Request,
    TransportError,
    open_transport,
)
from markcut_client.transports import open_server, retries
from tests.client.fake_server import Engine, GrpcServer, HttpServer, Refused, wait_until


def fingerprint(picture: Path) -> int:
    return int(np.frombuffer(picture.read_bytes(), np.uint8).sum() % 65521)


def refusing(status: str, text: str, *, times: int = 10**9) -> Callable[[int], None]:
    def before(number: int) -> None:
        if number <= times:
            raise Refused(status, text)

    return before


@pytest.mark.parametrize("kinds", [(), ("circle",), ("tick", "other", "dot")])
def test_tensors_arrive_as_they_were_sent(
    server: Any, engine: Engine, answer: Any, photo: Any, kinds: tuple[str, ...]
) -> None:
    engine.answer = lambda height, width: answer(height, width, kinds=kinds)
    sent = {}
    engine.change = lambda outputs: sent.update(outputs) or outputs
    image = np.frombuffer(photo().read_bytes(), np.uint8)
    transport = open_transport(server.url)
    got = transport.infer(Request("marked_object", {"image": image}, {}))
    transport.close()
    assert list(got) == list(sent)
    for name, array in sent.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        if array.dtype == object:
            assert got[name].tolist() == array.tolist()
        else:
            assert got[name].tobytes() == array.tobytes()
    with pytest.raises(TransportError, match="the client is closed"):
        transport.infer(Request("marked_object", {"image": image}, {}))


def test_parameters_keep_their_bits(server: Any, engine: Engine, photo: Any) -> None:
    with Client(server.url) as client:
        client.extract(photo())
        client.extract(
            photo(), seed=2**63 - 1, max_marks=2, mark_threshold=0.1 + 0.2, points_per_mark=3,
            prompt="größer",
        )  # fmt: skip
    assert engine.requests[0][2] == {}
    sent = engine.requests[1][2]
    assert float(sent.pop("mark_threshold")) == 0.1 + 0.2
    assert sent == {
        "seed": 2**63 - 1, "max_marks": 2, "points_per_mark": 3, "prompt": "größer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        ("INVALID_ARGUMENT", "image: got a GIF, expected a JPEG", PictureError,
         "photo.png: got a GIF, expected a JPEG"),
        ("INVALID_ARGUMENT", ("[request id: <id_unknown>] in ensemble 'marked_object', Failed to "
         "process the request(s) for model instance 'preprocess_0_0', message: image: got a GIF"),
         PictureError, "photo.png: got a GIF"),
        ("INVALID_ARGUMENT", "in ensemble 'marked_object', prompt: got 'x', expected 'y'",
         ParameterError, "prompt: got 'x', expected 'y'"),
        ("INVALID_ARGUMENT", ("[request id: <id_unknown>] unexpected shape for input "
         "'earlier_logits' for model 'prompted_object'. Expected [-1,128,128], got [1,5,128]."),
         ParameterError, r"earlier_logits: .*; Expected \[-1,128,128\], got \[1,5,128\]$"),
        ("NOT_FOUND", "Request for unknown model: 'marked_object' has no available versions",
         TransportError, "still loading its models, or stopping .*try again later"),
        ("INVALID_ARGUMENT", "unexpected inference input 'x'", InferenceError,
         "photo.png: the server refuses the request: unexpected inference input"),
        ("INTERNAL", ("in ensemble 'marked_object', Failed to process the request(s) for model "
         "instance 'sam2_decoder_0_0', message: RuntimeError: no memory\n\nAt: x.py"),
         InferenceError, "photo.png: sam2_decoder: RuntimeError: no memory; the log of"),
        ("NOT_FOUND", "Request for unknown model: 'marked_object' is not found", TransportError,
         "does not serve this .*is it a Markcut server"),
        ("UNAUTHENTICATED", "no token", TransportError, "refuses this caller .*as headers"),
        ("UNAVAILABLE", "in ensemble 'marked_object', Exceeds maximum queue size",
         OverloadedError, "photo.png: .* has too much to do .*try again later"),
        ("RESOURCE_EXHAUSTED", "slow down", OverloadedError, "too much to do"),
        ("UNAVAILABLE", "Server is stopping", TransportError, "nobody answers .*is stopping"),
    ],
)  # fmt: skip
def test_refusals(
    server: Any, engine: Engine, photo: Any, status: str, text: str, kind: Any, message: str
) -> None:
    engine.before = refusing(status, text)
    with Client(server.url) as client, pytest.raises(ClientError, match=message) as caught:
        client.extract(photo())
    assert type(caught.value) is kind


@pytest.mark.parametrize("text", ["Exceeds maximum queue size", "Server is stopping"])
def test_passing_refusals_are_retried(server: Any, engine: Engine, photo: Any, text: str) -> None:
    engine.before = refusing("UNAVAILABLE", text, times=2)
    with Client(server.url) as client:
        assert len(client.extract(photo())) == 1
    assert len(engine.requests) == 3


def test_an_outage_does_not_multiply_the_load(server: Any, engine: Engine, photo: Any) -> None:
    engine.before = refusing("UNAVAILABLE", "Exceeds maximum queue size")
    pictures = [photo()] * 12
    with Client(server.url) as client:
        outcomes = list(client.extract_many(pictures))
        assert {type(outcome) for outcome in outcomes} == {OverloadedError}
        asked = len(engine.requests)
        assert 12 < asked < 20  # not 36
        engine.before = lambda number: None
        assert len(client.extract(photo())) == 1
    assert len(engine.requests) == asked + 1


def test_nobody_there_and_back_again(
    server: Any, engine: Engine, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo()
    with Client(server.url) as client:
        assert len(client.extract(picture)) == 1
        server.stop()
        with monkeypatch.context() as patched:
            patched.setattr(retries, "PATIENCE", 0.3)
            with pytest.raises(TransportError, match=r"nobody answers .*is the server running"):
                client.extract(picture)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(client.extract, picture)
            time.sleep(1)
            again = type(server)(engine, port=server.port)
            try:
                assert len(waiting.result()) == 1  # it was started again meanwhile
            finally:
                again.stop()


def test_the_time_of_a_request_begins_when_it_is_made(server: Any, engine: Engine) -> None:
    began = time.monotonic() - 5
    request = Request("marked_object", {"image": np.ones(9, np.uint8)}, {}, 4, began)
    with closing(open_server(server.url)) as transport, pytest.raises(DeadlineError):
        transport.infer(request)
    assert engine.requests == []


def test_a_port_of_another_protocol(photo: Any, engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for scheme in ("grpc", "http"):
            client = Client(f"{scheme}://127.0.0.1:{port}", timeout=0.3)
            with client, pytest.raises((DeadlineError, TransportError)):
                client.extract(photo())
    http, grpc = HttpServer(engine), GrpcServer(engine)
    try:
        for url in (f"grpc://127.0.0.1:{http.port}", f"http://127.0.0.1:{grpc.port}"):
            with Client(url, timeout=20) as client, pytest.raises(TransportError, match="port"):
                client.extract(photo())
    finally:
        http.stop()
        grpc.stop()


def test_deadline(server: Any, engine: Engine, photo: Any) -> None:
    go_on = threading.Event()

    def before(number: int) -> None:
        if number == 2:
            go_on.wait(20)

    engine.before = before
    pictures = [photo(f"{name}.png") for name in "abc"]
    with Client(server.url, timeout=0.5) as client:
        first, second, third = client.extract_many(pictures)
        assert isinstance(first, Extraction)
        assert isinstance(second, DeadlineError)
        assert f"b.png: no answer from {server.url} within 0.5 s; give it" in str(second)
        assert isinstance(third, Extraction)
        go_on.set()
        assert len(client.extract(pictures[0], timeout=20)) == 1
    assert engine.most_at_once <= 2


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", True, 1e9])
def test_wrong_timeouts(timeout: Any) -> None:
    with pytest.raises(ParameterError, match="timeout: got"):
        Client("grpc://localhost", timeout=timeout)


def test_many_at_once_in_order(server: Any, engine: Engine, photo: Any) -> None:
    pictures = [photo(f"{index}.png", size=(20 + index, 16)) for index in range(24)]
    gate = threading.Barrier(4)

    def before(number: int) -> None:
        if number <= 4:
            gate.wait(20)  # passes only when four are under way

    engine.before = before
    taken = []

    def source() -> Iterator[Path]:
        for picture in pictures:
            taken.append(picture)
            yield picture

    with Client(server.url) as client:
        outcomes = client.extract_many(source(), concurrency=4)
        assert taken == []
        found = [next(outcomes)]
        assert len(taken) <= 9  # only as far ahead as there is room
        found += outcomes
    assert [one.picture for one in found] == [str(picture) for picture in pictures]
    assert [one.stage_ms["total"] for one in found] == [fingerprint(p) for p in pictures]
    assert engine.most_at_once == 4


def test_concurrency_is_checked() -> None:
    with Client("grpc://localhost:1") as client:
        for wrong in (0, 1.5, 65):
            with pytest.raises(ParameterError, match="concurrency: got"):
                client.extract_many([], concurrency=wrong)  # type: ignore[arg-type]


def test_leaving_many_early(server: Any, engine: Engine, photo: Any) -> None:
    go_on = threading.Event()
    pictures = [photo(f"{index}.png", size=(64 + index, 48)) for index in range(9)]

    def hold_all_but_the_first(number: int) -> None:
        if engine.requests[number - 1][1]["image"].tobytes() != pictures[0].read_bytes():
            go_on.wait(20)

    engine.before = hold_all_but_the_first
    client = Client(server.url)
    outcomes = client.extract_many(pictures, concurrency=2)
    assert isinstance(next(outcomes), Extraction)
    wait_until(lambda: len(engine.requests) >= 2)
    outcomes.close()  # type: ignore[attr-defined]
    if isinstance(server, GrpcServer):  # over HTTP it need not hear of it
        assert engine.cancelled.wait(20)
    assert not go_on.is_set()
    go_on.set()
    assert len(engine.requests) <= 5
    client.close()


def set_to(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda outputs: {**outputs, name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda outputs: {}, "mark_kinds: the answer holds nothing"),
        (set_to("mark_scores", np.zeros(1)), "mark_scores: data type 'FP64'"),
        (set_to("mark_scores", np.zeros(3, np.float32)), r"holds float32 \(3,\)"),
        (set_to("picture_size", np.array([1 << 30, 1 << 30], np.int32)), "run lengths"),
        (set_to("object_masks", np.array([b"\xff" * 40], object)), "run lengths"),
        (set_to("stage_ms", np.full(12, np.inf, np.float32)), "NaN or infinity"),
    ],
)
def test_hostile_tensors(
    server: Any, engine: Engine, photo: Any, change: Any, message: str
) -> None:
    engine.change = change
    with Client(server.url) as client, pytest.raises(AnswerError, match=message):
        client.extract(photo())


def test_huge_answers_are_not_read(
    server: Any, engine: Engine, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = 1 << 16
    monkeypatch.setattr("markcut_client.transports.http.MAX_ANSWER", small)
    monkeypatch.setitem(
        vars(__import__("markcut_client.transports.grpc", fromlist=["_CHANNEL"]))["_CHANNEL"],
        "grpc.max_receive_message_length",
        small,
    )
    engine.change = set_to("object_reasons", np.array([b"x" * 4 * small], object))
    with Client(server.url) as client, pytest.raises(AnswerError, match="cannot be read"):
        client.extract(photo())


def test_headers(server: Any, engine: Engine, photo: Any) -> None:
    with Client(server.url, headers={"Authorization": "Bearer abc"}) as client:
        client.extract(photo())
    assert engine.headers[-1]["authorization"] == "Bearer abc"


def test_describes_itself(server: Any, engine: Engine) -> None:
    transport: Any = open_transport(server.url)
    report = transport.describe("marked_object", "prompted_object", timeout=20)
    assert (report.server.name, report.server.versions) == ("triton", ("2.51.0",))
    assert report.models["prompted_object"].ready
    assert report.models["marked_object"].versions == ("1",)
    engine.ready = False
    assert not transport.describe("marked_object", timeout=20).models["marked_object"].ready
    transport.close()


def test_prompt(server: Any, engine: Engine, photo: Any) -> None:
    picture = photo(size=(64, 48))
    with Client(server.url) as client:
        first = client.prompt(picture, points=[(10, 20)])
        again = client.prompt(
            picture, points=[[(10, 20), (3, 4)], None], labels=[[1, 0], None],
            boxes=[None, (1, 2, 30, 40)], earlier=[first[0], None],
        )  # fmt: skip
    assert (first.width, first.height, len(first)) == (64, 48, 1)
    assert first[0].area == 64 * 48
    assert first[0].cutout(background="transparent").size == (64, 48)
    assert again[0].logits.tolist() == (first[0].logits + 1).tolist()
    assert first[0].to_json()["score"] == 0.9
    model, inputs, _ = engine.requests[0]
    assert model == "prompted_object"
    assert inputs["point_coords"].tolist() == [[[10, 20]]]
    assert inputs["earlier_logits"].shape == (1, 8, 8)  # as the server's metadata say
    assert np.isnan(inputs["earlier_logits"]).all()
    assert np.isnan(inputs["boxes"]).all()
    _, inputs, _ = engine.requests[1]
    assert inputs["point_labels"].tolist() == [[1, 0], [-1, -1]]
    assert inputs["boxes"][1].tolist() == [1, 2, 30, 40]
    assert np.isnan(inputs["earlier_logits"][1]).all()


@pytest.mark.parametrize("shape", [[-1, -1, -1], [7], []])
def test_servers_that_take_any_size_of_earlier_masks(
    server: Any, engine: Engine, photo: Any, shape: list[int]
) -> None:
    engine.input_shapes = {"earlier_logits": shape} if shape else {}
    with Client(server.url) as client:
        client.prompt(photo(), boxes=(1, 2, 3, 4))
    assert engine.requests[0][1]["earlier_logits"].shape == (1, 1, 1)
