"""Addresses, options, what a refusal means, when to try again: without any server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markcut_client import AnswerError, ParameterError, ServerOptions, TransportError
from markcut_client.transports import tensors
from markcut_client.transports.address import Address
from markcut_client.transports.messages import Failure
from markcut_client.transports.retries import MAX_RETRIES, PATIENCE, Attempts, RetryBudget
from markcut_client.transports.statuses import error_of, may_pass, sentence, was_lost


@pytest.mark.parametrize(
    ("url", "shown", "loopback", "encrypted"),
    [
        ("grpc://localhost", "grpc://localhost:8001", True, False),
        ("http://127.0.0.1", "http://127.0.0.1:8000", True, False),
        ("http://[::1]:80/", "http://[::1]:80", True, False),
        ("grpcs://example.org", "grpcs://example.org:443", False, True),
        ("https://example.org:8443/triton/", "https://example.org:8443/triton", False, True),
        ("grpc://10.0.0.7:9", "grpc://10.0.0.7:9", False, False),
    ],
)
def test_addresses(url: str, shown: str, loopback: bool, encrypted: bool) -> None:
    address = Address.parse(url)
    assert str(address) == shown
    assert address.is_loopback is loopback
    assert address.is_encrypted is encrypted


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("grpc://h/path", "says more than an address does"),
        ("http://h?x=1", "says more"),
        ("grpc://h:99999", "is no address"),
        ("grpc://h:8001 ", "is no address; leave the white space out"),
        ("http://a b", "is no address; leave the white space out"),
        ("http://h\n:8000", "is no address; leave the white space out"),
        ("http://me:secret@h", "addresses hold no credentials; pass them as headers"),
    ],
)
def test_wrong_addresses(url: str, message: str) -> None:
    with pytest.raises(TransportError, match=message) as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("grpc://far", {"headers": {"authorization": "Bearer s3cret"}}, "headers: .* not encr"),
        ("grpc://localhost", {"headers": {"a b": "x"}}, "headers: 'a b' is no name"),
        ("grpc://localhost", {"headers": {"x-bin": "x"}}, "is no name"),
        ("grpc://localhost", {"headers": [("a", "b")]}, "headers: got list, expected names and"),
        ("grpc://localhost", {"headers": {"Host": "x"}}, "'Host' belongs to the transport"),
        ("grpc://localhost", {"headers": {"x": "s3cret\r\ny: z"}}, "'x' needs a value"),
        ("grpc://localhost", {"root_certificates": "ca.pem"}, "root_certificates: .* not"),
        ("grpc://far", {"shared_memory": "on"}, "shared_memory: got 'on' for grpc://far:8001"),
        ("grpc://far", {"shared_memory": "yes"}, "shared_memory: got 'yes'"),
    ],
)  # fmt: skip
def test_wrong_options(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        ServerOptions(**options).checked(Address.parse(url))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://far", "grpc://localhost", "http://127.0.0.1"])
def test_headers_where_nobody_reads_them(url: str) -> None:
    options = ServerOptions(headers={"X-Token": "1"}).checked(Address.parse(url))
    assert options.headers == {"x-token": "1"}


def test_headers_in_plain_by_choice() -> None:
    options = ServerOptions(headers={"x": "1"}, headers_in_plain=True)
    assert options.checked(Address.parse("grpc://far")).headers == {"x": "1"}


def test_wrong_certificates(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        ServerOptions(root_certificates=tmp_path / "none").read_root_certificates()
    wrong: Any = 5
    with pytest.raises(ParameterError, match="root_certificates: got int, expected the path"):
        ServerOptions(root_certificates=wrong).read_root_certificates()
    (tmp_path / "x.pem").write_text("x")
    with pytest.raises(ParameterError, match="no certificate in PEM form"):
        ServerOptions(root_certificates=tmp_path / "x.pem").read_root_certificates()


def test_retries_are_few_later_each_time_and_within_the_time() -> None:
    attempts = Attempts(RetryBudget(), chance=lambda: 1.0)
    delays = [attempts.delay(60) for _ in range(MAX_RETRIES + 1)]
    assert delays == [0.1, 0.2, None]
    assert Attempts(RetryBudget(), chance=lambda: 0.0).delay(60) == 0.05
    assert Attempts(RetryBudget()).delay(0.04) is None


def test_a_server_that_answered_is_waited_for_when_it_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = RetryBudget()
    attempts = Attempts(budget, chance=lambda: 1.0)
    assert [attempts.delay(60, reached=False) for _ in range(3)] == [0.1, 0.2, None]
    budget.answered()
    attempts = Attempts(budget, chance=lambda: 1.0)
    delays = [attempts.delay(60, reached=False) for _ in range(6)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert attempts.delay(60) == 0.1  # somebody is there again
    assert attempts.delay(0.9, reached=False) is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + PATIENCE + 1)
    assert [attempts.delay(60, reached=False) for _ in range(2)] == [0.2, None]


def test_what_may_have_ended_a_server_is_asked_once_more() -> None:
    attempts = Attempts(RetryBudget(), chance=lambda: 1.0)
    assert attempts.delay(60, lost=True) == 0.1
    assert attempts.delay(60) == 0.2
    assert attempts.delay(60, lost=True) is None
    for text in (
        "Stream removed (Socket closed)",
        "Remote end closed connection without response",
        "[Errno 104] Connection reset by peer",
        "IncompleteRead(1 bytes read, 99 more expected)",
    ):
        assert was_lost(Failure("UNAVAILABLE", text))
    assert not was_lost(Failure("UNAVAILABLE", "Exceeds maximum queue size"))


def test_the_budget_runs_out_and_comes_back() -> None:
    budget = RetryBudget()
    allowed = [budget.spend() for _ in range(20)]
    assert allowed == [True] * 4 + [False] * 16
    for _ in range(100):
        budget.answered()
    assert budget.spend()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  \n", "no reason given"),
        ("[StatusCode.INTERNAL] [request id: 7] in ensemble 'a', image: got", "image: got"),
        ("ValueError: seed: got 3\n\nAt:\n  x.py", "seed: got 3"),
        ("in ensemble 'a', ", "in ensemble 'a',"),
        ("x" * 1000, "x" * 400 + "..."),
        ("no \x1b[31mcolours", "no  [31mcolours"),
    ],
)
def test_sentences(text: str, kept: str) -> None:
    assert sentence(text) == kept


def test_too_much_is_not_overload() -> None:
    failure = Failure("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)")
    assert not may_pass(failure)
    error = error_of(failure, Address.parse("grpc://h"), timeout=1)
    assert str(error).startswith("image: too many bytes for grpc://h:8001")
    broken = Failure("INTERNAL", "it is not JSON", broken=True)
    assert isinstance(error_of(broken, Address.parse("grpc://h"), timeout=1), AnswerError)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP64", [1], b"12345678", "data type 'FP64'"),
        ("FP32", [2], b"1234", r"4 bytes for FP32 \[2\]"),
        ("FP32", [-1], b"1234", "shape"),
        ("FP32", [1 << 30, 1 << 30], b"", "bytes for FP32"),
        ("BYTES", [1 << 30], b"1234", "4 bytes for 1073741824 strings"),
        ("BYTES", [1], b"\xff\xff\xff\xffx", "end early"),
        ("BYTES", [2], b"\x04\0\0\0abcd", "end early"),
        ("BYTES", [1], b"\x01\0\0\0ab", "1 bytes more than 1 strings"),
    ],
)
def test_broken_tensors(datatype: str, shape: list[int], data: bytes, message: str) -> None:
    with pytest.raises(tensors.BrokenAnswer, match=message):
        tensors.read("x", datatype, shape, memoryview(data))


def test_empty_tensors() -> None:
    assert tensors.read("x", "BYTES", [0], memoryview(b"")).shape == (0,)
    assert tensors.read("x", "FP32", [0, 3, 2], memoryview(b"")).shape == (0, 3, 2)
    assert tensors.raw(np.zeros((0, 2), np.float32)).nbytes == 0
    assert bytes(tensors.raw(np.array([[1, 2], [3, 4]], np.uint8).T)) == b"\1\3\2\4"
