"""Who takes part in the latency benchmark, and what is asked of them in each part."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import chain, growth, networks, outside, roofline, scenarios, start
from benchmarks.contenders import Contender, Embedded, Engine
from benchmarks.errors import BenchmarkError
from benchmarks.latency_efforts import Run
from benchmarks.networks import FAMILIES, Network, OwnNetwork
from benchmarks.peers import peers
from benchmarks.pipelines import offered
from benchmarks.remote import LocalServer, Remote, local_server
from benchmarks.seats import Seat
from benchmarks.single_networks import PICTURE_NETWORKS, Networks
from benchmarks.timed_pictures import TimedPicture, generated_pictures, read_pictures
from benchmarks.upstream import Checkpoints, Upstream
from benchmarks.upstream_networks import CUDA, cuda_in_torch
from markcut.bundle import read_manifest
from markcut.contracts import MODELS
from markcut.parameters import parse_parameters
from markcut.runners import RUNTIMES, TENSORRT, choose_runtime

_USUAL = ("1 MP", 1)  # the picture of every part but the chain


@dataclass(frozen=True)
class Way:
    """One way of ours to run the chain; ``label`` names another bundle than the main one."""

    bundle: Path
    runtime: str
    precision: str | None
    label: str = ""


@dataclass
class Laboratory:
    """The contenders that can be had, and the pictures."""

    bundle: Path
    run: Run
    threads: int | None
    upstream: list[Upstream]
    peers: bool
    ours: list[Way]
    server: LocalServer | None
    given: list[TimedPicture] | None
    photos: Path | None
    least_iou: float
    rate: float | None
    device: str | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(
        cls, bundle: Path, *, also: Sequence[Path], run: Run, groups: tuple[str, ...],
        runtimes: tuple[str, ...], threads: int | None, checkpoints: Checkpoints | None,
        pictures: list[Path] | None, photos: Path | None, least_iou: float, rate: float | None,
        device: str | None = None,
    ) -> Iterator[Laboratory]:  # fmt: skip
        """Find out who can take part, start the local Triton, and stop it in the end.

        ``device`` ``"cuda"`` leaves out who runs on the CPU alone.
        """
        missing: dict[str, str] = {}
        if device == CUDA:
            runtimes = tuple(name for name in runtimes if name in ("onnxruntime", TENSORRT))
            groups = tuple(name for name in groups if name != "triton")
        installed = tuple(name for name in runtimes if importlib.util.find_spec(name))
        ours: list[Way] = []
        if "ours" in groups:
            ours = [
                Way(bundle, runtime, kind, "engines" if runtime == TENSORRT else "")
                for runtime, kind in offered(bundle, installed, device=device)
            ]
            plain = [name for name in installed if name in RUNTIMES]
            if not ours:
                missing["ours"] = f"no runtime runs the bundle on {device or 'cpu'} here"
                if device == CUDA:
                    missing["ours"] += "; install the extra 'gpu' in place of 'onnxruntime'"
            else:
                ours += _others(also, plain)
        upstream = []
        if "upstream" in groups and device == CUDA and not cuda_in_torch():
            missing["upstream"] = "PyTorch finds no CUDA device here"
        elif "upstream" in groups:
            upstream = _upstream(bundle, run, threads, checkpoints, device)
        if checkpoints is None:
            missing["upstream and peers"] = (
                "pass --clipseg, --yolo and --sam2: the checkpoints that the bundle was made of"
            )
        given = read_pictures(pictures) if pictures else None
        with ExitStack() as stack:
            server = None
            if "triton" in groups:
                runtime = installed[0] if len(installed) == 1 else choose_runtime()
                try:
                    server = stack.enter_context(
                        local_server(bundle, runtime=runtime, threads=threads)
                    )
                except BenchmarkError as error:
                    missing["triton"] = str(error)
            found = cls(
                bundle, run, threads, upstream, "peers" in groups and checkpoints is not None,
                ours, server, given, photos, least_iou, rate, device, missing,
            )  # fmt: skip
            if not found.engines():
                reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
                raise BenchmarkError(f"nobody can take part ({reasons or 'no runtime installed'})")
            yield found

    @property
    def ready(self) -> dict[str, float] | None:
        """Seconds until the local Triton answered: by its own word, and with its command."""
        if self.server is None:
            return None
        return {"ready_s": self.server.ready_s, "command_s": self.server.command_s}

    @cached_property
    def pictures(self) -> list[TimedPicture]:
        """Of the part ``chain``."""
        return self.given or generated_pictures(self.photos, self.run.cells)

    @cached_property
    def usual(self) -> TimedPicture:
        """Of all other parts."""
        if self.given:
            return self.given[0]
        return next(
            (p for p in self.pictures if (p.name.partition(",")[0], p.marks) == _USUAL),
            self.pictures[0],
        )

    def engines(self) -> list[Contender[Engine]]:
        """Who answers pictures; the first is the reference."""
        return [*self.upstream, *self._own(), *self._clients()]

    def steps(self, part: str) -> int:
        """About how many steps of the progress bar ``part`` has."""
        cells = len(self.pictures)
        return {
            "chain": cells * (1 + self.run.chain.rounds),
            "networks": len(FAMILIES) * self.run.rounds,
            "scenarios": len(self._few()) * len(scenarios.NAMES),
            "start": len(self.ours) * len(MODELS),
            "roofline": 1 + len(self.ours) * len(MODELS),
            "growth": (len(self._few()) + bool(self.server)) * len(self.run.clients)
            + len(self.ours) * len(self.run.batches) * len(PICTURE_NETWORKS),
        }[part]

    def measure(self, part: str, advance: Callable[[], None]) -> dict[str, Any]:
        """One part of the report."""
        run, threads = self.run, self.threads
        single = [
            Networks(way.bundle, way.runtime, threads, way.precision, self.device)
            for way in self.ours
            if not way.label
        ]
        if part == "chain":
            return chain.measure(
                self.engines(), self.pictures, run.chain, least_iou=self.least_iou, advance=advance
            )
        if part == "networks":
            return self._networks(advance)
        if part == "roofline" and self.device == CUDA:
            raise BenchmarkError("it knows the rates of processors alone")
        if part == "scenarios":
            if not importlib.util.find_spec("mlperf_loadgen"):
                why = "the package mlcommons-loadgen is not installed"
                return {"contenders": {}, "refused": {"scenarios": why}}
            got = scenarios.measure(
                self._few(), self.usual.frames,
                seconds=run.scenario_s, rate=self.rate, advance=advance,
            )  # fmt: skip
            return {"picture": self.usual.name, **got}
        if part == "start":
            return start.measure(single, self._few(), self.usual.frames[0], advance=advance)
        if part == "roofline":
            return roofline.measure(
                single, threads=threads, calls=run.calls, seconds=run.seconds, advance=advance
            )
        found = {
            "concurrency": growth.measure_concurrency(
                [*self._own(), *self._clients()[:1]],
                self.usual.frames, clients=run.clients, seconds=run.clients_s, advance=advance,
            ),
            "batches": growth.measure_batches(
                single, batches=run.batches, calls=run.calls, seconds=run.seconds, advance=advance
            ),
        }  # fmt: skip
        if self.server:
            found["outside"] = outside.measure(
                self.server.grpc_port, self.usual.frames,
                clients=run.clients, seconds=run.clients_s, advance=advance,
            )  # fmt: skip
        return found

    def _networks(self, advance: Callable[[], None]) -> dict[str, Any]:
        contenders: dict[str, list[Contender[Network]]] = {}
        lacking: dict[str, dict[str, str]] = {}
        for family in FAMILIES:
            others, lacking[family] = peers(family, self.upstream) if self.peers else ([], {})
            own = [
                OwnNetwork(
                    way.bundle, way.runtime, self.threads, way.precision, way.label, self.device,
                    family=family,
                )
                for way in self.ours
            ]  # fmt: skip
            contenders[family] = [*others, *own]
        result = networks.measure(
            contenders, self.usual.frames[0], self._click(), rounds=self.run.rounds,
            calls=self.run.calls, seconds=self.run.seconds, least_iou=self.least_iou,
            advance=advance,
        )  # fmt: skip
        for family, reasons in lacking.items():
            result[family]["picture"] = self.usual.name
            result[family]["refused"].update(reasons)
        return result

    def _click(self) -> tuple[float, float]:
        """A point on the first object of the usual picture, else its middle."""
        own = self._own()
        if own:
            with Seat(own[0]) as place:
                points = place.perform(chain.Answer(self.usual.frames[0])).points
            if points:
                return points[0]
        return (self.usual.width / 2, self.usual.height / 2)

    def _few(self) -> list[Contender[Engine]]:
        """For parts where time is per contender: the reference, ours, and gRPC."""
        return [*self.upstream[:1], *self._own(), *self._clients()[:1]]

    def _own(self) -> list[Embedded]:
        return [
            Embedded(
                way.bundle, way.runtime, self.threads, way.precision, way.label, self.device
            )
            for way in self.ours
        ]  # fmt: skip

    def _clients(self) -> list[Remote]:
        return self.server.clients() if self.server else []


def _others(bundles: Sequence[Path], runtimes: Sequence[str]) -> list[Way]:
    """Further bundles in every runtime, under names that none of the main one's precisions has."""
    names = Counter(one.name for one in bundles)
    return [
        Way(one, runtime, None, f"bundle {one.name if names[one.name] == 1 else one}")
        for one in bundles
        for runtime in runtimes
    ]


def _upstream(
    bundle: Path,
    run: Run,
    threads: int | None,
    checkpoints: Checkpoints | None,
    device: str | None,
) -> list[Upstream]:
    if checkpoints is None:
        return []
    manifest = read_manifest(bundle)
    asked = parse_parameters({}, defaults=manifest.defaults, prompts=manifest.prompts)
    import torch

    from training.arguments import bf16_pays

    # emulated bf16 is ten times as slow, which nobody would use and nothing is learned from
    precisions = [False, True] if bf16_pays(torch.device(device or "cpu")) else [False]
    ways = [(bf16, False) for bf16 in precisions]
    if run.compiled:
        ways += [(bf16, True) for bf16 in precisions]
    return [
        Upstream(
            checkpoints, manifest.prompts[0], asked, manifest.defaults, manifest.belief, threads,
            bf16=bf16, compiled=compiled, device=device or "cpu",
        )
        for bf16, compiled in ways
    ]  # fmt: skip
