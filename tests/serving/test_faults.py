"""Faults on the real server: nothing hangs, nothing is lost, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from markcut.contracts import MARKED_OBJECT
from markcut.pipeline import Pipeline
from serving import supervisor
from serving.server import _forget_the_dead
from tests.serving.asking import IMAGE, Arrays, ask, broken_at_its_end, flood, picture, same
from tests.serving.conftest import ROOT, Serving

GONE = ("StatusCode.UNAVAILABLE", "StatusCode.CANCELLED")


def test_a_deadline_too_short_and_a_cancelled_request_stop_nobody(
    server: Serving, pipeline: Pipeline
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        ask(server.ports.grpc, {IMAGE: picture(1)}, timeout=0.001)
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    with grpc.InferenceServerClient(f"127.0.0.1:{server.ports.grpc}") as client:
        for wait in (0.0, 0.01, 0.05, 0.2):
            tensor = grpc.InferInput(IMAGE, [len(picture(1))], "UINT8")
            tensor.set_data_from_numpy(picture(1))
            call = client.async_infer(MARKED_OBJECT.name, [tensor], lambda result, error: None)
            time.sleep(wait)
            call.cancel()
    answer = ask_through_a_restart(server, picture(2))
    same(answer, pipeline.infer({IMAGE: picture(2)}))


def ask_through_a_restart(server: Serving, image: NDArray[np.uint8]) -> Arrays:
    """The answer, from the server or from the one that took its place.

    Once in some 200 times tritonserver 24.10 crashes over a request that is cancelled while it is
    being accepted (triton-inference-server/server#7368, mended in 2025).
    """
    starts = server.text().count("ready after")
    try:
        return ask(server.ports.grpc, {IMAGE: image})
    except InferenceServerException as error:
        if error.status() not in GONE:
            raise
    server.wait_for_ready(starts + 1)
    assert "tritonserver ended by itself; starting it again" in server.text()
    return ask(server.ports.grpc, {IMAGE: image})


def test_every_client_gets_its_own_answer(server: Serving, pipeline: Pipeline) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = [request.result() for request in flood(pool, server.ports.grpc, 6)]
    for seed, answer in enumerate(answers):
        same(answer, pipeline.infer({IMAGE: picture(seed)}))


def test_too_many_requests_are_turned_away_and_it_recovers(
    server: Serving, pipeline: Pipeline
) -> None:
    # decoding takes long and fails at the very end: only the first step's queue fills
    slow = broken_at_its_end(megapixels=12)
    with ThreadPoolExecutor(120) as pool:
        requests = [pool.submit(ask, server.ports.grpc, {IMAGE: slow}) for _ in range(120)]
        errors = [request.exception() for request in requests]
    said = [str(error) for error in errors if isinstance(error, InferenceServerException)]
    turned_away = [one for one in said if "Exceeds maximum queue size" in one]
    assert len(said) == 120
    assert turned_away
    waited_too_long = [one for one in said if "Request timeout expired" in one]
    looked_at = [one for one in said if "image: got a truncated" in one]
    assert len(turned_away) + len(waited_too_long) + len(looked_at) == 120, set(said)
    same(ask(server.ports.grpc, {IMAGE: picture(3)}), pipeline.infer({IMAGE: picture(3)}))


def test_a_killed_step_hangs_nobody_and_is_started_again(
    bundle: Path, environment: None, pipeline: Pipeline, tmp_path: Path
) -> None:
    serving = Serving.start(bundle, tmp_path)
    try:
        with ThreadPoolExecutor(6) as pool:
            requests = flood(pool, serving.ports.grpc, 6)
            time.sleep(0.2)
            stub = serving.processes()[-1]
            os.kill(stub, signal.SIGKILL)
            for request in requests:
                error = request.exception(timeout=150)
                if error is not None:
                    assert isinstance(error, InferenceServerException)
                    assert error.status() in (*GONE, "StatusCode.INTERNAL"), error
        serving.wait_for_ready(2)
        assert "1 of the steps' processes died; starting it again" in serving.text()
        same(ask(serving.ports.grpc, {IMAGE: picture(1)}), pipeline.infer({IMAGE: picture(1)}))

        # the same server, told to stop while it works: what it accepted is answered
        with ThreadPoolExecutor(4) as pool:
            requests = flood(pool, serving.ports.grpc, 4)
            wait_for_accepted(serving, 4)
            assert serving.stop() == 0
            for seed, request in enumerate(requests):
                same(request.result(timeout=150), pipeline.infer({IMAGE: picture(seed)}))
    finally:
        serving.stop()
    assert serving.text().endswith("stopped\n")
    assert serving.processes() == []
    assert serving.segments() == []


def wait_for_accepted(serving: Serving, count: int) -> None:
    """Until the first step has done its part of ``count`` requests more than one."""
    with grpc.InferenceServerClient(f"127.0.0.1:{serving.ports.grpc}") as client:
        for _ in range(1500):
            statistics = client.get_inference_statistics("preprocess").model_stats[0]
            # the probe and one request came before
            if statistics.inference_count >= count + 2:
                return
            time.sleep(0.02)
    raise AssertionError("requests were not accepted")


def test_it_ends_with_the_supervisor_whatever_ends_that(
    bundle: Path, environment: None, tmp_path: Path
) -> None:
    serving = Serving.start(bundle, tmp_path)
    serving.process.kill()
    serving.process.wait()
    end = time.monotonic() + 60
    while serving.processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert serving.processes() == []
    _forget_the_dead(serving.ports.http)  # as the next server at this port does
    assert not serving.segments()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bundle", "nowhere"], "nowhere: got nothing, expected a bundle's folder"),
        (["--threads", "-1"], "--threads: got -1"),
        (["--http-port", "8001"], "got 8001, 8001 and 8002, expected three different ones"),
        (["--http-port", "0"], "got '0', expected a port, 1 to 65535"),
        (["--probe-seconds", "nan"], "got 'nan', expected seconds, above 0"),
        (["--runtime", "onnxruntime", "--precision", "bf16"], "precision: got 'bf16'"),
    ],
)
def test_wrong_use_is_one_sentence(
    environment: None, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving", "--state", str(tmp_path), *arguments],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_sentence(server: Serving, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / str(server.ports.http) / "triton.log"
    log.parent.mkdir()
    log.write_text("the running server's")
    done = subprocess.run(
        [sys.executable, "-m", "serving", "--bundle", str(bundle), "--state", str(tmp_path),
         "--http-port", str(server.ports.http)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"port {server.ports.http} cannot be had" in done.stderr
    assert [*log.parent.iterdir()] == [log]
    assert log.read_text() == "the running server's"


def test_a_server_that_answers_is_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str | None] = ["it crashed"] * 6
    faults.append(None)
    monkeypatch.setattr(supervisor, "_watch", lambda *_, **__: faults.pop(0))
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_S", 0.01)
    starts: list[float] = []

    class Crashing:
        def start(self, **_: object) -> float:
            return 1.0

        def stop(self, **_: object) -> None:
            pass

    supervisor.supervise(
        Crashing(),  # type: ignore[arg-type]
        started=starts.append, starting_s=1, probe_s=1, port=1,
    )  # fmt: skip
    assert len(starts) == 7
