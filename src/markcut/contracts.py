"""Every tensor of every model, and of the request and its answer: names, dtypes, dims.

This is the only place that spells a tensor name. Runners check feeds against these
specifications, the exporter names graph inputs and outputs from them, and the Triton
configuration is rendered from them.

Dims: an ``int`` is static, a ``str`` is a symbol. Symbols that a bundle fixes (``S`` the SAM2
side, ``C`` its embedding width, ``D`` the CLIPSeg condition width) are resolved with
:meth:`ModelSpec.resolve`; symbols that stay (``B`` pictures, ``N`` objects, ``P`` prompts) are
dynamic axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Dim = int | str

KINDS: tuple[str, ...] = ("arrow", "circle", "cross", "dot", "line", "tick", "other")
"""Kinds of marks; ``mark_kinds`` and YOLO class ids index this tuple."""

DTYPES: Mapping[str, npt.DTypeLike] = MappingProxyType(
    {
        "UINT8": np.uint8,
        "INT32": np.int32,
        "INT64": np.int64,
        "FP32": np.float32,
        "BYTES": np.object_,
    }
)
"""Triton's name of every data type in use, and numpy's."""

CLIPSEG_SIDE = 352
YOLO_SIDE = 640
YOLO_TOP_K = 32
YOLO_MASK_SIDE = YOLO_SIDE // 4
MASKS_PER_PROMPT = 4


@dataclass(frozen=True)
class Tensor:
    """One input or output: its name, Triton data type and dims (batch included)."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.name}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.dtype])

    def resolve(self, sizes: Mapping[str, int]) -> Tensor:
        """This tensor with every symbol that ``sizes`` knows replaced; ``"S/4"`` divides."""
        return Tensor(self.name, self.dtype, tuple(_resolve(d, sizes) for d in self.dims))


def _resolve(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    if isinstance(dim, int):
        return dim
    symbol, _, divisor = dim.partition("/")
    if symbol not in sizes:
        return dim
    return sizes[symbol] // int(divisor or 1)


@dataclass(frozen=True)
class ModelSpec:
    """A model's name and its tensors, in graph order."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def resolve(self, sizes: Mapping[str, int]) -> ModelSpec:
        return ModelSpec(
            self.name,
            tuple(t.resolve(sizes) for t in self.inputs),
            tuple(t.resolve(sizes) for t in self.outputs),
        )


# --- the four networks -------------------------------------------------------------------------

CLIPSEG = ModelSpec(
    "clipseg",
    inputs=(
        # RGB, the whole picture stretched to a square
        Tensor("pixel_values", "UINT8", ("B", CLIPSEG_SIDE, CLIPSEG_SIDE, 3)),
        # the text's projected embedding; the bundle holds one per prompt
        Tensor("cond", "FP32", ("B", "D")),
    ),
    outputs=(Tensor("heatmap", "FP32", ("B", CLIPSEG_SIDE, CLIPSEG_SIDE)),),  # 0..1
)

YOLO11_SEG = ModelSpec(
    "yolo11_seg",
    # RGB, letterboxed
    inputs=(Tensor("pixel_values", "UINT8", ("B", YOLO_SIDE, YOLO_SIDE, 3)),),
    outputs=(
        Tensor("boxes", "FP32", ("B", YOLO_TOP_K, 4)),  # xyxy, pixels of the letterboxed input
        Tensor("scores", "FP32", ("B", YOLO_TOP_K)),  # descending; 0 where suppressed or empty
        Tensor("class_ids", "INT32", ("B", YOLO_TOP_K)),
        # ink probability, 0..1, of the whole letterboxed input at a quarter of its side
        Tensor("masks", "FP32", ("B", YOLO_TOP_K, YOLO_MASK_SIDE, YOLO_MASK_SIDE)),
    ),
)

_FEATURES = (
    Tensor("high_res_feats_0", "FP32", ("B", "C/8", "S/4", "S/4")),
    Tensor("high_res_feats_1", "FP32", ("B", "C/4", "S/8", "S/8")),
    Tensor("image_embed", "FP32", ("B", "C", "S/16", "S/16")),
)

SAM2_ENCODER = ModelSpec(
    "sam2_encoder",
    # RGB, the whole picture stretched (not letterboxed) to a square
    inputs=(Tensor("pixel_values", "UINT8", ("B", "S", "S", 3)),),
    outputs=_FEATURES,
)

SAM2_DECODER = ModelSpec(
    "sam2_decoder",
    inputs=(
        # features of ONE picture; the graph broadcasts them over the N objects
        *(Tensor(t.name, t.dtype, (1, *t.dims[1:])) for t in _FEATURES),
        Tensor("point_coords", "FP32", ("N", "P", 2)),  # xy, pixels of the stretched S x S input
        # 1 foreground, 0 background, 2 and 3 a box's corners (these two come first), -1 padding
        Tensor("point_labels", "INT32", ("N", "P")),
        Tensor("mask_input", "FP32", ("N", 1, "S/4", "S/4")),  # logits of an earlier answer
        Tensor("has_mask_input", "FP32", ("N",)),  # 1 use mask_input, 0 ignore it
    ),
    outputs=(
        # logits; mask 0 is the single-mask answer, 1..3 the multimask answers
        Tensor("low_res_masks", "FP32", ("N", MASKS_PER_PROMPT, "S/4", "S/4")),
        Tensor("iou_predictions", "FP32", ("N", MASKS_PER_PROMPT)),
        Tensor("object_score_logits", "FP32", ("N", 1)),
    ),
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {m.name: m for m in (CLIPSEG, YOLO11_SEG, SAM2_ENCODER, SAM2_DECODER)}
)

STAGES: tuple[str, ...] = (
    "decode",
    "preprocess",
    "clipseg",
    "yolo11_seg",
    "yolo11_seg_crops",
    "marks",
    "sam2_encoder",
    "point_sampler",
    "sam2_decoder",
    "mask_selection",
    "encode",
    "total",
)
"""Names of ``stage_ms``, in its order; the manifest repeats them for clients."""


# --- the ensemble: what a request and its answer look like, in process and over the wire -------

MARKED_OBJECT = ModelSpec(
    "marked_object",
    inputs=(Tensor("image", "UINT8", ("L",)),),  # one encoded picture: JPEG, PNG, WebP or BMP
    outputs=(
        Tensor("mark_kinds", "INT32", ("N",)),  # index into the manifest's kinds
        Tensor("mark_scores", "FP32", ("N",)),
        Tensor("mark_boxes", "FP32", ("N", 4)),  # ink, xyxy, pixels of the upright picture
        Tensor("mark_masks", "BYTES", ("N",)),  # ink, COCO compressed RLE at the picture's size
        Tensor("point_coords", "FP32", ("N", "P", 2)),  # xy, pixels of the upright picture
        Tensor("point_labels", "INT32", ("N", "P")),  # 1 foreground, 0 background, -1 padding
        Tensor("object_masks", "BYTES", ("N",)),  # object, COCO compressed RLE
        Tensor("object_scores", "FP32", ("N",)),  # predicted IoU of the chosen mask
        Tensor("object_reasons", "BYTES", ("N",)),  # UTF-8: why this mask was chosen
        Tensor("picture_size", "INT32", (2,)),  # height, width
        Tensor("stage_ms", "FP32", (len(STAGES),)),  # milliseconds per stage of STAGES
    ),
)

PROMPTED_OBJECT = ModelSpec(
    "prompted_object",
    inputs=(
        *MARKED_OBJECT.inputs,
        Tensor("point_coords", "FP32", ("N", "P", 2)),  # xy, pixels of the upright picture
        # 1 foreground, 0 background, -1 padding; N objects of which each has a point or a box
        Tensor("point_labels", "INT32", ("N", "P")),
        Tensor("boxes", "FP32", ("N", 4)),  # xyxy, pixels of the upright picture; NaN: no box
        # mask_logits of an earlier answer on the same picture; NaN: no earlier mask
        Tensor("earlier_logits", "FP32", ("N", "S/4", "S/4")),
    ),
    outputs=(
        Tensor("object_masks", "BYTES", ("N",)),  # object, COCO compressed RLE
        Tensor("object_scores", "FP32", ("N",)),  # predicted IoU of the chosen mask
        Tensor("mask_logits", "FP32", ("N", "S/4", "S/4")),  # for refinement
        Tensor("picture_size", "INT32", (2,)),  # height, width
        Tensor("stage_ms", "FP32", (len(STAGES),)),  # milliseconds per stage of STAGES
    ),
)

ENSEMBLES: Mapping[str, ModelSpec] = MappingProxyType(
    {m.name: m for m in (MARKED_OBJECT, PROMPTED_OBJECT)}
)


# --- the ensembles' own steps: Python backends, in the order in which they run -----------------

# what Clock.ticks carries from step to step
_CLOCK = Tensor("clock", "INT64", (1 + len(STAGES),))

SPAN = Tensor("span", "INT64", (2,))
"""When a network began and ended, in nanoseconds of the monotonic clock: an output more where a
Python backend runs it."""

SPANS: Mapping[str, str] = MappingProxyType({name: f"{name}_span" for name in MODELS})
"""What a network's span is called where a step of the chain takes it."""

VIEWS: Mapping[str, str] = MappingProxyType(
    {
        CLIPSEG.name: "clipseg_view",
        YOLO11_SEG.name: "yolo11_seg_view",
        SAM2_ENCODER.name: "sam2_encoder_view",
    }
)
"""What a network's picture is called in the outputs of the step that makes it."""


def _view(model: ModelSpec) -> Tensor:
    pixels = model.inputs[0]
    return Tensor(VIEWS[model.name], pixels.dtype, (1, *pixels.dims[1:]))


def _of_one_picture(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(Tensor(t.name, t.dtype, (1, *t.dims[1:])) for t in tensors)


PREPROCESS = ModelSpec(
    "preprocess",
    inputs=MARKED_OBJECT.inputs,
    outputs=(
        Tensor("picture", "UINT8", ("H", "W", 3)),  # RGB, upright
        _view(CLIPSEG),
        Tensor("cond", "FP32", (1, "D")),
        _view(YOLO11_SEG),
        _CLOCK,
    ),
)

_DECODER_PROMPTS = SAM2_DECODER.inputs[len(_FEATURES) :]
_LABELS, _HAS_MASK = _DECODER_PROMPTS[1], _DECODER_PROMPTS[3]
_SIZE = Tensor("picture_size", "INT32", (2,))
# the picture once more where SAM2 may look at a part of it again, else (0, 0, 3)
_NEARER = Tensor("nearer_picture", "UINT8", ("h", "w", 3))

# the prompts in pixels of the picture, and which mark each row belongs to; the one row of a
# picture without marks belongs to -1 and is dropped at the end
_COORDS = Tensor("prompt_coords", "FP32", ("N", "P", 2))
_OWNERS = Tensor("prompt_owners", "INT32", ("N",))

MARKS = (
    Tensor("mark_kinds", "INT32", ("M",)),  # -1 stands for no mark
    Tensor("mark_scores", "FP32", ("M",)),
    Tensor("mark_boxes", "FP32", ("M", 4)),
    Tensor("mark_ink", "UINT8", ("I",)),  # 0 or 1, all boxes' pixels one after the other
)
"""Marks on their way from step to step."""

POINT_SAMPLER = ModelSpec(
    "point_sampler",
    inputs=(
        PREPROCESS.outputs[0],
        *_of_one_picture(CLIPSEG.outputs),
        *_of_one_picture(YOLO11_SEG.outputs),
        _CLOCK,
    ),
    # SAM2 sees the picture without its marks, so its view is made once they are known
    outputs=(
        _view(SAM2_ENCODER),
        *_DECODER_PROMPTS,
        _COORDS,
        _OWNERS,
        *MARKS,
        _NEARER,
        _SIZE,
        _CLOCK,
    ),
)

MASK_SELECTION = ModelSpec(
    "mask_selection",
    inputs=(*SAM2_DECODER.outputs, _COORDS, _LABELS, _OWNERS, *MARKS, _NEARER, _SIZE, _CLOCK),
    outputs=MARKED_OBJECT.outputs,
)

PROMPT_PREPROCESS = ModelSpec(
    "prompt_preprocess",
    inputs=PROMPTED_OBJECT.inputs,
    outputs=(_view(SAM2_ENCODER), *_DECODER_PROMPTS, _SIZE, _CLOCK),
)

PROMPT_SELECTION = ModelSpec(
    "prompt_selection",
    inputs=(*SAM2_DECODER.outputs, _LABELS, _HAS_MASK, _SIZE, _CLOCK),
    outputs=PROMPTED_OBJECT.outputs,
)

STEPS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        m.name: m
        for m in (PREPROCESS, POINT_SAMPLER, MASK_SELECTION, PROMPT_PREPROCESS, PROMPT_SELECTION)
    }
)

_MEASURED: Mapping[str, tuple[ModelSpec, ...]] = MappingProxyType(
    {
        POINT_SAMPLER.name: (CLIPSEG, YOLO11_SEG),
        MASK_SELECTION.name: (SAM2_ENCODER, SAM2_DECODER),
        PROMPT_SELECTION.name: (SAM2_ENCODER, SAM2_DECODER),
    }
)


def span_inputs(step: ModelSpec) -> tuple[Tensor, ...]:
    """The further inputs of a step where the networks before it tell their spans."""
    networks = _MEASURED.get(step.name, ())
    return tuple(Tensor(SPANS[network.name], SPAN.dtype, SPAN.dims) for network in networks)
