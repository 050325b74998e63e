"""CLIP's tokenizer from the merges that open_clip's wheel carries: no download."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import TrainingError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_MERGES = "bpe_simple_vocab_16e6.txt.gz"
_COUNT = 49152 - 256 - 2
_START, _END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77  # tokens


def write_vocabulary(folder: Path) -> None:
    """Write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json`` as upstream folders do.

    Raises TrainingError when open_clip is not installed.
    """
    merges = _merges()
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["".join(merge) for merge in merges]
    words += [_START, _END]
    vocabulary = {word: number for number, word in enumerate(words)}
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "bos_token": _START,
        "eos_token": _END,
        "pad_token": _END,
        "unk_token": _END,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("vocab.json", json.dumps(vocabulary, ensure_ascii=False)),
        ("merges.txt", "\n".join(lines) + "\n"),
        ("tokenizer_config.json", json.dumps(settings, indent=2)),
    ):
        (folder / name).write_text(text, encoding="utf-8")


def load_tokenizer(folder: Path | None = None) -> CLIPTokenizer:
    """The tokenizer of ``folder`` where that has one, else CLIP's own from open_clip's wheel."""
    import tempfile

    from transformers import CLIPTokenizer

    tokenizer: CLIPTokenizer
    if folder is not None and (folder / "vocab.json").is_file():
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        return tokenizer
    with tempfile.TemporaryDirectory() as made:
        write_vocabulary(Path(made))
        tokenizer = CLIPTokenizer.from_pretrained(made)
    return tokenizer


def _merges() -> list[tuple[str, str]]:
    spec = importlib.util.find_spec("open_clip")
    places = list(spec.submodule_search_locations or []) if spec else []
    path = next((p for p in (Path(place) / _MERGES for place in places) if p.is_file()), None)
    if path is None:
        raise TrainingError(
            "CLIP's vocabulary comes with the package open_clip_torch: pip install open_clip_torch"
        )
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : _COUNT + 1])
    return [(first, second) for first, second in pairs]


def _byte_letters() -> list[str]:
    """The printable letter of every byte, in the vocabulary's order.

    Bytes that print stand for themselves and come first; the others follow, moved above 255.
    """
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printing]
    return [chr(byte) for byte in printing] + [chr(256 + n) for n in range(len(others))]
