from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import markcut_client
from markcut_client import (
    AnswerError,
    AsyncClient,
    Client,
    ClientError,
    Extraction,
    InferenceError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.transports.threaded import ThreadedTransport


def test_public_names() -> None:
    assert set(markcut_client.__all__) == {
        "AnswerError",
        "AsyncClient",
        "AsyncTransport",
        "Client",
        "ClientError",
        "DeadlineError",
        "EmbeddedTransport",
        "Extraction",
        "InferenceError",
        "Mark",
        "MarkedObject",
        "OutputError",
        "OverloadedError",
        "ParameterError",
        "PictureError",
        "Prompted",
        "PromptedObject",
        "Request",
        "Rle",
        "ServerOptions",
        "Transport",
        "TransportError",
        "__version__",
        "open_async_transport",
        "open_transport",
        "overlay",
        "sheet",
    }
    for name in markcut_client.__all__:
        assert hasattr(markcut_client, name)
        if name.endswith("Error"):
            assert issubclass(getattr(markcut_client, name), ClientError)


def test_extract(transport: Any, photo: Callable[..., Path]) -> None:
    path = photo(size=(64, 48))
    with Client(transport) as client:
        found = client.extract(path)
    assert transport.closed == 1
    assert (found.picture, found.width, found.height) == (str(path), 64, 48)
    assert found.stage_ms["decode"] == 0
    assert found.stage_ms["total"] == 11
    (one,) = found
    assert found[0] is one
    assert found[:1] == (one,)
    assert one.mark.kind == "circle"
    assert one.mark.score == pytest.approx(0.95)
    assert one.mark.box == pytest.approx((10.4, 2.4, 53.6, 45.6))
    assert one.points.tolist() == [[32, 24], [0, 0]]  # the padding is dropped
    assert one.point_labels.tolist() == [1, 0]
    assert one.reason == "inside the loop, größter Umriss"
    assert one.mask.shape == one.mark.mask.shape == (48, 64)
    assert one.mask is one.mask  # decoded once
    assert one.mask[24, 32]
    assert not one.mask.flags.writeable
    assert not (one.mask & one.mark.mask).any()
    assert one.area == one.mask.sum()
    assert one.bbox == (18, 10, 28, 28)
    assert found.pixels.shape == (48, 64, 3)


def test_no_mark_is_a_success(transport_with: Any, photo: Callable[..., Path]) -> None:
    found = Client(transport_with(kinds=())).extract(photo())
    assert len(found) == 0
    assert list(found) == []


def test_every_kind_of_picture(transport: Any, photo: Callable[..., Path]) -> None:
    path = photo()
    image = Image.open(path)
    pictures = (path, str(path), path.read_bytes(), image, np.asarray(image))
    results = [Client(transport).extract(picture) for picture in pictures]
    assert [found.picture for found in results] == [str(path), str(path), "", "", ""]
    for found in results:
        assert np.array_equal(found.pixels, np.asarray(image))


def test_only_what_was_given_is_sent(transport: Any, photo: Callable[..., Path]) -> None:
    client = Client(transport)
    client.extract(photo())
    client.extract(
        photo(),
        seed=np.int64(7),
        max_marks=2,
        mark_threshold=0,
        points_per_mark=3,
        prompt="a drawn circle",
    )
    assert [parameters for _, parameters in transport.requests] == [
        {},
        {
            "seed": 7,
            "max_marks": 2,
            "mark_threshold": 0.0,
            "points_per_mark": 3,
            "prompt": "a drawn circle",
        },
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mark_threshold": 1.5}, "mark_threshold: got 1.5, expected a number from 0 to 1"),
        ({"mark_threshold": float("nan")}, "mark_threshold: got nan"),
        ({"mark_threshold": "0.5"}, "mark_threshold: got '0.5'"),
        ({"max_marks": 0}, "max_marks: got 0, expected 1 or more"),
        ({"max_marks": 1.0}, "max_marks: got 1.0, expected a whole number"),
        ({"points_per_mark": True}, "points_per_mark: got True"),
        ({"seed": -1}, "seed: got -1, expected 0 or more"),
        ({"seed": 2**63}, "seed: got 9223372036854775808, expected at most 9223372036854775807"),
        ({"prompt": ""}, "prompt: got ''"),
    ],
)
def test_wrong_parameters_send_nothing(
    transport: Any, photo: Callable[..., Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        Client(transport).extract(photo(), **options)
    with pytest.raises(ParameterError, match=message):
        Client(transport).extract_many([photo()], **options)  # not only when iterated
    assert transport.requests == []


def test_many_in_order_with_errors_in_place(transport: Any, photo: Callable[..., Path]) -> None:
    good, broken = photo("good.png"), photo("broken.png")
    broken.write_bytes(good.read_bytes()[:40])
    missing = good.with_name("missing.png")
    first, second, third, fourth = Client(transport).extract_many([good, broken, missing, good])
    assert isinstance(first, Extraction)
    assert isinstance(fourth, Extraction)
    assert isinstance(second, PictureError)
    assert str(second) == f"{broken}: got a truncated or broken file"
    assert isinstance(third, PictureError)
    assert str(missing) in str(third)


def test_many_is_lazy(transport: Any, photo: Callable[..., Path]) -> None:
    def pictures() -> Iterator[Path]:
        yield photo()
        raise AssertionError("asked for too early")

    results = Client(transport).extract_many(pictures())
    assert isinstance(next(results), Extraction)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("one", ["photo.png", Path("photo.png"), b"bytes", None, 3])
def test_many_wants_several(transport: Any, one: Any) -> None:
    with pytest.raises(ParameterError, match=r"pictures: got .* expected several .*extract\(\)"):
        Client(transport).extract_many(one)
    with pytest.raises(ParameterError, match="expected several"):
        AsyncClient(ThreadedTransport(transport)).extract_many(one)


def test_one_process(
    transport: Any, photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(transport)
    parent = os.getpid()
    monkeypatch.setattr("markcut_client.client.os.getpid", lambda: parent + 1)
    with pytest.raises(TransportError, match="opened in another process"):
        client.extract(photo())
    client.close()  # the parent goes on with it
    assert transport.closed == 0
    monkeypatch.undo()
    assert len(client.extract(photo())) == 1
    client.close()
    assert transport.closed == 1


@pytest.mark.parametrize(
    ("error", "in_place"), [(InferenceError("engine"), True), (TransportError("gone"), False)]
)
def test_what_stops_many(
    transport: Any, photo: Callable[..., Path], error: ClientError, in_place: bool
) -> None:
    def infer(*_: object) -> None:
        raise error

    transport.infer = infer
    results = Client(transport).extract_many([photo()])
    if in_place:
        (outcome,) = results
        assert isinstance(outcome, InferenceError)
        assert "photo.png: engine" in str(outcome)
    else:
        with pytest.raises(TransportError):
            next(results)


def test_broken_run_lengths_are_an_answer_error(
    transport: Any, photo: Callable[..., Path], answer: Callable[..., Any]
) -> None:
    outputs = answer(48, 64)
    outputs["object_masks"][0] = b"nonsense"
    transport.infer = lambda *_: outputs
    with pytest.raises(AnswerError, match="run lengths"):
        Client(transport).extract(photo())


def test_result_json(transport: Any, photo: Callable[..., Path]) -> None:
    found = Client(transport).extract(photo())
    result = found.to_json()
    assert list(result) == ["picture", "width", "height", "objects", "stage_ms"]
    (one,) = result["objects"]
    assert list(one) == [
        "mark", "points", "point_labels", "segmentation", "bbox", "area", "score", "reason",
    ]  # fmt: skip
    assert list(one["mark"]) == ["kind", "score", "box", "segmentation"]
    assert one["mark"]["score"] == 0.95  # float32 noise is rounded away
    assert one["points"] == [[32, 24], [0, 0]]
    assert one["segmentation"]["size"] == [48, 64]
    assert one["bbox"] == [18, 10, 28, 28]
    assert result["stage_ms"]["total"] == 11


def test_wrong_transports() -> None:
    with pytest.raises(ParameterError, match="transport: got int"):
        Client(3)  # type: ignore[arg-type]
    for url in ("ftp://x", "localhost:8001", "photo.jpg", "grpc://", "http:///x", "grpc://x:y"):
        with pytest.raises(TransportError, match="is no address"):
            Client(url)
    with pytest.raises(TransportError, match="expected embedded:DIR"):
        Client("embedded:")
