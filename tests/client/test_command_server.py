"""The command with servers, and the command ``markcut prompt``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.client.fake_server import Engine, Refused
from tests.client.test_servers import fingerprint


@pytest.fixture
def run(command: Callable[..., Any]) -> Callable[..., Any]:
    return command


def test_extract(run: Any, server: Any, engine: Engine, photo: Any) -> None:
    for index in range(7):
        photo(f"in/{index}.png", size=(30 + index, 20))
    Path("in/3.png").write_bytes(b"nonsense")
    Path("token").write_text("abc.def\n")
    done = run(
        "extract", "in", "--server", server.url, "--json", "--out", "out", "--concurrency", "3",
        "--timeout", "30", "--token-file", "token", "--header", "X-Run: 7", "--seed", "5",
    )  # fmt: skip
    assert done.status == 1, done.err
    results = [json.loads(line) for line in done.out.splitlines()]
    assert [Path(one["picture"]).name for one in results] == [f"{i}.png" for i in range(7)]
    assert results[3]["error"] == "got no picture, expected one"
    for index in (0, 6):
        assert results[index]["stage_ms"]["total"] == fingerprint(Path(f"in/{index}.png"))
    assert Path("out/6_0.png").exists()
    assert engine.headers[0]["authorization"] == "Bearer abc.def"
    assert engine.headers[0]["x-run"] == "7"
    assert engine.requests[0][2] == {"seed": 5}


def test_extract_without_a_server(run: Any, photo: Any) -> None:
    photo("a.png")
    done = run("extract", "a.png", "--server", "grpc://127.0.0.1:1")
    assert done.status == 1
    assert "nobody answers" in done.err
    assert "stopped after 0 of 1 pictures" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--timeout", "3"), "--timeout is for --server URL"),
        (("--concurrency", "3"), "--concurrency is for --server"),
        (("--header", "a:b"), "--header is for --server URL"),
        (("--headers-in-plain",), "--headers-in-plain is for --server URL"),
        (("--server", "grpc://h", "--timeout", "-1"), "--timeout: got -1"),
        (("--server", "grpc://h", "--concurrency", "0"), "--concurrency: got 0, expected 1 or"),
        (("--server", "grpc://h", "--threads", "1"), "--threads is for --bundle"),
        (("--server", "grpc://h", "--header", "x"), "--header: expected NAME:VALUE"),
        (("--server", "grpc://h", "--header", "x: 1"), "--header: grpc://h:8001 is not encrypted"),
        (("--server", "grpc://h", "--token-file", "none"), "--token-file none: cannot be read"),
        (("--server", "grpc://h", "--token-file", "two"), "--token-file two: expected one token"),
        (("--server", "grpcs://h", "--root-certificates", "two"), "holds no certificate"),
        (("--server", "h:1"), "'h:1' is no address"),
    ],
)
def test_wrong_use(run: Any, photo: Any, arguments: tuple[str, ...], message: str) -> None:
    photo("a.png")
    Path("two").write_text("a b")
    done = run("extract", "a.png", *arguments)
    assert done.status == 2
    assert message in done.err
    assert done.out == ""


def test_doctor(run: Any, server: Any, engine: Engine) -> None:
    done = run("doctor", "--server", server.url)
    assert done.status == 0, done.out
    for text in (
        f"server {server.url}\n",
        "reachable: triton 2.51.0\n",
        "ready: marked_object, version 1\n",
        "ready: prompted_object, version 1\n",
        "one inference: 1 marked, ",
        "shared memory: not used so far",
        "ready: the server answers\n",
    ):
        assert text in done.out
    report = json.loads(run("doctor", "--server", server.url, "--json").out)
    assert report["healthy"] is True
    assert report["models"] == {"marked_object": ["1"], "prompted_object": ["1"]}


def test_doctor_finds_something(run: Any, server: Any, engine: Engine) -> None:
    engine.ready = False
    done = run("doctor", "--server", server.url)
    assert done.status == 1
    assert "not ready: marked_object\n" in done.out
    engine.ready = True

    def before(number: int) -> None:
        raise Refused("INTERNAL", "model instance 'clipseg_0_0' is gone")

    engine.before = before
    done = run("doctor", "--server", server.url, "--timeout", "20")
    assert done.status == 1
    assert "not ready: picture: clipseg: model instance" in done.out
    server.stop()
    done = run("doctor", "--server", server.url)
    assert done.status == 1
    assert "nobody answers" in done.out


def test_prompt(run: Any, server: Any, engine: Engine, photo: Any) -> None:
    photo("a.png", size=(64, 48))
    done = run(
        "prompt", "a.png", "--server", server.url, "--point", "10,20", "--point", "30,5.5,0",
        "--next", "--box", "1,2,30,40", "--out", "out", "--json", "--background", "transparent",
    )  # fmt: skip
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert [one["bbox"] for one in result["objects"]] == [[0, 0, 64, 48]] * 2
    assert json.loads(Path("out/a.json").read_text()) == result
    with Image.open("out/a_1.png") as image:
        assert (image.size, image.mode) == ((64, 48), "RGBA")
    ((model, inputs, _),) = engine.requests
    assert model == "prompted_object"
    assert inputs["point_coords"].tolist() == [[[10, 20], [30, 5.5]], [[0, 0], [0, 0]]]
    assert inputs["point_labels"].tolist() == [[1, 0], [-1, -1]]
    assert inputs["boxes"][1].tolist() == [1, 2, 30, 40]
    table = run("prompt", "a.png", "--server", server.url, "--point", "1,2")
    assert "a.png, 64 x 48" in table.out
    assert "0, 0, 64, 48" in table.out
    again = run("prompt", "a.png", "--server", server.url, "--point", "1,2", "--out", "out")
    assert again.status == 2
    assert "a.json and 2 more: there already, under names that results may" in again.err


def test_prompt_over_an_earlier_run(run: Any, grpc_server: Any, photo: Any) -> None:
    photo("a.png")
    Path("o").mkdir()
    Path("o/a_1.png").touch()
    arguments = ("prompt", "a.png", "--server", grpc_server.url, "--point", "1,2", "--out", "o")
    refused = run(*arguments)
    assert refused.status == 2
    assert "o/a_1.png: there already, under names" in refused.err
    done = run(*arguments, "--overwrite")
    assert done.status == 0, done.err
    assert "not of this run, though named like a result: o/a_1.png\n" in done.err


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_prompt_whose_files_cannot_be_written(
    run: Any, grpc_server: Any, photo: Any, flags: tuple[str, ...]
) -> None:
    photo("a.png", size=(64, 48))
    Path("o/a.json").mkdir(parents=True)
    done = run(
        "prompt", "a.png", "--server", grpc_server.url, "--point", "1,2", "--out", "o", *flags
    )
    assert done.status == 1
    assert done.err == "markcut: o/a.json: cannot be written (a folder has this name)\n"
    assert ('"bbox": [0, 0, 64, 48]' if flags else "0, 0, 64, 48") in done.out
    assert [path.name for path in Path("o").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "got no prompt, expected a --point or a --box"),
        (("--point", "1"), 2, "--point 1: expected X,Y or X,Y,LABEL"),
        (("--point", "1,x"), 2, "--point 1,x: expected"),
        (("--point", "1,2,3"), 2, "got the label 3, expected 1 for on the object"),
        (("--box", "1,2,3"), 2, "--box 1,2,3: expected X0,Y0,X1,Y1"),
        (("--box", "3,2,1,4"), 2, "--box: got (3, 2, 1, 4)"),
        (("--box", "nan,nan,nan,nan", "--point", "1,2"), 2, "--box nan,nan,nan,nan: expected"),
        (("--point", "1,2,0"), 2, "object 0: give it a point that is on the object, or a box"),
        (("--point", "nan,2"), 2, "--point nan,2: expected"),
        (("--box", "1,2,3,4", "--box", "1,2,3,4"), 2, "begin another with --next"),
        (("--point", "1,2", "--next"), 2, "object 1: got no prompt"),
        (("--point", "1,2", "--background", "white"), 2, "--background is about files"),
        (("--point", "1,2", "--out", "."), 2, "a.json: there already"),
        (("--point", "1,2", "--timeout", "x"), 2, "invalid float value"),
    ],
)
def test_prompt_wrong_use(
    run: Any, photo: Any, arguments: tuple[str, ...], status: int, message: str
) -> None:
    photo("a.png")
    Path("a.json").touch()
    done = run("prompt", "a.png", "--server", "grpc://127.0.0.1:1", *arguments)
    assert done.status == status
    assert message in done.err.replace("\n", " ")
    assert "Traceback" not in done.err


def test_prompt_on_a_picture_of_a_long_name(run: Any, server: Any, photo: Any) -> None:
    picture = photo("n" * 240 + ".png")
    done = run(
        "prompt", str(picture), "--server", server.url, "--point", "1,2", "--out", "o"
    )  # fmt: skip
    assert done.status == 0, done.err
    assert len(list(Path("o").iterdir())) == 2


def test_prompt_on_no_picture(run: Any, grpc_server: Any, tmp_path: Path) -> None:
    done = run("prompt", "none.png", "--server", grpc_server.url, "--point", "1,2")
    assert done.status == 1
    assert done.err == "markcut: none.png: there is no such file\n"
