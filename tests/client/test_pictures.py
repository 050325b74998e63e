from __future__ import annotations

import io
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from markcut import images
from markcut_client import pictures
from markcut_client.errors import ParameterError, PictureError
from markcut_client.picture_list import list_pictures
from markcut_client.pictures import encode


def gradient(size: tuple[int, int] = (40, 25)) -> Image.Image:
    width, height = size
    ys, xs = np.mgrid[:height, :width]
    rgb = np.stack([xs * 255 // width, ys * 255 // height, (xs * ys) % 256], axis=-1)
    return Image.fromarray(rgb.astype(np.uint8))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def variants() -> dict[str, bytes]:
    rgb = gradient()
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    deep = Image.fromarray((np.arange(1000).reshape(25, 40) * 65).astype(np.uint16))
    frames = [rgb, rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    see_through = rgb.convert("P")
    found = {
        "jpeg": saved(rgb, "JPEG"),
        "progressive": saved(rgb, "JPEG", progressive=True),
        "cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "grey": saved(rgb.convert("L"), "JPEG"),
        "png": saved(rgb, "PNG"),
        "16 bits": saved(deep, "PNG"),
        "palette": saved(see_through, "PNG"),
        "see-through palette": saved(see_through, "PNG", transparency=3),
        "alpha": saved(alpha, "PNG"),
        "grey alpha": saved(alpha.convert("LA"), "PNG"),
        "bits": saved(rgb.convert("1"), "PNG"),
        "webp": saved(alpha, "WEBP", lossless=True),
        "animated": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "apng": saved(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "bmp": saved(rgb, "BMP"),
        "one pixel": saved(gradient((1, 1)), "PNG"),
    }
    for orientation in range(10):
        found[f"turned {orientation}"] = saved(rgb, "JPEG", exif=exif(orientation))
        found[f"turned png {orientation}"] = saved(alpha, "PNG", exif=exif(orientation))
    return found


@pytest.mark.parametrize("name", variants())
def test_decodes_exactly_as_the_engine(name: str) -> None:
    data = variants()[name]
    wanted = images.decode(data)
    got = encode(data).decode(width=wanted.shape[1], height=wanted.shape[0])
    assert np.array_equal(got, wanted)
    assert not got.flags.writeable


@pytest.mark.parametrize("name", [n for n in variants() if n != "cmyk"])
def test_images_become_what_their_files_are(name: str) -> None:
    data = variants()[name]
    sent = encode(Image.open(io.BytesIO(data)))
    assert np.array_equal(images.decode(sent.data), images.decode(data))


def test_arrays_are_sent_without_loss() -> None:
    array = np.asarray(gradient((7, 5)))
    for view in (array, array[::-1, ::2], np.asfortranarray(array)):
        assert np.array_equal(images.decode(encode(view).data), view)


def test_files_and_bytes_go_as_they_are(tmp_path: Path) -> None:
    data = variants()["jpeg"]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    for given in (path, str(path)):
        assert encode(given).data == data
        assert encode(given).name == str(path)
    for given in (data, bytearray(data), memoryview(data)):
        assert encode(given).data == data
        assert encode(given).name == ""


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5, 3)), r"float64 \(4, 5, 3\).*scale floats to 0..255"),
        (np.zeros((4, 5), np.uint8), r"uint8 \(4, 5\).*np.dstack"),
        (np.zeros((4, 5, 1), np.uint8), r"uint8 \(4, 5, 1\).*np.dstack"),
        (np.zeros((4, 5, 3), bool), "multiply with 255"),
        (np.zeros((4, 5, 4), np.uint8), r"drop the alpha channel"),
        (np.zeros(9, np.uint8), "as bytes: array.tobytes"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \(0, 5, 3\)"),
    ],
)
def test_wrong_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        encode(array)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [((0, 9, 255), (0, 9, 255)), ((0, 256, 65535), (0, 1, 255)), ((7, 7, 7), (7, 7, 7))],
)
def test_grey_of_32_bits(values: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    image = Image.fromarray(np.array([values], np.int32))
    assert image.mode == "I"
    pixels = images.decode(encode(image).data)
    assert pixels.tolist() == [[[value] * 3 for value in wanted]]


@pytest.mark.parametrize("values", [(-1, 5), (0, 65536)])
def test_32_bits_beyond_16(values: tuple[int, ...]) -> None:
    image = Image.fromarray(np.array([values], np.int32))
    with pytest.raises(
        PictureError, match=rf"^picture: got .* {values[0]}\.\.{values[1]}, expected"
    ):
        encode(image)


def test_dark_grey_of_16_bits_stays_dark() -> None:
    deep = Image.fromarray(np.full((2, 3), 200, np.uint16))
    assert not images.decode(encode(deep).data).any()


def test_wrong_kinds_of_pictures(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="picture: got int, expected a path"):
        encode(3)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match="got no bytes"):
        encode(b"")
    with pytest.raises(PictureError, match="there is no such file"):
        encode(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="got a folder"):
        encode(tmp_path)
    with pytest.raises(PictureError, match="picture: got an empty path"):
        encode("")
    with pytest.raises(PictureError, match="cannot be read"):
        encode("a\0b")
    with pytest.raises(PictureError, match="mode F"):
        encode(Image.new("F", (3, 3)))
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(PictureError, match=r"empty\.jpg: got no bytes"):
        encode(empty)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes: a POSIX system")
def test_pipes_and_devices_do_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(PictureError, match=r"pipe\.jpg: got no bytes"):
        encode(pipe)
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb") as file:
        late = threading.Timer(0.1, lambda: (file.write(b"late"), file.close()))
        late.start()
        assert encode(f"/dev/fd/{read}").data == b"late"
        late.join()
    monkeypatch.setattr(pictures, "MAX_BYTES", 3 << 20)
    with pytest.raises(PictureError, match="/dev/zero: got more than 3 MiB, expected the file"):
        encode("/dev/zero")


def test_paths_through_links_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er")
    (tmp_path / "p.jpg").touch()
    (tmp_path / "deep/p.jpg").touch()
    both = [tmp_path / "p.jpg", tmp_path / "link/../p.jpg"]
    assert list_pictures(both) == both
    assert list_pictures([*both, tmp_path / "deep/p.jpg"]) == both


def test_only_the_picture_of_the_answer_is_decoded() -> None:
    encoded = encode(variants()["png"])
    with pytest.raises(PictureError, match="not the 41 x 25 picture"):
        encoded.decode(width=41, height=25)
    with pytest.raises(PictureError, match="not the 25 x 40 picture"):  # turned, without EXIF
        encoded.decode(width=25, height=40)
    with pytest.raises(PictureError, match="cannot be decoded here"):
        encode(b"nonsense").decode(width=1, height=1)


def test_big_pictures_warn_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    data = variants()["png"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode(data).decode(width=40, height=25).shape == (25, 40, 3)
