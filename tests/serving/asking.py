"""A client from another project: plain tritonclient with raw tensors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tritonclient import grpc

from markcut.contracts import MARKED_OBJECT, ModelSpec

Arrays = Mapping[str, NDArray[Any]]
IMAGE = MARKED_OBJECT.inputs[0].name


def picture(seed: int, *, marks: int = 2, kind: str = "PNG", shrunk: int = 1) -> NDArray[np.uint8]:
    """A small picture of its own colours and size, with red marks.

    ``shrunk`` is how many times smaller the marks and what they mean are than the picture, which
    then holds all of it twice.
    """
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(120, 400, 2))
    image = Image.new("RGB", (width, height), tuple(int(c) for c in rng.integers(60, 220, 3)))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width * 0.3, height * 0.3, width * 0.6, height * 0.6), fill=(250, 240, 90))
    for _ in range(marks):
        x, y, r = rng.uniform(0.3, 0.6) * width, rng.uniform(0.3, 0.6) * height, height * 0.25
        draw.ellipse((x - r, y - r, x + r, y + r), outline=(230, 10, 20), width=4)
    if shrunk > 1:
        small, ground = image, image.getpixel((0, 0))
        image = Image.new("RGB", (width * shrunk, height * shrunk), ground)
        image.paste(small, (0, 0))
        image.paste(small, (width * (shrunk - 1), height * (shrunk - 1)))
    held = io.BytesIO()
    image.save(held, kind)
    return np.frombuffer(held.getvalue(), np.uint8)


def broken_at_its_end(*, megapixels: int) -> NDArray[np.uint8]:
    """A JPEG of which the last bytes are missing."""
    rng = np.random.default_rng(0)
    blobs = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    side = int((megapixels * 1e6) ** 0.5)
    held = io.BytesIO()
    blobs.resize((side, side), Image.Resampling.BICUBIC).save(held, "JPEG")
    return np.frombuffer(held.getvalue(), np.uint8)[:-200]


def ask(
    port: int,
    inputs: Arrays,
    spec: ModelSpec = MARKED_OBJECT,
    *,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 150,
) -> dict[str, NDArray[Any]]:
    """The answer's outputs; raises InferenceServerException."""
    given = []
    for name, array in inputs.items():
        dtype = next(tensor.dtype for tensor in spec.inputs if tensor.name == name)
        tensor = grpc.InferInput(name, list(array.shape), dtype)
        tensor.set_data_from_numpy(array)
        given.append(tensor)
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        answer = client.infer(
            spec.name, given, parameters=dict(parameters or {}), client_timeout=timeout
        )
        return {tensor.name: answer.as_numpy(tensor.name) for tensor in spec.outputs}


def flood(
    pool: ThreadPoolExecutor, port: int, count: int, **options: Any
) -> list[Future[dict[str, NDArray[Any]]]]:
    """``count`` requests at once, each with a picture of its own."""
    return [pool.submit(ask, port, {IMAGE: picture(seed)}, **options) for seed in range(count)]


def same(one: Arrays, other: Arrays) -> None:
    """Assert that two answers hold the same bytes, but for the times."""
    assert list(one) == list(other)
    for name in list(one)[:-1]:
        assert one[name].dtype == other[name].dtype, name
        assert one[name].shape == other[name].shape, name
        if one[name].dtype == np.object_:
            assert one[name].tolist() == other[name].tolist(), name
        else:
            assert one[name].tobytes() == other[name].tobytes(), name
