"""A CLIPSeg checkpoint of either format: transformers' folder or hub id, or the original's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.checkpoints import check_no_code, is_hub_id, sha256_of, short
from export.errors import ExportError
from export.graph import PixelInput
from markcut.manifest import Checkpoint

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first one counts where both lie
_LEAST_STD = 1e-3


@dataclass(frozen=True)
class ClipsegCheckpoint:
    """A ``CLIPSegForImageSegmentation`` in fp32 and evaluation mode, and what belongs to it."""

    origin: Checkpoint
    model: Any
    pixels: PixelInput
    tokenizer: Any


def read_checkpoint(source: str, *, clip: str | None = None) -> ClipsegCheckpoint:
    """What lies in the folder, under the hub id, or in the original repository's file ``source``.

    ``clip`` is the folder or hub id of the CLIP that the decoder weights in such a file need.
    Raises :class:`ExportError`: nothing there, damaged, another architecture, weights missing, no
    normalisation, no tokenizer.
    """
    if Path(source).is_file():
        from export.clipseg_original import read_original

        return read_original(Path(source), clip=clip)
    if not Path(source).is_dir() and not is_hub_id(source):
        raise ExportError(
            f"--clipseg: got {source}, expected a folder, a hub id (owner/name) or a file of the "
            "original repository (.pth)"
        )
    if clip is not None:
        raise ExportError(
            f"--clip: {source} brings its own CLIP; leave the option out, or name a file of the "
            "original repository (.pth) with --clipseg"
        )
    from transformers import CLIPSegForImageSegmentation

    model = load_pretrained(source, {"clipseg": CLIPSegForImageSegmentation}, flag="--clipseg")
    file = _weights_file(source)
    return ClipsegCheckpoint(
        origin=Checkpoint(name=_name(source), sha256=sha256_of(file) if file else "unknown"),
        model=model,
        pixels=_pixel_input(source),
        tokenizer=load_tokenizer(source, model.config.text_config.vocab_size, flag="--clipseg"),
    )


def load_pretrained(source: str, classes: Mapping[str, Any], *, flag: str) -> Any:
    """The transformers model in ``source``: the class that ``classes`` has for its model type.

    Nothing but weights and settings is read from there: no code, no kernels, no pickled objects.
    """
    from transformers import CLIPSegConfig
    from transformers.utils import logging

    expected = " or a ".join(classes)
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it warns of is refused below, or of no concern
    try:
        settings = CLIPSegConfig.get_config_dict(source)[0]  # of whatever type
        if not settings:
            raise ExportError(
                f"{flag}: {source} has no config.json; expected what save_pretrained writes"
            )
        kind = str(settings.get("model_type") or "model of no type")
        if kind not in classes:
            raise ExportError(f"{flag}: {source} holds a {kind}, expected a {expected}")
        file = _weights_file(source)
        if file is not None and file.suffix == ".bin":
            check_no_code(file, flag=flag)
        model, report = classes[kind].from_pretrained(
            source,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except ExportError:
        raise
    except Exception as error:  # safetensors, pickle, the hub and transformers raise many kinds
        raise ExportError(
            f"{flag}: {source} cannot be loaded ({short(error)}); expected config.json and "
            f"{_WEIGHTS[0]} (or {_WEIGHTS[1]}) of a {expected} as save_pretrained writes them"
        ) from None
    finally:
        logging.set_verbosity(verbosity)
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, found, wanted = mismatched[0]
        raise ExportError(
            f"{flag}: in {source}, {name} is {list(found)} and by config.json {list(wanted)}; "
            "expected the config.json that these weights were saved with"
        )
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ExportError(
            f"{flag}: {source} lacks {len(lacking)} weights of its config, {lacking[0]} first; "
            f"expected a whole {type(model).__name__}"
        )
    unknown = sorted(name for name in report["unexpected_keys"] if name.startswith("decoder."))
    if unknown:  # of the parts around the decoder, some are nothing that is used
        raise ExportError(
            f"{flag}: {source} holds {len(unknown)} decoder weights that its config.json has no "
            f"place for, {unknown[0]} first; expected the config.json that they were saved with"
        )
    return model.eval().requires_grad_(False)


def load_tokenizer(source: str | None, vocabulary: int, *, flag: str) -> Any:
    """The tokenizer in ``source``, or CLIP's where there is none, with ``vocabulary`` words."""
    from transformers import AutoTokenizer

    try:
        if source is None or _folder_without(source, "tokenizer_config.json"):
            from training.clipseg.tokenizer import load_tokenizer as clips_own

            tokenizer: Any = clips_own()
        else:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # the hub, transformers and the reader of merges raise many kinds
        raise ExportError(
            f"{flag}: {source} has no usable tokenizer ({short(error)}); put vocab.json, "
            "merges.txt and tokenizer_config.json into the folder"
        ) from None
    if len(tokenizer) != vocabulary:
        raise ExportError(
            f"{flag}: the tokenizer of {source or 'CLIP'} has {len(tokenizer)} words, its model "
            f"{vocabulary}; put the tokenizer that it was trained with into the folder"
        )
    return tokenizer


def _pixel_input(source: str) -> PixelInput:
    """The normalisation that the checkpoint's own preprocessor does."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
        mean, std = tuple(map(float, processor.image_mean)), tuple(map(float, processor.image_std))
        fits = processor.do_normalize and abs(processor.rescale_factor * 255 - 1) <= 1e-6
    except Exception as error:  # the hub and transformers raise many kinds
        raise ExportError(
            f"--clipseg: {source} has no usable preprocessor_config.json ({short(error)}); "
            "copy the one that the model was trained with into the folder"
        ) from None
    numbers = all(map(math.isfinite, (*mean, *std))) and min(std, default=0) >= _LEAST_STD
    if not fits or len(mean) != 3 or len(std) != 3 or not numbers:
        raise ExportError(
            f"--clipseg: the preprocessor of {source} does not scale by 1/255 and normalise, "
            "which is all that the graph can do"
        )
    return PixelInput(mean, std)


def _folder_without(source: str, file: str) -> bool:
    return Path(source).is_dir() and not (Path(source) / file).exists()


def _name(source: str) -> str:
    """A folder's own name, or the hub id: where things lie on this machine is nobody's matter."""
    return Path(source).resolve().name if Path(source).is_dir() else source


def _weights_file(source: str) -> Path | None:
    """The weights' file, in the folder or in the hub's cache."""
    from transformers.utils.hub import cached_file

    for name in _WEIGHTS:
        path = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            return Path(path)
    return None
