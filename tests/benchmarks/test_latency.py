from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import latency
from benchmarks.__main__ import main
from benchmarks.contenders import Embedded, Reply
from benchmarks.errors import BenchmarkError
from benchmarks.latency import measure
from benchmarks.seats import Sample, Seat, serve
from benchmarks.timed_pictures import TimedPicture, read_pictures

BIG = TimedPicture("big", b"bbb", 40, 30)
SMALL = TimedPicture("small", b"s", 4, 3)


@dataclass(frozen=True)
class Fake:
    """A contender that takes as long as it says: 10 ms times its pace per byte."""

    name: str
    pace: float = 1.0

    @contextmanager
    def open(self) -> Iterator[Callable[[bytes], Reply]]:
        yield lambda picture: Reply(1, {"total": 10 * self.pace * len(picture)})


@dataclass
class FakeSeat:
    """Asks a contender in this process and notes the order of everything."""

    contender: Fake
    log: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.contender.name

    def time(self, picture: bytes, *, calls: int) -> list[Sample]:
        self.log.append((self.name, picture.decode(), str(calls)))
        with self.contender.open() as answer:
            return [Sample(1.0, answer(picture)) for _ in range(calls)]

    def peak_memory(self) -> int:
        return len(self.log) << 20

    def __enter__(self) -> FakeSeat:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append((self.name, "closed"))


def test_rounds_alternate_and_small_pictures_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[str, ...]] = []
    monkeypatch.setattr(latency, "Seat", lambda contender: FakeSeat(contender, log))
    contenders = [Fake("a"), Fake("b", pace=2.0)]
    measured = measure(contenders, [BIG, SMALL], rounds=2, calls=3, warm_up=1)
    assert log == [
        ("a", "s", "1"), ("b", "s", "1"), ("a", "bbb", "1"), ("b", "bbb", "1"),
        ("a", "s", "3"), ("b", "s", "3"), ("a", "bbb", "3"), ("b", "bbb", "3"),
        ("b", "s", "3"), ("a", "s", "3"), ("b", "bbb", "3"), ("a", "bbb", "3"),
        ("b", "closed"), ("a", "closed"),
    ]  # fmt: skip
    small, big = measured
    assert (small["picture"], big["picture"]) == ("small", "big")
    assert big["contenders"]["b"] == {
        "marks": 1, "samples": 6, "peak_memory_mb": 4.0,
        "ms": {"total": {"median": 60.0, "p90": 60.0}, "call": {"median": 1.0, "p90": 1.0}},
    }  # fmt: skip
    assert small["contenders"]["a"]["peak_memory_mb"] == 1.0


def test_the_other_end_of_a_seat() -> None:
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(Fake("a"), theirs))
    thread.start()
    assert ours.recv() == (True, None)
    ours.send((b"xy", 2))
    good, samples = ours.recv()
    assert good
    assert [sample.reply for sample in samples] == [Reply(1, {"total": 20.0})] * 2
    assert all(sample.call_ms >= 0 for sample in samples)
    ours.send(None)
    good, peak = ours.recv()
    assert good
    assert peak > 1 << 20
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_real_seat_says_why_it_cannot_open(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"onnxruntime: .*expected a bundle's folder"):
        Seat(Embedded(tmp_path / "nothing", "onnxruntime", None))


def test_pictures_are_checked_before_anything_starts(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(good)
    bad.write_bytes(b"nothing")
    assert [(p.name, p.width, p.height) for p in read_pictures([good])] == [("good.png", 4, 3)]
    with pytest.raises(BenchmarkError, match=r"bad\.png: got"):
        read_pictures([good, bad])
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_pictures([tmp_path / "none.png"])
    with pytest.raises(BenchmarkError, match="two called"):
        read_pictures([good, good])


def test_the_command_writes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {
        "bundle": {"name": "tiny", "manifest_sha256": "0" * 64},
        "machine": {"cpu": "abacus", "cores": 1, "python": "3.10.0"},
        "packages": {"onnxruntime": "1.18"},
    }
    monkeypatch.setattr(latency, "facts", lambda bundle: dict(about))
    monkeypatch.setattr(latency, "Embedded", lambda bundle, runtime, threads: Fake(runtime))
    monkeypatch.setattr(latency, "generated_pictures", lambda photos: [SMALL, BIG])
    monkeypatch.setattr(latency, "Seat", FakeSeat)
    out = tmp_path / "out"
    words = ["latency", "--out", str(out), "--rounds", "2", "--runtime", "openvino", "onnxruntime"]
    assert main(words) == 0
    text = capsys.readouterr().out
    result = json.loads(text.splitlines()[-1])
    assert result == json.loads((out / "latency.json").read_text())
    assert list(result["pictures"][1]["contenders"]) == ["openvino", "onnxruntime"]
    assert result["pictures"][1]["contenders"]["openvino"]["ms"]["total"]["median"] == 30.0
    assert "| big, onnxruntime" in text
