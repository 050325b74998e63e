"""SAM2 by upstream's own modules, and the pictures and prompts to ask both with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.graph import Arrays, Case, Picture, PixelInput
from export.pictures import stretched
from export.sam2_encoder import MEAN, STD
from markcut.contracts import SAM2_DECODER, SAM2_ENCODER

_SEEN = 2  # pictures that graphs are verified on
_KEPT = 8  # pictures whose features are remembered; 16 MB each at 1024


class Reference:
    """What upstream's modules answer, for a model of whatever size.

    The encoder takes seconds to minutes a picture and is asked about the same few again and
    again, so its last answers are kept.
    """

    def __init__(self, sam: Any) -> None:
        self._sam = sam
        self._kept: dict[str, Arrays] = {}

    def features_of_feeds(self, feeds: Arrays) -> Arrays:
        """The encoder's answer to ``feeds``, one picture after the other."""
        (pixels,) = (t.name for t in SAM2_ENCODER.inputs)
        answers = [self.features(picture) for picture in feeds[pixels]]
        return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}

    def features(self, picture: NDArray[np.uint8]) -> Arrays:
        """What ``SAM2ImagePredictor`` keeps of ``picture``, (S, S, 3)."""
        key = hashlib.sha256(picture.tobytes()).hexdigest()
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._encode(picture)
        return self._kept[key]

    def _encode(self, picture: NDArray[np.uint8]) -> Arrays:
        sam = self._sam
        normalised = PixelInput(MEAN, STD)(torch.from_numpy(picture[None]))
        _, features, _, sizes = sam._prepare_backbone_features(sam.forward_image(normalised))
        if sam.directly_add_no_mem_embed:
            features[-1] = features[-1] + sam.no_mem_embed
        maps = [
            feature.permute(1, 2, 0).unflatten(2, size).numpy()
            for feature, size in zip(features, sizes, strict=True)
        ]
        return dict(zip((t.name for t in SAM2_ENCODER.outputs), maps, strict=True))

    def masks(self, feeds: Arrays) -> Arrays:
        """Every object on its own, without padding, through the model's own modules."""
        sam = self._sam
        tensors = [torch.from_numpy(feeds[t.name]) for t in SAM2_DECODER.inputs]
        feats_0, feats_1, embed, coords, labels, masks, given = tensors
        answers = []
        for k in range(len(coords)):
            real = labels[k] >= 0
            sparse, dense = sam.sam_prompt_encoder(
                points=(coords[k : k + 1, real], labels[k : k + 1, real]),
                boxes=None,
                masks=masks[k : k + 1] if given[k] else None,
            )
            low_res, iou, _, score = sam.sam_mask_decoder.predict_masks(
                image_embeddings=embed,
                image_pe=sam.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                repeat_image=False,
                high_res_features=[feats_0, feats_1],
            )
            answers.append((low_res, iou, score))
        outputs = [torch.cat(parts).numpy() for parts in zip(*answers, strict=True)]
        return dict(zip((t.name for t in SAM2_DECODER.outputs), outputs, strict=True))

    def encoder_cases(self, pictures: Sequence[Picture]) -> Iterator[Case]:
        """One of the last two pictures alone, and both together: large encoders take seconds."""
        (pixels,) = (t.name for t in SAM2_ENCODER.inputs)
        views = [stretched(picture, self._sam.image_size) for picture in pictures[-_SEEN:]]
        yield Case("one picture", {pixels: views[-1][None]})
        yield Case("two pictures", {pixels: np.stack(views)})

    def decoder_cases(self, pictures: Sequence[Picture]) -> Iterator[Case]:
        """Points, several points, boxes, an earlier answer as a mask, and objects of all these.

        On the pictures that the encoder was asked about, whose features are known.
        """
        names = [t.name for t in SAM2_DECODER.inputs[3:]]
        masks_out = SAM2_DECODER.outputs[0].name
        side = self._sam.image_size
        rng = np.random.default_rng(0)
        for picture in pictures[-_SEEN:]:
            features = self.features(stretched(picture, side))

            def prompts(
                labels: list[list[int]],
                masks: np.ndarray | None = None,
                features: Arrays = features,
            ) -> Arrays:
                labels_ = np.array(labels, np.int32)
                coords = rng.uniform(0, side, (*labels_.shape, 2)).astype(np.float32)
                corners = np.sort(coords[:, :2], 1)
                coords[:, :2] = np.where(labels_[:, :2, None] >= 2, corners, coords[:, :2])
                empty = np.zeros((len(labels_), 1, side // 4, side // 4), np.float32)
                given = np.full(len(labels_), masks is not None, np.float32)
                values = coords, labels_, empty if masks is None else masks, given
                return {**features, **dict(zip(names, values, strict=True))}

            one = prompts([[1]])
            yield Case("one point", one)
            yield Case("three points", prompts([[1, 1, 0]]))
            yield Case("a box", prompts([[2, 3]]))
            yield Case("a box and points", prompts([[2, 3, 1, 0]]))
            earlier = self.masks(one)[masks_out][:, 1:2].clip(-32, 32)
            yield Case("a point and a mask", prompts([[1]], earlier))
            several = prompts([[1, -1, -1], [1, 0, -1], [2, 3, -1], [2, 3, 1]])
            chosen = np.array([0, 1, 0, 1], np.float32)
            given = {names[2]: np.repeat(earlier, 4, 0), names[3]: chosen}
            yield Case("four objects", {**several, **given})
