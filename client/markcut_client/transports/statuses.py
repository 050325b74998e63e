"""What a server's refusal means to the caller: status and text to one typed error."""

from __future__ import annotations

import re

from markcut_client import wire
from markcut_client.errors import (
    AnswerError,
    ClientError,
    DeadlineError,
    InferenceError,
    OverloadedError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.transports.address import Address
from markcut_client.transports.messages import MAX_ANSWER, Failure

PARAMETERS = ("seed", "max_marks", "mark_threshold", "points_per_mark", "prompt")

_FIELDS = {tensor.name for model in wire.MODELS.values() for tensor in model.inputs}
_FIELDS |= set(PARAMETERS)
_MOST_TEXT = 400  # characters of another program's message that are worth repeating

# what a server puts before the sentence of the model that failed
_BEFORE = re.compile(
    r"\[request id: [^\]]*\]\s*"
    r"|\[?StatusCode\.\w+\]?:?\s*"
    r"|in ensemble '[^']*',\s*"
    r"|Failed to process the request\(s\) for model(?: instance)? '[^']*',\s*(?:message:\s*)?"
    r"|(?:InvalidInput|ValueError|TritonModelException|TritonError):\s*"
)
_STAGE = re.compile(r"\bmodel(?: instance)? '([A-Za-z0-9_]+?)(?:_\d+)*'")
_FIELD = re.compile(r"([a-z_]+): ")
_OVERLOAD = re.compile(r"queue|timeout expired|overload|too many requests", re.IGNORECASE)
_NOT_THERE = re.compile(r"has no available versions")  # not yet, or no longer
_SHAPE = re.compile(r"unexpected shape for input '(\w+)'.*?(Expected .+?)\.?$")
_UNREACHED = re.compile(r"failed to connect|connection refused", re.IGNORECASE)
_LOST = re.compile(  # as gRPC, urllib3 and the system say it
    r"socket closed|stream removed|connection (?:reset|aborted)|closed connection without|"
    r"broken pipe|incompleteread|goaway",
    re.IGNORECASE,
)
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|Hostname Verification Check failed")
_TOO_LARGE = re.compile(r"larger than max|too large|exceeds maximum .*size", re.IGNORECASE)


def may_pass(failure: Failure) -> bool:
    """Whether the same request may succeed a moment later."""
    if failure.broken or failure.status not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        return False
    if failure.status == "UNAVAILABLE":
        return not _UNTRUSTED.search(failure.text)
    return not _TOO_LARGE.search(failure.text)


def was_out_of_reach(failure: Failure) -> bool:
    """Whether the failure says nothing about the request: no server, or no time."""
    return failure.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


def was_reached(failure: Failure) -> bool:
    """Whether somebody was there for the request, and may have looked at it."""
    return failure.status != "UNAVAILABLE" or not _UNREACHED.search(failure.text)


def was_lost(failure: Failure) -> bool:
    """Whether the connection broke while somebody was at it: a server that ended, or a network."""
    return failure.status == "UNAVAILABLE" and bool(_LOST.search(failure.text))


def was_judged(failure: Failure) -> bool:
    """Whether a model looked at the picture and refused it: nobody reads it any more."""
    return failure.status == "INVALID_ARGUMENT" and not is_about_shared_memory(failure)


def is_about_shared_memory(failure: Failure) -> bool:
    """Whether a server, restarted perhaps, no longer knows a region that it had accepted."""
    return not was_out_of_reach(failure) and "shared memory" in failure.text.lower()


def error_of(failure: Failure, address: Address, *, timeout: float) -> ClientError:
    """The error to raise for ``failure``; ``timeout`` is what the whole request was given."""
    text = sentence(failure.text)
    status = failure.status
    if failure.broken:
        return AnswerError(
            f"{address}: the answer cannot be read ({text}); it may have {MAX_ANSWER >> 20} MiB "
            "and must follow the KServe v2 protocol"
        )
    if status == "DEADLINE_EXCEEDED":
        return DeadlineError(
            f"no answer from {address} within {timeout:g} s; give it a longer timeout, or send "
            "fewer pictures at once"
        )
    if status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        return _unavailable(failure, text, address)
    if status == "INVALID_ARGUMENT":
        return _invalid(text)
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return TransportError(
            f"{address} refuses this caller ({text}); pass what it asks for as headers, for "
            'example {"authorization": "Bearer ..."}'
        )
    if _NOT_THERE.search(text):
        return TransportError(
            f"{address} is still loading its models, or stopping ({text}); try again later"
        )
    if status in ("NOT_FOUND", "UNIMPLEMENTED"):
        return TransportError(
            f"{address} does not serve this ({text}); is it a Markcut server, and of this version?"
        )
    if status == "CANCELLED":
        return InferenceError(f"the request to {address} was cancelled ({text})")
    stage = _STAGE.search(failure.text)
    where = f"{stage[1]}: " if stage and not text.startswith(stage[1]) else ""
    return InferenceError(f"{where}{text}; the log of {address} says more")


def sentence(text: str) -> str:
    """The model's own sentence in a server's message: one line, without what stands before it."""
    line = next((line for line in text.strip().splitlines() if line.strip()), "no reason given")
    line = "".join(c if c.isprintable() else " " for c in line).strip()
    while match := _BEFORE.match(line):
        if match.end() == len(line):
            break
        line = line[match.end() :]
    return line if len(line) <= _MOST_TEXT else line[:_MOST_TEXT] + "..."


def _unavailable(failure: Failure, text: str, address: Address) -> ClientError:
    if _UNTRUSTED.search(failure.text):
        return TransportError(
            f"{address}: its certificate is not trusted ({text}); name the PEM file of who signed "
            "it as root_certificates, and the host as the certificate does"
        )
    if not may_pass(failure):
        return PictureError(
            f"{wire.IMAGE.name}: too many bytes for {address} ({text}); scale it down or "
            "compress it"
        )
    if failure.status == "RESOURCE_EXHAUSTED" or _OVERLOAD.search(text):
        return OverloadedError(f"{address} has too much to do ({text}); try again later")
    return TransportError(
        f"{address}: nobody answers ({text}); is the server running, and is this its "
        f"{'gRPC' if address.scheme.startswith('grpc') else 'HTTP'} port?"
    )


def _invalid(text: str) -> ClientError:
    shape = _SHAPE.search(text)  # the server itself looks at those, before any model does
    if shape is not None:
        text = f"{shape[1]}: got another shape; {shape[2]}"
    field = _FIELD.match(text)
    if field is None or field[1] not in _FIELDS:
        return InferenceError(f"the server refuses the request: {text}")
    return (PictureError if field[1] == wire.IMAGE.name else ParameterError)(text)
