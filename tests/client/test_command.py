"""``markcut extract``, in this process with a fake transport."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import markcut_client
from markcut_client import InferenceError, TransportError

Run = Callable[..., Any]


def test_table(run: Run, photo: Any) -> None:
    photo("a.png")
    done = run("extract", "a.png")
    assert done.status == 0
    assert "circle 0.95, tick 0.70" in done.out
    assert "64 x 48" in done.out
    assert "1 picture, 2 objects" in done.err
    left_open = {"runtime": "auto", "device": None, "threads": None, "precision": None}
    assert run.opened == [{"folder": "artifacts/demo", **left_open}]
    assert run.transport.closed == 1
    assert sorted(p.name for p in Path().iterdir()) == ["a.png", "artifacts"]  # wrote nothing


def test_json_lines(run: Run, photo: Any) -> None:
    photo("a.png")
    photo("b.png").write_bytes(b"nonsense")
    done = run("extract", "a.png", "b.png", "--json")
    assert done.status == 1
    first, second = map(json.loads, done.out.splitlines())
    assert first["picture"] == "a.png"
    assert [found["mark"]["kind"] for found in first["objects"]] == ["circle", "tick"]
    assert second == {"picture": "b.png", "error": "got a truncated or broken file"}


def test_folder_with_bad_pictures(run: Run, photo: Any) -> None:
    photo("in/2.png")
    photo("in/10.PNG")
    photo("in/.hidden.png")
    photo("in/sub/x.png")
    Path("in/bad.jpg").write_bytes(b"\xff\xd8 nothing")
    Path("in/empty.webp").touch()
    Path("in/notes.txt").write_text("no picture")
    done = run("extract", "in", "--out", "out", "--overlay")
    assert done.status == 1
    assert "2 pictures, 4 objects" in done.err
    assert done.err.endswith(
        "markcut: 2 pictures failed:\n"
        "markcut:   in/bad.jpg: got a truncated or broken file\n"
        "markcut:   in/empty.webp: got no bytes, expected a JPEG, PNG, WebP or BMP picture\n"
    )
    assert done.out.index("10.PNG") < done.out.index("2.png")
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(
        f"{stem}{end}"
        for stem in ("10", "2")
        for end in (".json", "_0.png", "_1.png", "_overlay.png")
    )


def test_no_results_are_promised_where_there_are_none(run: Run, photo: Any) -> None:
    photo("a.png")
    Path("b.png").write_bytes(b"no picture")
    done = run("extract", "b.png", "--out", "out")
    assert done.status == 1
    assert "results are in" not in done.err
    assert "results are in out" in run("extract", "a.png", "b.png", "--out", "out").err


def test_the_demo_s_options(run: Run, photo: Any) -> None:
    photo("examples/a.jpg")
    photo("examples/b.jpg")
    arguments = (
        "extract", "examples", "--bundle", "artifacts/demo", "--out", "out/demo",
        "--overlay", "--sheet", "out/demo/sheet.png",
    )  # fmt: skip
    assert run(*arguments).status == 0
    with Image.open("out/demo/sheet.png") as sheet:
        assert sheet.width > 600
    again = run(*arguments)
    assert again.status == 2
    assert "there already" in again.err
    assert run(*arguments, "--overwrite").status == 0


@pytest.mark.parametrize(
    ("name", "format"),
    [("s.jpg", "JPEG"), ("s.JPEG", "JPEG"), ("s.webp", "WEBP"), ("s.png", "PNG")],
)
def test_a_sheet_is_what_its_name_says(run: Run, photo: Any, name: str, format: str) -> None:
    photo("a.png")
    done = run("extract", "a.png", "--sheet", name)
    assert done.status == 0
    with Image.open(name) as sheet:
        assert sheet.format == format


def test_options_reach_the_engine(run: Run, photo: Any) -> None:
    photo("a.png")
    done = run(
        "extract", "a.png", "--bundle", "b", "--runtime", "openvino", "--threads", "2",
        "--precision", "bf16", "--device", "cpu",
        "--seed", "3", "--max-marks", "4", "--mark-threshold", "0.5", "--points-per-mark", "2",
        "--prompt", "a circle",
    )  # fmt: skip
    assert done.status == 0
    asked = {"runtime": "openvino", "device": "cpu", "threads": 2, "precision": "bf16"}
    assert run.opened == [{"folder": "b", **asked}]
    ((_, parameters),) = run.transport.requests
    assert parameters == {
        "seed": 3,
        "max_marks": 4,
        "mark_threshold": 0.5,
        "points_per_mark": 2,
        "prompt": "a circle",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("extract",), "the following arguments are required: PICTURE"),
        (("extract", "none.png"), "none.png: there is no such file or folder"),
        (("extract", "artifacts"), ".bmp; subfolders are not searched"),
        (("extract", "artifacts/demo"), "artifacts/demo: no picture in there; looked for names"),
        (("extract", ""), "argument PICTURE: got nothing, expected a path"),
        (("extract", "a" * 300), "aaa: cannot be read (File name too long)"),
        (("extract", "a.png", "--out", ""), "argument --out: got nothing, expected a path"),
        (
            ("extract", "a.png", "--sheet", "a" * 300 + ".png"),
            "cannot be written (File name too long)",
        ),
        (("extract", "a.png", "--seed", "9" * 20), "--seed: got 99999999999999999999, expected at"),
        (("extract", "a.png", "--mark-threshold", "1.5"), "--mark-threshold: got 1.5, expected"),
        (("extract", "a.png", "--mark-threshold", "nan"), "--mark-threshold: got nan, expected"),
        (("extract", "a.png", "--mark-threshold", "x"), "invalid float value: 'x'"),
        (("extract", "a.png", "--max-marks", "0"), "--max-marks: got 0, expected 1 or more"),
        (("extract", "a.png", "--threads", "0"), "--threads: got 0, expected 1 or more"),
        (("extract", "a.png", "--overlay"), "--overlay is about files: name their folder"),
        (("extract", "a.png", "--format", "coco"), "--format is about files"),
        (("extract", "a.png", "--format", "xml"), "invalid choice: 'xml'"),
        (("extract", "a.png", "--out", "a.png"), "a.png: cannot be written"),
        (
            ("extract", "a.png", "--sheet", "s.gif"),
            "s.gif: expected a name that ends in .png, .jpg",
        ),
        (("extract", "a.png", "--sheet", "sheet"), "--sheet sheet: expected a name that ends in"),
        (("extract", "a.png", "--sheet", "a.png"), "a.png: there already"),
        (("extract", "a.png", "--sheet", "a.png", "--overwrite"), "that is one of the pictures"),
        (("extract", "a.png", "--out", "o", "--sheet", "o/a_3.png"), "a result may take this"),
        (("extract", "a.png", "--server", "x:1"), "'x:1' is no address"),
        (("extract", "a.png", "--server", "grpc://x", "--threads", "2"), "the server has its own"),
        (("extract", "a.png", "--server", "grpc://x", "--bundle", "b"), "not allowed with"),
    ],
)
def test_wrong_use(run: Run, photo: Any, arguments: tuple[str, ...], message: str) -> None:
    photo("a.png")
    before = Path("a.png").read_bytes()
    done = run(*arguments)
    assert done.status == 2
    assert message in done.err.replace("\n", " ")
    assert done.out == ""
    assert "Traceback" not in done.err
    assert run.opened == []  # nothing was loaded for it
    assert Path("a.png").read_bytes() == before


def test_which_bundle(run: Run, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photo("a.png")
    monkeypatch.setenv("MARKCUT_BUNDLE", "elsewhere")
    run("extract", "a.png")
    assert run.opened[-1]["folder"] == "elsewhere"
    monkeypatch.delenv("MARKCUT_BUNDLE")
    Path("artifacts/demo").rmdir()
    done = run("extract", "a.png")
    assert done.status == 2
    assert "no bundle: pass --bundle DIR, set MARKCUT_BUNDLE, or run this where" in done.err


def test_same_picture_twice_is_one(run: Run, photo: Any) -> None:
    photo("in/a.png")
    done = run("extract", "in", "in/a.png", "./in/../in/a.png", "--json")
    assert len(done.out.splitlines()) == 1


def test_two_names_of_a_picture_are_two(run: Run, photo: Any) -> None:
    photo("in/a.png")
    Path("in/b.png").symlink_to("a.png")
    assert len(run("extract", "in", "--json").out.splitlines()) == 2


def test_interrupted(run: Run, photo: Any) -> None:
    for name in "abc":
        photo(f"{name}.png")
    answer, calls = run.transport.infer, []

    def infer(*request: Any) -> Any:
        calls.append(request)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(*request)

    run.transport.infer = infer
    done = run("extract", "a.png", "b.png", "c.png", "--out", "o", "--format", "coco")
    assert done.status == 130
    assert "interrupted after 1 of 3 pictures" in done.err
    assert len(json.loads(Path("o/annotations.json").read_text())["images"]) == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_terminated(run: Run, photo: Any, name: str) -> None:
    photo("a.png")
    photo("b.png")
    answer, number = run.transport.infer, signal.Signals[name]
    before = signal.signal(number, signal.SIG_DFL)  # nohup, which tests may run under, ignores one

    def infer(*request: Any) -> Any:
        if run.transport.requests:
            os.kill(os.getpid(), number)
        return answer(*request)

    run.transport.infer = infer
    try:
        done = run("extract", "a.png", "b.png", "--out", "o", "--format", "coco")
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert done.status == 128 + number
    assert "told to end after 1 of 2 pictures" in done.err
    assert len(json.loads(Path("o/annotations.json").read_text())["images"]) == 1
    assert run.transport.closed == 1


def test_a_closed_standard_error_spoils_no_json(
    run: Run, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png")
    monkeypatch.setattr(sys, "stderr", None)
    done = run("extract", "a.png", "--json")
    assert len(done.out.splitlines()) == 1
    json.loads(done.out)


def test_a_folder_of_other_formats_alone_says_so(run: Run) -> None:
    Path("in").mkdir()
    Path("in/x.heic").write_bytes(b"x")
    done = run("extract", "in")
    assert done.status == 2
    assert "passed over: in/x.heic; convert" in done.err
    assert "no picture in there" in done.err


def test_pictures_of_other_formats_are_named(run: Run, photo: Any) -> None:
    photo("in/a.png")
    photo("in/b.jfif", format="JPEG")
    for name in ("x.HEIC", "y.tif", "notes.txt", ".z.gif"):
        Path("in", name).write_bytes(b"x")
    done = run("extract", "in", "--json")
    assert done.status == 0
    assert len(done.out.splitlines()) == 2
    assert "passed over: in/x.HEIC and 1 more; convert to JPEG or PNG" in done.err


@pytest.mark.parametrize(
    ("problem", "requests", "message"),
    [
        (InferenceError("out of memory"), 2, "2 pictures failed"),
        (TransportError("the engine is gone"), 1, "stopped after 0 of 2 pictures"),
        (ZeroDivisionError("bug"), 1, "internal error (ZeroDivisionError: bug)"),
    ],
)
def test_engine_fails(
    run: Run, photo: Any, problem: Exception, requests: int, message: str
) -> None:
    photo("a.png")
    photo("b.png")
    calls = []

    def infer(*request: Any) -> Any:
        calls.append(request)
        raise problem

    run.transport.infer = infer
    done = run("extract", "a.png", "b.png")
    assert done.status == 1
    assert len(calls) == requests
    assert message in done.err
    assert "Traceback" not in done.err


def test_parameter_that_only_the_engine_can_judge(run: Run, photo: Any) -> None:
    photo("a.png")

    def infer(*_: Any) -> Any:
        raise markcut_client.ParameterError("prompt: got 'x', expected 'annotated'")

    run.transport.infer = infer
    done = run("extract", "a.png", "--prompt", "x")
    assert done.status == 2
    assert done.err == "markcut: --prompt: got 'x', expected 'annotated'\n"


def test_debug_shows_where(run: Run, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKCUT_DEBUG", "1")
    done = run("extract", "none.png")
    assert done.status == 2
    assert "Traceback" in done.err


def test_disk_full(run: Run, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photo("a.png")

    def full(*_: object, **__: object) -> None:
        raise markcut_client.OutputError("o/a_0.png: cannot be written (No space left on device)")

    monkeypatch.setattr("markcut_client.output_folder.write_together", full)
    done = run("extract", "a.png", "--out", "o")
    assert done.status == 1
    assert "No space left" in done.err
    assert "stopped after 0 of 1 pictures" in done.err


def test_a_picture_whose_files_cannot_be_written(run: Run, photo: Any) -> None:
    for name in "abc":
        photo(f"{name}.png")
    Path("o/b.json").mkdir(parents=True)
    done = run("extract", "a.png", "b.png", "c.png", "--out", "o", "--overwrite", "--json")
    assert done.status == 1
    assert "2 pictures, 4 objects" in done.err
    assert "b.png: o/b.json: cannot be written (a folder has this name)" in done.err
    assert "not of this run" not in done.err
    assert json.loads(done.out.splitlines()[1])["error"].startswith("o/b.json: cannot")
    assert sorted(p.name for p in Path("o").iterdir()) == [
        "a.json", "a_0.png", "a_1.png", "b.json", "c.json", "c_0.png", "c_1.png",
    ]  # fmt: skip


def test_another_run_into_the_same_folder(run: Run, photo: Any) -> None:
    photo("a.png")
    answer = run.transport.infer

    def infer(*request: Any) -> Any:
        for name in ("o/a.json", "sheet.png"):
            Path(name).write_text("theirs")
        return answer(*request)

    run.transport.infer = infer
    done = run("extract", "a.png", "--out", "o", "--sheet", "sheet.png")
    assert done.status == 1
    assert "a.png: o/a.json: there already, another run wrote it meanwhile" in done.err
    assert [path.name for path in Path("o").iterdir()] == ["a.json"]
    photo("b.png")
    Path("sheet.png").unlink()
    done = run("extract", "b.png", "--sheet", "sheet.png")
    assert done.status == 1
    assert "sheet.png: there already" in done.err
    assert "sheet: " not in done.err
    assert Path("sheet.png").read_text() == "theirs"


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"markcut {markcut_client.__version__}\n"
    assert "markcut extract photos/" in run("extract", "--help").out
    assert "exit status" in run("doctor", "--help").out
