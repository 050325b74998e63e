"""What a caller passes as a picture, to encoded bytes; and encoded bytes to upright pixels.

The engine decodes for itself; the client needs pixels for cut-outs and overlays only, and then
decodes by the same rules, so that masks and pixels lie on each other.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from markcut_client.errors import ParameterError, PictureError

Pixels = NDArray[np.uint8]  # (h, w, 3) RGB
PictureLike = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]
)
"""A path, the bytes of an encoded picture, a PIL image or a uint8 array (h, w, 3), RGB."""

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp")
"""File names by which a folder's pictures are known, in lower case."""

OTHER_SUFFIXES = (".avif", ".dng", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff")
"""Those of pictures that the engine does not read, in lower case."""

MAX_BYTES = 512 << 20
"""Of a picture's file: more than a BMP of as many pixels as the engine takes."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_warnings_lock = threading.Lock()


@dataclass(frozen=True)
class EncodedPicture:
    """One encoded picture; ``name`` is its path as the caller gave it, empty without a file."""

    name: str
    data: bytes

    def decode(self, *, width: int, height: int) -> Pixels:
        """The upright picture, a read-only array (height, width, 3), RGB.

        ``width`` and ``height`` are what the engine found: nothing else is decoded, so a file
        that the engine refused for its size costs no memory here.
        """
        try:
            with _quiet():
                image = Image.open(io.BytesIO(self.data), formats=_FORMATS)
            with image:
                if sorted(image.size) == sorted((width, height)):
                    pixels = to_rgb(image)
                    if pixels.shape == (height, width, 3):
                        return pixels
        except Exception as error:  # Pillow's plug-ins raise almost anything on broken files
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise PictureError(f"{self}: cannot be decoded here ({reason})") from None
        raise PictureError(f"{self}: it is not the {width} x {height} picture of the answer")

    def __str__(self) -> str:
        return self.name or "picture"


@dataclass(frozen=True)
class PixelSource:
    """Pixels that are decoded at the first look at them and then kept."""

    encoded: EncodedPicture
    width: int
    height: int

    @cached_property
    def pixels(self) -> Pixels:
        """The upright picture: read-only uint8 (height, width, 3), RGB."""
        return self.encoded.decode(width=self.width, height=self.height)


def encode(picture: PictureLike) -> EncodedPicture:
    """The encoded picture of a path, of bytes, of a PIL image or of an array.

    Files and bytes go as they are. A PIL image becomes upright RGB by the rules of a file's, an
    array must be uint8 (h, w, 3) RGB; both are encoded as BMP: lossless and the quickest.

    Raises :class:`PictureError` for a file that cannot be read or has no bytes, an array of
    another dtype or shape and an image without pixels; :class:`ParameterError` for other types.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return _not_empty(EncodedPicture("", bytes(picture)))
    if isinstance(picture, str | os.PathLike):
        if not os.fspath(picture):  # Path("") is the folder where this process runs
            raise PictureError("picture: got an empty path, expected the file of one picture")
        return _not_empty(EncodedPicture(os.fspath(picture), _read(Path(picture))))
    if isinstance(picture, Image.Image):
        return EncodedPicture("", _bmp(_from_image(picture)))
    if isinstance(picture, np.ndarray):
        return EncodedPicture("", _bmp(_from_array(picture)))
    raise ParameterError(
        f"picture: got {type(picture).__name__}, expected a path, the bytes of an encoded "
        "picture, a PIL image or a uint8 array (height, width, 3)"
    )


def check_several(pictures: Iterable[PictureLike]) -> Iterable[PictureLike]:
    """``pictures`` themselves; :class:`ParameterError` for one alone, whose parts are none."""
    one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
    if isinstance(pictures, one) or not isinstance(pictures, Iterable):
        raise ParameterError(
            f"pictures: got {type(pictures).__name__}, expected several pictures, such as a list; "
            "for one there is extract()"
        )
    return pictures


def to_rgb(image: Image.Image) -> Pixels:
    """Upright RGB of an image of any mode, read-only, as the engine would make it.

    EXIF's orientation applies, transparency is laid over white, 16 bits become 8, the first
    frame counts, colour profiles do not apply. Raises :class:`PictureError` for values of 32 bits
    that are beyond 16.
    """
    with _quiet():
        orientation = _orientation(image)
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        grey = _grey(image)
        if isinstance(clear, int):
            grey[np.asarray(image) == clear] = 255
        image = Image.fromarray(grey).convert("RGB")
        clear = None
    elif image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # as of 16 bits
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or clear is not None:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    pixels = np.asarray(image)
    pixels.flags.writeable = False
    return pixels


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """8 bits of an integer mode's values: I;16 in its variants, or I."""
    values = np.asarray(image)
    grey: NDArray[np.uint8]
    if image.mode != "I" or image.format in _FORMATS:  # older Pillows open PNGs of 16 bits as I
        grey = np.clip(values >> 8, 0, 255).astype(np.uint8)
        return grey
    least, most = int(values.min()), int(values.max())
    if least < 0 or most > 65535:
        raise PictureError(
            f"picture: got a PIL image of mode I with values {least}..{most}, expected 0..255 or "
            "0..65535"
        )
    grey = (values if most <= 255 else values >> 8).astype(np.uint8)
    return grey


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where it is absent, damaged or nonsense."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a picture is no worse for broken metadata
        return 1
    return value if value in _TURNS else 1


def _read(path: Path) -> bytes:
    """The file's bytes; not even a device without an end is read beyond :data:`MAX_BYTES`."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise PictureError(f"{path}: got a folder, expected the file of one picture") from None
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{path}: cannot be read ({reason})") from None
    except MemoryError:
        raise PictureError(f"{path}: it does not fit into memory") from None
    if len(data) > MAX_BYTES:
        raise PictureError(
            f"{path}: got more than {MAX_BYTES >> 20} MiB, expected the file of one picture"
        )
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Opens a pipe that nobody writes into as an empty one, instead of waiting for a writer."""
    nonblocking = getattr(os, "O_NONBLOCK", 0)
    number = os.open(path, flags | nonblocking)
    if nonblocking:
        os.set_blocking(number, True)
    return number


def _not_empty(encoded: EncodedPicture) -> EncodedPicture:
    if not encoded.data:
        raise PictureError(f"{encoded}: got no bytes, expected a JPEG, PNG, WebP or BMP picture")
    return encoded


def _from_image(image: Image.Image) -> Pixels:
    if image.width < 1 or image.height < 1:
        raise PictureError(f"picture: got {image.width} x {image.height} pixels, expected some")
    if image.mode == "F":
        raise PictureError(
            "picture: got a PIL image of floats (mode F), expected 8 or 16 bits; scale it to "
            "0..255 and convert it to 'L'"
        )
    try:
        return to_rgb(image)
    except PictureError:
        raise
    except Exception as error:  # a lazily opened file decodes here
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise PictureError(f"picture: the PIL image cannot be decoded ({reason})") from None


def _from_array(array: NDArray[np.uint8]) -> Pixels:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise PictureError(
            f"picture: got an array {array.dtype} {array.shape}, expected uint8 (height, width, "
            "3), RGB with values 0..255" + _hint(array)
        )
    return array


def _hint(array: NDArray[np.uint8]) -> str:
    if array.dtype.kind == "f":
        return "; scale floats to 0..255 and call astype(np.uint8)"
    if array.dtype == bool:
        return "; call astype(np.uint8) and multiply with 255"
    if array.ndim == 2 or array.shape[2:] == (1,):
        return "; stack grey three times: np.dstack([grey] * 3)"
    if array.ndim == 3 and array.shape[2] == 4:
        return "; drop the alpha channel: array[..., :3]"
    if array.ndim == 1:
        return "; pass an encoded picture as bytes: array.tobytes()"
    return ""


def _bmp(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from Pillow: a size that the engine accepted is none, nor is odd metadata.

    The lock is there because ``catch_warnings`` changes state of the whole process.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
