from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from markcut import images
from markcut.errors import InvalidInput
from markcut.images import decode
from markcut_client.pictures import to_rgb

PHOTO = np.zeros((40, 60, 3), np.uint8)
PHOTO[:20, :30] = 220, 30, 40  # top left red
PHOTO[:20, 30:] = 30, 200, 60  # top right green
PHOTO[20:, :30] = 40, 60, 210  # bottom left blue
PHOTO[20:, 30:] = 240, 240, 40  # bottom right yellow


def encode(picture: Image.Image | NDArray[np.uint8], format: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, kind: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


def close(picture: NDArray[np.uint8], wanted: NDArray[np.uint8], *, within: int = 12) -> bool:
    return picture.shape == wanted.shape and bool(
        (np.abs(picture.astype(int) - wanted)[5:15, 5:25] <= within).all()
        and (np.abs(picture.astype(int) - wanted)[-15:-5, -25:-5] <= within).all()
    )


PHOTO_IMAGE = Image.fromarray(PHOTO)
ENCODINGS = {
    "jpeg": encode(PHOTO, "JPEG", quality=95),
    "progressive jpeg": encode(PHOTO, "JPEG", quality=95, progressive=True),
    "cmyk jpeg": encode(PHOTO_IMAGE.convert("CMYK"), "JPEG", quality=95),
    "png": encode(PHOTO, "PNG"),
    "palette png": encode(PHOTO_IMAGE.quantize(8), "PNG"),
    "16-bit png": png(
        60, 40, 16, 2, b"".join(b"\0" + np.repeat(row, 2, axis=-1).tobytes() for row in PHOTO)
    ),
    "webp": encode(PHOTO, "WEBP", quality=95),
    "lossless webp": encode(PHOTO, "WEBP", lossless=True),
    "bmp": encode(PHOTO, "BMP"),
    "palette bmp": encode(PHOTO_IMAGE.quantize(8), "BMP"),
    "animated webp": encode(
        PHOTO, "WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))], lossless=True
    ),
    "animated png": encode(
        PHOTO, "PNG", save_all=True, append_images=[Image.new("RGB", (60, 40))], duration=50
    ),
    "mpo": encode(PHOTO, "MPO", save_all=True, append_images=[Image.new("RGB", (60, 40))]),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_format_becomes_upright_rgb(name: str) -> None:
    picture = decode(ENCODINGS[name])
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert close(picture, PHOTO)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, "array"])
def test_the_bytes_may_come_in_any_wrapping(kind: Any) -> None:
    data = ENCODINGS["png"]
    wrapped = np.frombuffer(data, np.uint8) if kind == "array" else kind(data)
    assert np.array_equal(decode(wrapped), PHOTO)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, format: str) -> None:
    stored = {
        1: PHOTO,
        2: PHOTO[:, ::-1],
        3: PHOTO[::-1, ::-1],
        4: PHOTO[::-1],
        5: PHOTO.transpose(1, 0, 2),
        6: np.rot90(PHOTO, 1),
        7: np.rot90(PHOTO.transpose(1, 0, 2), 2),
        8: np.rot90(PHOTO, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(decode(encode(np.ascontiguousarray(stored), format, exif=exif)), PHOTO, within=60)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_exif_orientation_of_sides_of_one_pixel(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encode(Image.new("RGB", size), "PNG", exif=exif))
    assert picture.shape == ((*size, 3) if orientation >= 5 else (*size[::-1], 3))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff", b"x"])
def test_damaged_exif_does_not_spoil_a_picture(exif: bytes) -> None:
    assert close(decode(encode(PHOTO, "JPEG", quality=95, exif=exif)), PHOTO)


def test_nonsense_orientation_means_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert np.array_equal(decode(encode(PHOTO, "PNG", exif=exif)), PHOTO)


def test_grey_of_every_depth_becomes_rgb() -> None:
    grey = np.linspace(0, 255, 60 * 40, dtype=np.uint8).reshape(40, 60)
    wanted = np.repeat(grey[..., None], 3, axis=2)
    deep = (grey.astype(np.uint16) << 8) | grey
    assert np.array_equal(decode(encode(grey, "PNG")), wanted)
    assert np.array_equal(decode(encode(Image.fromarray(deep), "PNG")), wanted)
    one_bit = decode(encode(Image.fromarray(grey > 127), "PNG"))
    assert np.array_equal(one_bit, np.where(wanted > 127, 255, 0))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_laid_over_white(format: str) -> None:
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    rgba[:20, :30, 3] = 0
    rgba[20:, :30, 3] = 128
    picture = decode(encode(rgba, format, lossless=True, exact=True))
    assert (picture[:20, :30] == 255).all()
    assert np.allclose(picture[20:, :30], (PHOTO[20:, :30].astype(int) + 255) / 2, atol=2)
    assert np.array_equal(picture[:, 30:], PHOTO[:, 30:])


def test_transparent_colours_of_a_palette_are_white() -> None:
    palette = PHOTO_IMAGE.quantize(8)
    red = palette.getpixel((5, 5))
    picture = decode(encode(palette, "PNG", transparency=red))
    assert (picture[:20, :30] == 255).all()
    assert np.allclose(picture[20:].astype(int), PHOTO[20:], atol=2)


def test_grey_with_alpha_is_laid_over_white() -> None:
    grey = np.zeros((4, 4, 2), np.uint8)
    grey[:, 2:, 1] = 255
    image = Image.merge("LA", [Image.fromarray(grey[..., i].copy()) for i in range(2)])
    picture = decode(encode(image, "PNG"))
    assert (picture[:, :2] == 255).all()
    assert (picture[:, 2:] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_sides_of_one_pixel_are_fine(size: tuple[int, int], format: str) -> None:
    picture = decode(encode(Image.new("RGB", size, (255, 255, 255)), format))
    assert picture.shape == (size[1], size[0], 3)
    assert picture.min() > 250


def refusal(data: Any, **options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        decode(data, **options)
    assert caught.value.field == "image"
    assert str(caught.value).startswith("image: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("data", [b"", np.zeros(0, np.uint8)])
def test_nothing_is_refused(data: Any) -> None:
    assert "no bytes" in refusal(data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"hello", "5 bytes of something else"),
        (encode(PHOTO, "GIF"), "a GIF"),
        (encode(PHOTO, "TIFF"), "a TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC"),
        (b"%PDF-1.7", "a PDF"),
        (b"<svg xmlns=''/>", "an SVG"),
        (bytes(1000), "something else"),
        (png(0, 10, 8, 2, b"")[:30], "30 bytes of a broken file"),
        (b"\xff\xd8\xff", "3 bytes of a broken file"),
    ],
)
def test_what_is_no_picture_of_ours_is_named_and_refused(data: bytes, word: str) -> None:
    message = refusal(data)
    assert word in message
    assert "expected one encoded JPEG, PNG, WebP or BMP picture" in message


@pytest.mark.parametrize("data", [PHOTO, np.zeros(10, np.float32), "photo.jpg", None, 3])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    assert "expected" in refusal(data)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_truncated_picture_is_refused(name: str) -> None:
    data = ENCODINGS[name]
    if name == "mpo":
        data = data[: data.index(b"\xff\xd9")]
    if name == "animated png":  # cutting the second frame would spoil nothing
        data = data[: data.index(b"fcTL", data.index(b"IDAT"))]
    assert refusal(data[: len(data) // 2])
    assert refusal(data[:10])


def test_declared_size_is_checked_before_anything_is_decoded() -> None:
    huge = png(60_000, 60_000, 8, 2, b"")
    assert f"expected at most {images.MAX_PIXELS} in all; scale it down" in refusal(huge)
    assert "100000 x 10" in refusal(png(100_000, 10, 8, 2, b""))
    assert "expected at most 1000 in all" in refusal(ENCODINGS["png"], max_pixels=1000)
    assert decode(ENCODINGS["png"], max_pixels=2400).shape == (40, 60, 3)


def test_zero_size_is_refused() -> None:
    refusal(png(0, 10, 8, 2, b"\0"))


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    data = ENCODINGS["progressive jpeg"]
    start = data.index(b"\xff\xda")
    stop = data.index(b"\xff", start + 2)
    while data[stop + 1] == 0:
        stop = data.index(b"\xff", stop + 2)
    scan = data[start:stop]
    assert "scans" in refusal(data[:start] + scan * 100 + data[start:])


@pytest.mark.parametrize(("colour", "key"), [(0, (0,)), (0, (700,)), (2, (700, 0, 65535))])
def test_transparency_of_16_bits_is_laid_over_white(colour: int, key: tuple[int, ...]) -> None:
    clear, other = (struct.pack(f">{len(key)}H", *of) for of in (key, [9 << 8] * len(key)))
    data = png(2, 1, 16, colour, b"\0" + clear + other, chunk(b"tRNS", clear))
    assert decode(data).tolist() == [[[255] * 3, [9] * 3]]
    with Image.open(io.BytesIO(data)) as image:
        assert to_rgb(image).tolist() == [[[255] * 3, [9] * 3]]


def test_a_large_jpeg_of_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PHOTO, "JPEG")
    start = data.index(b"\xff\xda")
    scan = data[start:-2]
    many = data[:start] + scan * 20 + b"\xff\xd9"
    monkeypatch.setattr(images, "_MANY_PIXELS", PHOTO.shape[0] * PHOTO.shape[1] - 1)
    assert "more than 16 scans" in refusal(many)


def test_files_of_countless_parts_are_refused() -> None:
    jpeg, png = encode(PHOTO, "JPEG"), encode(PHOTO, "PNG")
    chunk = b"\0\0\0\0abCd" + zlib.crc32(b"abCd").to_bytes(4, "big")
    for data in (
        b"\xff\xd8\xff" + bytes(1 << 20),
        jpeg[:2] + bytes(1 << 20) + jpeg[2:],
        jpeg[:2] + b"\xff\xe1\x00\x02" * 5000 + jpeg[2:],
        png[:33] + chunk * 5000 + png[33:],
    ):
        assert "more parts than a JPEG or PNG picture has" in refusal(data)
    for data in (
        jpeg[:2] + b"\xff" * 100 + jpeg[2:],
        jpeg[:2] + b"\xff\xe1\x00\x02" * 500 + jpeg[2:],
        png[:33] + chunk * 500 + png[33:],
    ):
        assert np.array_equal(decode(data), decode(jpeg if data[0] == 0xFF else png))


def test_bytes_after_the_picture_do_no_harm() -> None:
    video = b"\xff\xda" * 1000
    assert close(decode(ENCODINGS["jpeg"] + video), PHOTO)


def test_running_out_of_memory_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_as_rgb", fail)
    assert "memory" in refusal(ENCODINGS["png"])


def test_mutated_pictures_are_decoded_or_refused() -> None:
    rng = random.Random(7)
    outcomes = {True: 0, False: 0}
    for _ in range(25):
        for data in ENCODINGS.values():
            mutated = bytearray(data)
            for _ in range(rng.choice((1, 3, 20))):
                mutated[rng.randrange(len(mutated))] = rng.randrange(256)
            if rng.random() < 0.2:
                start = rng.randrange(len(mutated))
                del mutated[start : start + rng.randrange(1, 50)]
            try:
                picture = decode(bytes(mutated), max_pixels=1_000_000)
            except InvalidInput:
                outcomes[False] += 1
            else:
                assert picture.ndim == 3
                assert picture.dtype == np.uint8
                outcomes[True] += 1
    assert min(outcomes.values()) > 20


def test_opencv_never_decodes() -> None:
    package = Path(images.__file__).parent
    for source in package.rglob("*.py"):
        assert "imdecode" not in source.read_text(), source
        assert "cv2.imread" not in source.read_text(), source
