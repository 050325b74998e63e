"""A transport that marks every picture in the same way, and pictures to send through it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from markcut_client import engine_options, wire
from markcut_client.command import main
from markcut_client.errors import PictureError
from markcut_client.transports import Parameter, Request, Transport
from tests.client.fake_server import Engine, GrpcServer, HttpServer

Outputs = dict[str, NDArray[Any]]


def rle(mask: NDArray[np.bool_]) -> bytes:
    return bytes(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"])


def objects(values: list[bytes]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def make_answer(height: int, width: int, *, kinds: tuple[str, ...] = ("circle",)) -> Outputs:
    """Per kind a disc as object, in a row, and a ring of ink around it."""
    ys, xs = np.mgrid[:height, :width]
    discs, rings, boxes, points = [], [], [], []
    for index in range(len(kinds)):
        x, y = (index + 0.5) * width / len(kinds), height / 2
        radius = min(height, width / len(kinds)) / 2
        distance = np.hypot(xs + 0.5 - x, ys + 0.5 - y)
        discs.append(distance < 0.6 * radius)
        rings.append((distance > 0.7 * radius) & (distance < 0.9 * radius))
        reach = 0.9 * radius
        boxes.append((x - reach, y - reach, x + reach, y + reach))
        points.append(((x, y), (0.0, 0.0), (0.0, 0.0)))
    n = len(kinds)
    return {
        "mark_kinds": np.array([wire.KINDS.index(kind) for kind in kinds], np.int32),
        "mark_scores": np.linspace(0.95, 0.7, n, dtype=np.float32),
        "mark_boxes": np.array(boxes, np.float32).reshape(n, 4),
        "mark_masks": objects([rle(mask) for mask in rings]),
        "point_coords": np.array(points, np.float32).reshape(n, 3, 2),
        "point_labels": np.tile(np.array([1, 0, -1], np.int32), (n, 1)),
        "object_masks": objects([rle(mask) for mask in discs]),
        "object_scores": np.linspace(0.9, 0.8, n, dtype=np.float32),
        "object_reasons": objects(["inside the loop, größter Umriss".encode()] * n),
        "picture_size": np.array([height, width], np.int32),
        "stage_ms": np.arange(len(wire.STAGES), dtype=np.float32),
    }


class FakeTransport(Transport):
    """Answers with ``make_answer`` at the picture's upright size; remembers what it was asked."""

    def __init__(self, *, kinds: tuple[str, ...] = ("circle",)) -> None:
        self.kinds = kinds
        self.requests: list[tuple[Mapping[str, NDArray[Any]], Mapping[str, Parameter]]] = []
        self.timeouts: list[float | None] = []
        self.closed = 0

    def infer(self, request: Request) -> Outputs:
        self.requests.append((request.inputs, dict(request.parameters)))
        self.timeouts.append(request.timeout)
        image = request.inputs["image"]
        assert image.dtype == np.uint8
        assert image.ndim == 1
        try:
            with Image.open(io.BytesIO(image.tobytes())) as opened:
                width, height = ImageOps.exif_transpose(opened).size
        except (OSError, ModuleNotFoundError):  # ultralytics has Pillow try a plug-in
            raise PictureError("image: got a truncated or broken file") from None
        return make_answer(height, width, kinds=self.kinds)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def transport_with() -> Callable[..., FakeTransport]:
    return FakeTransport


@pytest.fixture
def answer() -> Callable[..., Outputs]:
    return make_answer


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture of soft random colours into the test's folder and returns its path."""

    def write(name: str = "photo.png", *, size: tuple[int, int] = (64, 48), **save: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        noise = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        noise.resize(size, Image.Resampling.BICUBIC).save(path, **save)
        return path

    return write


@pytest.fixture
def engine() -> Engine:
    """What the fake servers ask."""
    return Engine(make_answer)


@pytest.fixture(params=["grpc", "http"])
def server(request: pytest.FixtureRequest, engine: Engine) -> Iterator[GrpcServer | HttpServer]:
    """A fake server of either protocol in this process."""
    opened = GrpcServer(engine) if request.param == "grpc" else HttpServer(engine)
    yield opened
    opened.stop()


@pytest.fixture
def grpc_server(engine: Engine) -> Iterator[GrpcServer]:
    opened = GrpcServer(engine)
    yield opened
    opened.stop()


@pytest.fixture
def http_server(engine: Engine) -> Iterator[HttpServer]:
    opened = HttpServer(engine)
    yield opened
    opened.stop()


@dataclass
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Callable[..., Outcome]:
    """Runs the command in the test's folder, which holds no bundle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARKCUT_BUNDLE", raising=False)
    monkeypatch.delenv("MARKCUT_DEBUG", raising=False)

    def call(*arguments: str) -> Outcome:
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture
def run(
    command: Any, transport_with: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Runs the command with a fake engine; its transport is ``run.transport``."""
    (tmp_path / "artifacts/demo").mkdir(parents=True)
    opened: list[dict[str, Any]] = []
    transport = transport_with(kinds=("circle", "tick"))

    def embedded(folder: Path, **options: Any) -> Any:
        opened.append({"folder": str(folder), **options})
        return transport

    monkeypatch.setattr(engine_options, "EmbeddedTransport", embedded)
    command.transport = transport
    command.opened = opened
    return command  # type: ignore[no-any-return]
