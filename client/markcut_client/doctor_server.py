"""``markcut doctor --server``: whether a server is there, is ready, and answers."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from markcut_client import wire
from markcut_client.client import Client
from markcut_client.console import printable
from markcut_client.errors import ClientError
from markcut_client.transports import ServerOptions, open_server

_TIMEOUT = 10.0  # of the questions; the inference has the caller's


@dataclass
class ServerHealth:
    """What was found out, in the order of finding it; ``problem`` is what stopped it."""

    server: str
    name: str = ""
    version: str = ""
    models: dict[str, list[str]] = field(default_factory=dict)  # versions of those that are ready
    missing: list[str] = field(default_factory=list)
    infer_ms: float | None = None
    engine_ms: float | None = None
    objects: int | None = None
    shared_memory: str = ""
    problem: str = ""

    @property
    def healthy(self) -> bool:
        """Whether every model is ready, and one real inference succeeded."""
        return not self.problem and not self.missing and self.infer_ms is not None


def examine(url: str, options: ServerOptions, *, timeout: float | None) -> ServerHealth:
    """Ask the server at ``url`` about itself, then for one answer.

    Raises as :func:`open_transport` for a wrong address or options; whatever the server does is
    in the report.
    """
    transport = open_server(url, options)
    health = ServerHealth(str(transport.address))
    with Client(transport, timeout=timeout) as client:
        try:
            report = transport.describe(*wire.MODELS, timeout=timeout or _TIMEOUT)
            health.name, health.version = report.server.name, " ".join(report.server.versions)
            for name, model in report.models.items():
                if model.ready:
                    health.models[name] = list(model.versions)
                else:
                    health.missing.append(name)
            if wire.MARKED_OBJECT.name in health.models:
                start = time.perf_counter()
                found = client.extract(_marked_picture())
                health.infer_ms = 1000 * (time.perf_counter() - start)
                health.engine_ms = found.stage_ms["total"]
                health.objects = len(found)
        except ClientError as error:
            health.problem = str(error)
        health.shared_memory = transport.shared_memory
    return health


def report_server(url: str, options: ServerOptions, *, timeout: float | None, as_json: bool) -> int:
    """Print what :func:`examine` finds; 0 for a healthy server, else 1."""
    health = examine(url, options, timeout=timeout)
    if as_json:
        print(json.dumps({**asdict(health), "healthy": health.healthy}, indent=1))
    else:
        for line in _lines(health):
            print(printable(line))
    return 0 if health.healthy else 1


def _lines(health: ServerHealth) -> list[str]:
    lines = [f"server {health.server}"]
    if health.name:
        lines.append(f"reachable: {health.name} {health.version}".rstrip())
    for name, versions in health.models.items():
        lines.append(f"ready: {name}, version {', '.join(versions) or 'unknown'}")
    lines += [f"not ready: {name}" for name in health.missing]
    if health.infer_ms is not None:
        lines.append(
            f"one inference: {health.objects} marked, {health.infer_ms:.0f} ms here, "
            f"{health.engine_ms:.0f} ms in the engine"
        )
    lines.append(f"shared memory: {health.shared_memory}")
    if health.healthy:
        return [*lines, "ready: the server answers"]
    return [*lines, f"not ready: {health.problem or 'models are missing'}"]


def _marked_picture() -> Image.Image:
    """A blue disc in a red loop: what an engine of any training can look at."""
    picture = Image.fromarray(np.full((480, 640, 3), 220, np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((250, 170, 390, 310), fill=(60, 90, 160))
    draw.ellipse((215, 135, 425, 345), outline=(220, 20, 30), width=6)
    return picture
