"""The upstream projects as their users call them: pictures and prompts in, answers out.

Nothing of this project is between a picture and the answer here: resizing, normalisation,
suppression, mask assembly and upscaling are upstream's. A picture that already has a network's
size passes their resizing unchanged, which is how graphs are compared on identical tensors.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.errors import ExportError
from export.fidelity.prompts import Prompt
from export.graph import Arrays, Picture
from export.yolo11_checkpoint import kind_of
from markcut.contracts import CLIPSEG_SIDE, SAM2_ENCODER, YOLO_SIDE, YOLO_TOP_K

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

STABILITY = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}
"""What ``build_sam2`` sets on every image model unless it is told not to."""


class UpstreamClipseg:
    """transformers' ``CLIPSegProcessor`` and ``CLIPSegForImageSegmentation``, called with texts."""

    def __init__(self, source: str, *, clip: str | None = None) -> None:
        from transformers import AutoImageProcessor, CLIPSegProcessor, ViTImageProcessor

        from export.clipseg_checkpoint import read_checkpoint

        found = read_checkpoint(source, clip=clip)
        if Path(source).is_file():  # the original repository: torchvision's Resize and Normalize
            from export.clipseg_original import MEAN, STD

            images: Any = ViTImageProcessor(image_mean=list(MEAN), image_std=list(STD))
        else:
            images = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
        self._model: Any = found.model
        self._processor: Any = CLIPSegProcessor(images, found.tokenizer)

    @torch.inference_mode()
    def heat(self, picture: Picture, prompts: Sequence[str]) -> Floats:
        """Probabilities (prompts, 352, 352) that a pixel is what each prompt says."""
        from PIL import Image

        side = {"height": CLIPSEG_SIDE, "width": CLIPSEG_SIDE}
        image = Image.fromarray(picture)
        inputs = self._processor(
            text=list(prompts), images=[image] * len(prompts), size=side,
            padding=True, return_tensors="pt",
        )  # fmt: skip
        logits = self._model(**inputs).logits.reshape(len(prompts), CLIPSEG_SIDE, CLIPSEG_SIDE)
        return np.asarray(logits.sigmoid().numpy(), np.float32)

    def resized(self, picture: Picture) -> Picture:
        """What the processor makes of ``picture`` before it normalises, rounded to 8 bits."""
        from PIL import Image

        side = {"height": CLIPSEG_SIDE, "width": CLIPSEG_SIDE}
        pixels = self._processor.image_processor(
            Image.fromarray(picture), size=side, do_rescale=False, do_normalize=False,
            return_tensors="pt",
        ).pixel_values[0]  # fmt: skip
        return _to_bytes(pixels)


@dataclass(frozen=True)
class YoloSaid:
    """One mark as ultralytics reports it, in pixels of the picture that it was given.

    ``kind`` is an index into ``contracts.KINDS``, whatever order the checkpoint has them in.
    """

    kind: int
    score: float
    box: Floats  # (4,) xyxy
    mask: Mask  # (h, w)


class UpstreamYolo:
    """ultralytics' ``YOLO(file).predict``; the file must be known to hold no code."""

    def __init__(self, file: str) -> None:
        from ultralytics.models import YOLO

        with tempfile.TemporaryDirectory() as folder:
            # under a name of ours: ultralytics changes some names and goes by the suffix, so that
            # it would look for another file, which nobody has looked into, or for one to download
            copy = shutil.copyfile(file, Path(folder) / "marks.pt")
            self._model: Any = YOLO(copy)
        self._model.task = "segment"  # whatever the file calls its task

    def predict(
        self, picture: Picture, *, threshold: float, iou: float, rect: bool
    ) -> list[YoloSaid]:
        """The marks in ``picture`` from a score of ``threshold`` on, best first.

        ``rect`` False gives the network the whole square; True, which is ultralytics' own
        default, as little padding as its stride allows.
        """
        (found,) = self._model.predict(
            np.ascontiguousarray(picture[..., ::-1]),  # arrays are BGR there
            imgsz=YOLO_SIDE, conf=threshold, iou=iou, agnostic_nms=True, max_det=YOLO_TOP_K,
            rect=rect, retina_masks=True, device="cpu", verbose=False, save=False,
        )  # fmt: skip
        if found.masks is None:
            return []
        boxes = found.boxes
        return [
            YoloSaid(kind_of(found.names[int(kind)]), float(score), box.numpy(), mask.numpy() > 0)
            for kind, score, box, mask in zip(
                boxes.cls, boxes.conf, boxes.xyxy, found.masks.data, strict=True
            )
        ]

    def resized(self, picture: Picture) -> Picture:
        """``picture`` letterboxed by ultralytics."""
        from ultralytics.data.augment import LetterBox

        return np.asarray(LetterBox((YOLO_SIDE, YOLO_SIDE))(image=picture), np.uint8)


@dataclass(frozen=True)
class Sam2Said:
    """What the predictor answered to prompts of n objects, m masks each."""

    masks: Mask  # (n, m, h, w), at the picture's size
    low_res: Floats  # (n, m, S/4, S/4) logits, before the predictor clips them
    predicted: Floats  # (n, m)
    object_score: Floats  # (n, 1) logits


class UpstreamSam2:
    """``SAM2ImagePredictor`` over a model of sam2's own classes, of any image size."""

    def __init__(self, model: Any) -> None:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        self._decoder = model.sam_mask_decoder
        for name, value in STABILITY.items():
            setattr(self._decoder, name, value)
        self.side: int = model.image_size
        self._predictor: Any = SAM2ImagePredictor(model)
        # the predictor takes maps of a 1024 px model for granted
        self._predictor._bb_feat_sizes = [(self.side // k, self.side // k) for k in (4, 8, 16)]
        self._decoder.register_forward_hook(self._keep)
        self._raw: Any = None
        self._looked: dict[str, Any] = {}
        self._answered: dict[Any, Sam2Said] = {}
        self._current = ""

    def _keep(self, module: Any, inputs: Any, outputs: Any) -> None:
        self._raw = outputs

    def forget_answers(self) -> None:
        """Give up the answers on the pictures so far, whose masks are large; not the features."""
        self._answered.clear()

    def set_image(self, picture: Picture) -> Arrays:
        """Look at ``picture``; the encoder's three maps by their names in the contracts."""
        self._current = hashlib.sha256(picture.tobytes()).hexdigest() + str(picture.shape)
        known = self._looked.get(self._current)
        if known is None:
            self._predictor.set_image(picture)
            self._looked[self._current] = self._predictor._features
        else:
            self._predictor.reset_predictor()
            self._predictor._features, self._predictor._is_image_set = known, True
            self._predictor._orig_hw = [picture.shape[:2]]
        return self._features()

    def set_images(self, pictures: Sequence[Picture]) -> Arrays:
        """Look at several pictures in one batch, as ``set_image_batch`` does."""
        self._current = ""
        self._predictor.set_image_batch(list(pictures))
        return self._features()

    def predict(
        self,
        prompts: Sequence[Prompt],
        *,
        multimask: bool,
        earlier: Sequence[Floats] | None = None,
        fallback: bool = True,
        picture: int | None = None,
    ) -> Sam2Said:
        """The answer to ``prompts`` on the picture(s) looked at last, one object each.

        Prompts of one call must be alike: all with a box or none. Fewer points than the longest
        prompt has are padded with label -1. ``earlier`` holds logits (S/4, S/4) per prompt.
        Without ``fallback`` an unstable single mask stays what it is. ``picture`` chooses one of
        a batch.
        """
        coords, labels, boxes = self._arguments(prompts, picture)
        given = None if earlier is None else np.stack(earlier)[:, None]
        asked = (coords, labels, boxes, given)
        contents = (None if array is None else array.tobytes() for array in asked)
        key = (self._current, multimask, fallback, *contents)
        if picture is None and key in self._answered:
            return self._answered[key]
        self._decoder.dynamic_multimask_via_stability = fallback
        if picture is None:
            masks, *_ = self._predictor.predict(
                point_coords=coords, point_labels=labels, box=boxes, mask_input=given,
                multimask_output=multimask,
            )  # fmt: skip
        else:
            masks = self._predict_batch(asked, multimask, picture)
        low_res, predicted, _, score = self._raw
        size = masks.shape[-2:]
        said = Sam2Said(
            masks=np.asarray(masks.reshape(len(prompts), -1, *size) > 0),
            low_res=low_res.numpy(),
            predicted=predicted.numpy(),
            object_score=score.numpy(),
        )
        if picture is None:
            self._answered[key] = said
        return said

    def _predict_batch(self, arrays: Sequence[Any], multimask: bool, picture: int) -> Any:
        """The masks of the last picture of a batch; the others get a point each."""
        batch = len(self._predictor._orig_hw)
        if picture != batch - 1:
            raise ExportError("of a batch only the last picture's raw answer is kept")
        blank = [np.zeros((1, 1, 2), np.float32), np.ones((1, 1), np.int32), None, None]
        every = [[value] * picture + [array] for value, array in zip(blank, arrays, strict=True)]
        answers, *_ = self._predictor.predict_batch(*every, multimask_output=multimask)
        return answers[picture]

    def resized(self, picture: Picture) -> Picture:
        """What the predictor makes of ``picture`` before it normalises, rounded to 8 bits."""
        from sam2.utils.transforms import SAM2Transforms

        transforms = SAM2Transforms(self.side, 0.0)
        resize: Any = transforms.transforms[0]
        return _to_bytes(resize(transforms.to_tensor(picture)) * 255)

    def _features(self) -> Arrays:
        embed, finer = self._predictor._features.values()
        maps = [*finer, embed]
        names = [tensor.name for tensor in SAM2_ENCODER.outputs]
        return {name: map_.numpy() for name, map_ in zip(names, maps, strict=True)}

    def _arguments(
        self, prompts: Sequence[Prompt], picture: int | None
    ) -> tuple[Floats | None, NDArray[np.int32] | None, Floats | None]:
        """Coordinates for the predictor that mean the same places.

        It scales whatever it is given and then adds half a pixel of its input, so that in the
        picture a pixel's centre lies at half a pixel of the *input*; here it lies at .5.
        """
        if len({prompt.box is None for prompt in prompts}) != 1:
            raise ExportError("prompts of one call must all have a box, or none")
        height, width = self._predictor._orig_hw[picture or 0]
        shift = np.array([width, height], np.float32) * (0.5 / self.side)
        most = max(len(prompt.points) for prompt in prompts)
        coords = np.zeros((len(prompts), most, 2), np.float32)
        labels = np.full((len(prompts), most), -1, np.int32)
        for row, prompt in enumerate(prompts):
            coords[row, : len(prompt.points)] = prompt.points - shift
            labels[row, : len(prompt.points)] = prompt.labels
        boxes = [prompt.box - np.tile(shift, 2) for prompt in prompts if prompt.box is not None]
        pointed = (coords, labels) if most else (None, None)
        return *pointed, np.stack(boxes).astype(np.float32) if boxes else None


def _to_bytes(pixels: torch.Tensor) -> Picture:
    """Float (3, h, w) of 0..255 as uint8 (h, w, 3)."""
    rounded = pixels.float().round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(1, 2, 0).numpy())
