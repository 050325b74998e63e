"""Is a server ready? One real inference through the ensemble, over plain HTTP, tells.

Triton's own readiness stays true when a step's process is dead. As a program it is the container's
health check: ``python -m serving.probe http://127.0.0.1:8000``. A server that has too much to do
is well: who restarts it makes that worse.
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import re
import sys
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

from markcut.contracts import MARKED_OBJECT

_SIZE = (240, 320)
_BUSY = (429, 504)
_QUEUED = re.compile(r"maximum queue size|timeout expired|timed out", re.IGNORECASE)


class ProbeError(Exception):
    """The server did not answer one good picture as it should."""


def probe(host: str, port: int, *, timeout: float) -> bool:
    """Whether the server answers; False where it is too busy just now, which is no fault.

    Raises :class:`ProbeError` for no answer within ``timeout`` seconds and for a wrong one.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        header, body = _request()
        connection.request(
            "POST",
            f"/v2/models/{MARKED_OBJECT.name}/infer",
            body=header + body,
            headers={
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(header)),
            },
        )
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(
            f"no answer from {host}:{port} ({error or type(error).__name__})"
        ) from None
    finally:
        connection.close()
    if response.status != 200:
        if response.status in _BUSY or _QUEUED.search(text):
            return False
        raise ProbeError(f"{host}:{port} answered {response.status}: {text[:300]}")
    try:
        answer = json.loads(text)["outputs"][0]["data"]
    except (ValueError, LookupError, TypeError):
        raise ProbeError(f"{host}:{port} answered no result: {text[:300]}") from None
    if answer != list(_SIZE):
        raise ProbeError(f"{host}:{port} answered {answer}, expected {list(_SIZE)}")
    return True


@functools.cache
def _request() -> tuple[bytes, bytes]:
    """One picture with a mark, in KServe's binary form: the header and the picture's bytes."""
    picture = Image.new("RGB", _SIZE[::-1], (120, 140, 160))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((120, 80, 200, 160), fill=(220, 200, 120))
    draw.ellipse((90, 50, 230, 190), outline=(230, 20, 20), width=6)
    held = io.BytesIO()
    picture.save(held, "PNG")
    body = held.getvalue()
    image, size = MARKED_OBJECT.inputs[0], MARKED_OBJECT.outputs[-2]
    header = {
        "inputs": [
            {
                "name": image.name,
                "datatype": image.dtype,
                "shape": [len(body)],
                "parameters": {"binary_data_size": len(body)},
            }
        ],
        "outputs": [{"name": size.name, "parameters": {"binary_data": False}}],
    }
    return json.dumps(header).encode(), body


def main() -> int:
    """Probe the server whose URL is the only argument; exit status 0 for ready or busy, 1 not."""
    url = urlsplit(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
    try:
        if not probe(url.hostname or "127.0.0.1", url.port or 8000, timeout=20):
            print(f"{url.netloc} has too much to do")
    except ProbeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
