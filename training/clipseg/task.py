"""The reduced CLIPSeg as the training loop sees it: model, loss, optimisers, file format."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPSegForImageSegmentation

from markcut.contracts import CLIPSEG_SIDE
from training.clipseg.config import demo_config
from training.clipseg.evaluation import Marked, figures
from training.clipseg.prompts import PROMPTS
from training.clipseg.tokenizer import load_tokenizer, write_vocabulary
from training.errors import TrainingError
from training.optimizers import muon_with_adamw
from training.scenes.scene import Picture

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the published CLIPSeg
_INK_WEIGHT = 4.0  # ink is a hundredth of a picture
_MISSED, _FALSE = 0.7, 0.3  # of the overlap term: a missed stroke costs more than a spot too many
_UNTRAINED = ("visual_projection", "logit_scale", "vision_model.post_layernorm", "token_embedding")


def build_model(weights: Path | None = None) -> Any:
    """A CLIPSegForImageSegmentation in 32 bit: the reduced one, or that of an upstream folder."""
    if weights is None:
        model: Any = CLIPSegForImageSegmentation(demo_config())
        _start_decoder(model.decoder)
        return model
    try:
        found: Any = CLIPSegForImageSegmentation.from_pretrained(weights, local_files_only=True)
        return found.float()
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"--weights: {weights} is no folder of a CLIPSeg ({error}); expected config.json and "
            "model.safetensors"
        ) from error


def _start_decoder(decoder: Any) -> None:
    """Initial weights: upstream's (deviation 1) would start with logits in the hundreds.

    The condition starts without a say, the heat map at the share of ink in a picture.
    """
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear) and name.startswith("reduces"):
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.Linear) and name.startswith("film"):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.constant_(module.bias, float(name == "film_mul"))
    last: Any = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)][-1]
    nn.init.normal_(last.weight, std=0.02)
    nn.init.constant_(last.bias, -3.5)


def save_model(folder: Path, model: nn.Module, *, tokenizer: bool = True) -> None:
    """Write ``model`` in 16 bit as upstream folders are; ``from_pretrained(folder)`` loads it.

    ``tokenizer`` adds CLIP's vocabulary (1.4 MB of text).
    """
    half: Any = copy.deepcopy(model).cpu().eval().half()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as made:
        half.save_pretrained(made)
        settings = {
            "image_processor_type": "ViTImageProcessor",
            "do_normalize": True,
            "do_resize": True,
            "image_mean": _MEAN,
            "image_std": _STD,
            "resample": 2,
            "size": {"height": CLIPSEG_SIDE, "width": CLIPSEG_SIDE},
        }
        text = json.dumps(settings, indent=2) + "\n"
        (Path(made) / "preprocessor_config.json").write_text(text, encoding="utf-8")
        if tokenizer:
            write_vocabulary(Path(made))
        for path in Path(made).iterdir():
            path.chmod(0o644)  # safetensors writes for its owner alone
            os.replace(path, folder / path.name)


class ClipsegTask:
    """Trains vision tower, decoder and text tower together; two prompts share a picture's pass."""

    name = "clipseg"

    def __init__(
        self,
        model: Any,
        *,
        device: torch.device,
        held_out: Callable[[], Sequence[Marked]],
        tokenizer: bool = True,
    ) -> None:
        self.model: Any = model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not any(part in name for part in _UNTRAINED))
        self._device = device
        texts = load_tokenizer()(list(PROMPTS), padding=True, return_tensors="pt")
        self._texts = {n: texts[n].to(device) for n in ("input_ids", "attention_mask")}
        self._mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
        self._make_held_out = held_out
        self._held_out: Sequence[Marked] | None = None
        self._tokenizer = tokenizer

    def optimizers(self, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
        """Muon for the weight matrices of both towers and the decoder, AdamW for the rest."""
        return muon_with_adamw(
            self.model,
            learning_rate,
            muon_rate=learning_rate,
            hidden=lambda name: "embedding" not in name,
        )

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        batch = {n: v.to(self._device, non_blocking=True) for n, v in batch.items()}
        logits = self.logits(self.model, batch["pixel_values"], batch["prompts"])
        first = int(torch.randint(2, ()))  # every other row: half the cost, the same on average
        logits, targets = logits[:, :, first::2], batch["targets"][:, :, first::2].float()
        cross = (F.softplus(logits) - logits * targets) * (1 + (_INK_WEIGHT - 1) * targets)
        cross = cross.mean()
        overlap = _tversky(logits.sigmoid(), targets)
        loss = 5.0 * cross + overlap
        return loss, {"cross": float(cross.detach()), "overlap": float(overlap.detach())}

    def logits(self, model: Any, pixels: Tensor, prompts: Tensor) -> Tensor:
        """Logits (b, p, s, s) of uint8 pictures (b, 3, s, s) for prompt numbers (b, p)."""
        clip = model.clip
        normal = (pixels.float() / 255 - self._mean) / self._std
        seen = clip.vision_model(normal, output_hidden_states=True, interpolate_pos_encoding=True)
        count = prompts.shape[1]
        layers = model.config.extract_layers
        features = [seen.hidden_states[i + 1].repeat_interleave(count, 0) for i in layers]
        texts = clip.text_model(**self._texts).pooler_output
        condition = clip.text_projection(texts)[prompts.flatten()]
        logits: Tensor = model.decoder(tuple(features), condition).logits
        return logits.float().view(len(pixels), count, *logits.shape[-2:])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        if self._held_out is None:
            self._held_out = self._make_held_out()

        def heat_maps(picture: Picture) -> NDArray[np.float32]:
            pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(self._device)
            prompts = torch.arange(len(PROMPTS), device=self._device)[None]
            heat: NDArray[np.float32] = (
                self.logits(model, pixels, prompts)[0].sigmoid().cpu().numpy()
            )
            return heat

        return figures(self._held_out, heat_maps)

    def save(self, folder: Path, model: nn.Module) -> None:
        save_model(folder, model, tokenizer=self._tokenizer)


def _tversky(heat: Tensor, targets: Tensor) -> Tensor:
    """1 - overlap over the whole batch, so that pictures without marks count as well."""
    hit = (heat * targets).sum()
    missed = ((1 - heat) * targets).sum()
    false = (heat * (1 - targets)).sum()
    smooth = 100.0  # pixels
    return 1 - (hit + smooth) / (hit + _MISSED * missed + _FALSE * false + smooth)
