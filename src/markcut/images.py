"""Encoded bytes to an upright RGB picture, safely.

Pictures come from strangers. So: four formats and no more, every limit checked on the header
before a pixel is decoded, and one exception whatever Pillow raises.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from markcut.errors import InvalidInput
from markcut.geometry import Picture, Placement, letterbox, stretch
from markcut.headers import check_parts

if TYPE_CHECKING:
    from cv2.typing import MatLike

__all__ = ["MAX_PIXELS", "MAX_SIDE", "Picture", "Placement", "decode", "letterbox", "stretch"]

MAX_PIXELS = 120_000_000
"""Default limit of a picture's pixels: phones reach 108 million; decoded, that is 360 MB."""

MAX_SIDE = 65_535
"""Limit of one side, which is JPEG's own."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_WANTED = "expected one encoded JPEG, PNG, WebP or BMP picture"
# encoders write 1 to about 12 scans; each costs a pass over all pixels
_SCANS, _MANY_PIXELS, _SCANS_OF_MANY = 64, 12_000_000, 16
_ORIENTATION_TAG = 0x0112
_STRIP = 512 << 10  # bytes that Pillow holds of a strip: stays in the cache and in the heap
# OpenCV turns an array three times as fast as Pillow turns a picture
_UPRIGHT: dict[int, Callable[[Picture], MatLike]] = {
    2: lambda picture: cv2.flip(picture, 1),
    3: lambda picture: cv2.rotate(picture, cv2.ROTATE_180),
    4: lambda picture: cv2.flip(picture, 0),
    5: cv2.transpose,
    6: lambda picture: cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE),
    7: lambda picture: cv2.flip(cv2.transpose(picture), -1),
    8: lambda picture: cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_FOREIGN = (
    (re.compile(rb"GIF8"), "a GIF"),
    (re.compile(rb"II\*\0|MM\0\*"), "a TIFF"),
    (re.compile(rb"....ftyp(hei|hev|mif|msf)", re.DOTALL), "a HEIC"),
    (re.compile(rb"....ftypavi", re.DOTALL), "an AVIF"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"\s*<(svg|\?xml)"), "an SVG"),
)
_OURS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|BM", re.DOTALL)
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)

_warnings_lock = threading.Lock()


def decode(
    data: bytes | bytearray | memoryview | NDArray[np.uint8], *, max_pixels: int = MAX_PIXELS
) -> Picture:
    """The picture in ``data`` as contiguous uint8 RGB (h, w, 3), upright as its EXIF says.

    ``data`` is one encoded JPEG, PNG, WebP or BMP, as bytes or as a 1-d uint8 array. Of an
    animation the first frame counts, transparency is laid over white, 16 bits per channel become
    8, colour profiles are not applied. The array is read-only.

    Raises :class:`InvalidInput` with field ``image`` for anything else: nothing, no picture,
    another format, a truncated or broken file, a side over :data:`MAX_SIDE`, more than
    ``max_pixels`` pixels.
    """
    encoded = _as_bytes(data)
    try:
        with _quiet_warnings():
            check_parts(encoded)
            image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        with image:
            _check_size(*image.size, max_pixels)
            _check_scans(encoded, image)
            image.load()
            picture = _upright(_pixels(_as_rgb(image)), _orientation(image))
    except InvalidInput:
        raise
    except (UnidentifiedImageError, ModuleNotFoundError):  # ultralytics has Pillow try a plug-in
        if _OURS.match(encoded):
            raise InvalidInput(
                "image", f"got {len(encoded)} bytes of a broken file, {_WANTED}; save it again"
            ) from None
        raise InvalidInput("image", f"got {_name(encoded)}, {_WANTED}; convert it") from None
    except Image.DecompressionBombError:  # Pillow's limit, which stands above ours
        raise InvalidInput(
            "image", f"got too many pixels, expected at most {max_pixels} in all; scale it down"
        ) from None
    except MemoryError:
        raise InvalidInput("image", "it does not fit into memory; scale it down") from None
    except Exception as error:
        # Pillow's plug-ins raise OSError, SyntaxError, ValueError, TypeError, IndexError,
        # KeyError, struct.error, zlib.error, OverflowError and more on broken files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidInput(
            "image", f"got a truncated or broken file ({reason}), {_WANTED}; save it again"
        ) from None
    picture.flags.writeable = False
    return picture


def check_encoded(data: NDArray[Any]) -> NDArray[np.uint8]:
    """``data`` itself; :class:`InvalidInput` where it is not uint8 (length,)."""
    if data.dtype != np.uint8 or data.ndim != 1:
        raise InvalidInput(
            "image",
            f"got an array {data.dtype} {data.shape}, expected uint8 (length,): the bytes of "
            "one encoded picture; encode pixels as PNG first",
        )
    return data


def _as_bytes(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> bytes:
    if isinstance(data, np.ndarray):
        data = check_encoded(data).tobytes()
    elif not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidInput("image", f"got {type(data).__name__}, {_WANTED}; pass its bytes")
    if len(data) == 0:
        raise InvalidInput("image", f"got no bytes, {_WANTED}")
    return bytes(data)


def _name(encoded: bytes) -> str:
    for pattern, name in _FOREIGN:
        if pattern.match(encoded):
            return name
    return f"{len(encoded)} bytes of something else"


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise InvalidInput("image", f"got {width} x {height} pixels, expected at least 1 x 1")
    if max(width, height) > MAX_SIDE:
        raise InvalidInput(
            "image",
            f"got {width} x {height} pixels, expected sides of at most {MAX_SIDE}; scale it down",
        )
    if width * height > max_pixels:
        raise InvalidInput(
            "image",
            f"got {width} x {height} pixels, expected at most {max_pixels} in all; scale it down",
        )


def _check_scans(encoded: bytes, image: Image.Image) -> None:
    """Refuse a JPEG whose thousands of tiny scans, would take minutes to decode."""
    if image.format not in ("JPEG", "MPO"):
        return
    most = _SCANS if image.width * image.height <= _MANY_PIXELS else _SCANS_OF_MANY
    scans = 0
    position = 2
    while found := _JPEG_MARKER.search(encoded, position):
        marker = found.group(1)[0]
        if marker == 0xD9:  # end of the picture; what follows is a second one, or a video
            return
        position = found.end()
        if marker == 0xDA:
            scans += 1
            if scans > most:
                raise InvalidInput(
                    "image",
                    f"got a JPEG of more than {most} scans, expected the usual 1 to 12; "
                    "save it again",
                )
        elif marker not in (0x01, 0xD8):  # all others say how long they are
            position += int.from_bytes(encoded[position : position + 2], "big")


def _as_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I"):  # grey of 16 bits: I;16, I;16B or, from older Pillows, I
        grey = np.asarray(image)
        eight = (grey >> 8).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            eight[grey == clear] = 255
        return Image.fromarray(eight).convert("RGB")
    clear = image.info.get("transparency")
    if mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # as of 16 bits
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if mode in ("LA", "PA", "La", "RGBA", "RGBa") or clear is not None:
        rgba = image.convert("RGBA")
        over_white = Image.new("RGB", image.size, "white")
        over_white.paste(rgba, mask=rgba.getchannel("A"))
        return over_white
    return image if mode == "RGB" else image.convert("RGB")


def _pixels(image: Image.Image) -> Picture:
    """The pixels of an RGB image; in strips, for Pillow joins all bytes of one copy once more."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // (4 * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image.crop((0, top, width, bottom)).tobytes()
        pixels[top:bottom] = np.frombuffer(strip, np.uint8).reshape(bottom - top, width, 3)
    return pixels


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where the EXIF is absent, damaged or nonsense."""
    try:
        with _quiet_warnings():
            value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a picture is no worse for broken metadata
        return 1
    return value if value in _UPRIGHT else 1


def _upright(picture: Picture, orientation: int) -> Picture:
    if orientation not in _UPRIGHT:
        return picture
    return np.asarray(_UPRIGHT[orientation](picture), np.uint8)


@contextlib.contextmanager
def _quiet_warnings() -> Iterator[None]:
    """No warnings from Pillow: what matters is raised, and a server's log is no place for more.

    The lock is there because ``catch_warnings`` changes state of the whole process.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
