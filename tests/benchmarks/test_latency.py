from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import chain, laboratory, latency, seats, timed_pictures
from benchmarks.__main__ import main
from benchmarks.chain import Ask, Effort, Rotation, Segment
from benchmarks.contenders import Embedded, Points, Reply
from benchmarks.errors import BenchmarkError
from benchmarks.seats import Seat, serve
from benchmarks.timed_pictures import FRAMES, TimedPicture, generated_pictures, read_pictures
from markcut import rle
from markcut.contracts import STAGES
from markcut.images import decode

BIG = TimedPicture("1 MP, 4 marks", (b"bbb", b"BBB"), 40, 30, 4)
SMALL = TimedPicture("1 MP, 1 mark", (b"s", b"S"), 40, 30, 1)
EFFORT = Effort(rounds=2, calls=3, seconds=60, warm_up=1)


def block(width: int) -> bytes:
    return rle.encode(np.ones((10, width), np.bool_), (0, 0), height=30, width=40)


@dataclass(frozen=True)
class Fake:
    """A contender that says it took 10 ms times its pace per byte, and finds a block."""

    name: str
    pace: float = 1.0
    width: int = 20

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Fake]:
        yield self

    def answer(self, picture: bytes) -> Reply:
        spent = 10 * self.pace * len(picture)
        stages = dict.fromkeys(STAGES, spent)
        marks = len(picture)
        return Reply(marks, stages, (block(20),), (block(9),), ((1.0, 1.0),), (30, 40))

    def segment(self, picture: bytes, points: Points) -> tuple[bytes, ...]:
        return tuple(block(self.width) for _ in points)


class FakeSeat:
    """Asks a contender in this process and notes who was asked for what."""

    log: list[tuple[str, Any]] = []  # noqa: RUF012 (one for all, emptied by the fixture)

    def __init__(self, contender: Fake) -> None:
        self.name, self.opened_s = contender.name, 0.25
        self._contender = contender

    def perform(self, task: Callable[[Any], Any]) -> Any:
        if isinstance(task, Ask):
            self.log.append((self.name, b" ".join(task.frames).decode()))
        return task(self._contender)

    def peak_memory(self) -> int:
        return 3 << 20

    def __enter__(self) -> FakeSeat:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append((self.name, "closed"))


@pytest.fixture
def fake_seats(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    monkeypatch.setattr(seats, "Seat", FakeSeat)
    FakeSeat.log.clear()
    return FakeSeat.log


def test_rounds_alternate_and_frames_take_turns(fake_seats: list[tuple[str, Any]]) -> None:
    part = chain.measure([Fake("a"), Fake("b", pace=2.0)], [BIG, SMALL], EFFORT, least_iou=0.9)
    assert fake_seats == [
        ("a", "s"), ("b", "S"),  # first answers
        ("a", "s"), ("b", "S"), ("a", "bbb"), ("b", "BBB"),  # warm-up
        ("a", "s S s"), ("b", "S s S"), ("a", "bbb BBB bbb"), ("b", "BBB bbb BBB"),
        ("b", "s S s"), ("a", "S s S"), ("b", "bbb BBB bbb"), ("a", "BBB bbb BBB"),
        ("b", "closed"), ("a", "closed"),
    ]  # fmt: skip
    small, big = part["pictures"]
    assert (small["picture"], big["picture"]) == (SMALL.name, BIG.name)
    found = big["contenders"]["b"]
    assert (found["samples"], found["marks"], found["peak_memory_mb"]) == (6, 3, 3.0)
    assert found["ms"]["total"] == {"median": 60.0, "p90": 60.0}
    assert len(found["calls_ms"]) == 6
    assert part["reference"] == "a"
    assert part["opened"]["b"]["opened_s"] == 0.25


def test_who_answers_otherwise_is_not_timed(fake_seats: list[tuple[str, Any]]) -> None:
    contenders = [Fake("a"), Fake("b", width=10)]
    (picture,) = chain.measure(contenders, [SMALL], EFFORT, least_iou=0.9)["pictures"]
    found = picture["contenders"]["b"]
    assert (found["mask_iou"], found["box_iou"], found["equal"]) == (0.5, 1.0, False)
    assert "ms" not in found
    assert ("b", "S s S") not in fake_seats
    (picture,) = chain.measure(contenders, [SMALL], EFFORT, least_iou=0.4)["pictures"]
    assert "ms" in picture["contenders"]["b"]


def test_a_call_that_takes_long_ends_the_turn() -> None:
    assert len(Ask((b"x",) * 5, seconds=-1)(Fake("a"))) == 1
    assert len(Ask((b"x",) * 5)(Fake("a"))) == 5


def test_no_frame_comes_back_before_the_others_were_asked(
    fake_seats: list[tuple[str, Any]],
) -> None:
    picture = TimedPicture("p", (b"a", b"b", b"c", b"d", b"e", b"f"), 1, 1)
    rotation = Rotation()
    for _ in range(5):
        for name, seconds in (("one", 60.0), ("two", -1.0)):  # the second stops after one
            rotation.ask(FakeSeat(Fake(name)), picture, 3, seconds)  # type: ignore[arg-type]
    began = "".join(
        words.replace(" ", "")[: 3 if name == "one" else 1] for name, words in fake_seats
    )
    assert began == "abcdef" * 3 + "ab"


def test_the_other_end_of_a_seat() -> None:
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(Fake("a"), theirs))
    thread.start()
    assert ours.recv() == (True, None)
    ours.send(Ask((b"xy", b"xy")))
    good, samples = ours.recv()
    assert good
    assert [sample.reply.marks for sample in samples] == [2, 2]
    assert all(sample.call_ms >= 0 for sample in samples)
    ours.send(Segment(b"x", 3))  # type: ignore[arg-type]
    good, words = ours.recv()
    assert not good
    assert "int" in words
    thread.join(10)
    assert not thread.is_alive()


def test_a_real_seat_says_why_it_cannot_open(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"onnxruntime fp32: .*expected a bundle's folder"):
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


def test_generated_pictures_differ_in_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timed_pictures.SIZES, "tiny", (120, 160))
    (picture,) = generated_pictures(None, [("tiny", 1)])
    assert picture.name == "tiny, 1 mark"
    assert (picture.width, picture.height, picture.marks) == (160, 120, 1)
    assert len(set(picture.frames)) == FRAMES
    first, second = (decode(np.frombuffer(frame, np.uint8)) for frame in picture.frames[:2])
    assert np.abs(first[16:].astype(int) - second[16:]).max() <= 2
    with pytest.raises(BenchmarkError, match="expected a square"):
        generated_pictures(None, [("tiny", 3)])


@pytest.fixture
def tiny_world(monkeypatch: pytest.MonkeyPatch, fake_seats: list[tuple[str, Any]]) -> None:
    about = {
        "bundle": {"name": "tiny", "manifest_sha256": "0" * 64},
        "machine": {"cpu": "abacus", "cores": 1, "python": "3.10.0"},
        "packages": {"onnxruntime": "1.18"},
    }
    monkeypatch.setattr(latency, "facts", lambda bundle: dict(about))
    monkeypatch.setattr(laboratory, "offered", lambda *_, **__: [("openvino", None)])
    monkeypatch.setattr(
        laboratory, "Embedded", lambda bundle, runtime, *rest: Fake("openvino fp32")
    )
    monkeypatch.setattr(laboratory, "generated_pictures", lambda photos, cells: [SMALL, BIG])


def test_the_command_writes_everything_and_again_from_its_json(
    tmp_path: Path, tiny_world: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    words = ["latency", "--out", str(out), "--parts", "chain", "--groups", "ours"]
    assert main([*words, "--bundle", "some", "--threads", "1"]) == 0
    text = capsys.readouterr().out
    result = json.loads(text.splitlines()[-1])
    assert result == json.loads((out / "latency.json").read_text())
    small = result["parts"]["chain"]["pictures"][0]
    assert small["contenders"]["openvino fp32"]["ms"]["total"]["median"] == 10.0
    assert "upstream and peers" in result["missing"]
    assert main(["latency", "--from", str(out / "latency.json"), "--out", str(again)]) == 0
    for name in ("latency.md", "latency.json", "latency_spread.png", "latency_stages.png"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    markdown = (out / "latency.md").read_text()
    assert "| 1 MP, 4 marks: openvino fp32" in markdown
    assert "ten more marks, openvino fp32" in markdown
    small["contenders"]["openvino fp32"].pop("box_iou")  # as an older version left it
    (tmp_path / "old.json").write_text(json.dumps(result))
    assert main(["latency", "--from", str(tmp_path / "old.json"), "--out", str(again)]) == 2
    assert "is of another version of this benchmark" in capsys.readouterr().err


def test_nobody_can_take_part(
    tmp_path: Path, tiny_world: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(laboratory, "offered", lambda *_, **__: [])
    words = ["latency", "--out", str(tmp_path), "--bundle", "some", "--groups", "ours"]
    assert main(words) == 2
    assert "nobody can take part" in capsys.readouterr().err


def test_what_a_gpu_lacks_is_one_sentence(
    tmp_path: Path, tiny_world: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[tuple[tuple[str, ...], str | None]] = []

    def none_offered(bundle: Path, runtimes: tuple[str, ...], *, device: str | None) -> list[Any]:
        asked.append((runtimes, device))
        return []

    monkeypatch.setattr(laboratory, "offered", none_offered)
    monkeypatch.setattr(laboratory, "cuda_in_torch", lambda: False)
    words = ["latency", "--out", str(tmp_path), "--bundle", "some", "--device", "cuda"]
    files = ["--clipseg", "c", "--yolo", "y", "--sam2", "s"]
    assert main([*words, *files]) == 2
    assert capsys.readouterr().err == (
        "benchmarks latency: nobody can take part (ours: no runtime runs the bundle on cuda here; "
        "install the extra 'gpu' in place of 'onnxruntime'; upstream: PyTorch finds no CUDA "
        "device here)\n"
    )
    ((runtimes, device),) = asked
    assert (set(runtimes) <= {"onnxruntime", "tensorrt"}, device) == (True, "cuda")
