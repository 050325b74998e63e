"""SAM2's rewritten encoder and decoder against the upstream modules and predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export import sam2
from export.errors import ExportError
from export.sam2_encoder import Encoder, Windows
from markcut.contracts import SAM2_DECODER, SAM2_ENCODER
from tests.export.tiny import build_sam2, reduced_sam2

PIXELS = SAM2_ENCODER.inputs[0].name
COORDS, LABELS, MASK, GIVEN = (tensor.name for tensor in SAM2_DECODER.inputs[3:])
LOW_RES, IOU, SCORE = (tensor.name for tensor in SAM2_DECODER.outputs)
TOLERANCE = 2e-5


def run(graph: Any, feeds: Any) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        outputs = graph.module.eval()(*(torch.from_numpy(feeds[t.name]) for t in graph.spec.inputs))
    return dict(
        zip((t.name for t in graph.spec.outputs), (o.numpy() for o in outputs), strict=True)
    )


@pytest.mark.parametrize(
    "trunk",
    [
        {},  # windows of 8, 4 and 6 (padded), pooled to 4, 2 and 3, and whole maps
        {"window_spec": [8, 8, 8, 4], "global_att_blocks": [4, 5, 7]},  # pooled to 4, then 8 again
        {"window_spec": [8, 4, 14, 7], "global_att_blocks": [], "num_heads": 2},  # wider than maps
        {"stages": [1, 1, 1, 1], "window_spec": [4, 4, 4, 4], "global_att_blocks": [0]},
    ],
)
@pytest.mark.parametrize(
    "neck", [{}, {"fpn_top_down_levels": [0, 1, 2, 3], "fpn_interp_model": "bilinear",
                  "kernel_size": 3, "padding": 1}],
)  # fmt: skip
def test_the_encoder_is_upstreams(trunk: dict[str, Any], neck: dict[str, Any]) -> None:
    graph = sam2.encoder_graph(build_sam2(reduced_sam2(trunk=trunk, neck=neck)))
    feeds = {PIXELS: np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.uint8)}
    got = run(graph, feeds)
    with torch.inference_mode():
        wanted = graph.reference(feeds)
    for tensor in graph.spec.outputs:
        assert got[tensor.name].shape == (2, *tensor.dims[1:])
        np.testing.assert_allclose(got[tensor.name], wanted[tensor.name], atol=TOLERANCE)


def test_windows_that_cannot_be_pooled_are_refused() -> None:
    model = build_sam2(reduced_sam2(trunk={"window_spec": [8, 4, 6, 3]}))
    model.image_encoder.trunk.blocks[1].window_size = 7
    with pytest.raises(ExportError, match="windows of 7 on a map of 32 cannot be pooled by 2"):
        Encoder(model)


@pytest.mark.parametrize(("side", "window"), [(8, 4), (8, 8), (9, 4), (3, 7)])
def test_windows_cut_and_join(side: int, window: int) -> None:
    windows = Windows(side, window)
    x = torch.arange(2 * side * side * 3).reshape(2, side, side, 3).float()
    cut = windows.cut(x, 3)
    assert cut.shape == (2 * windows.grid**2, window**2, 3)
    assert torch.equal(windows.join(cut, 3), x)
    first = x.permute(0, 3, 1, 2)
    assert torch.equal(windows.cut_channels_first(first, 3), cut)
    other = Windows(side, 2)
    assert torch.equal(windows.recut(cut, other, 3), other.cut(x, 3))
    assert windows.inside().sum() == side * side


@pytest.fixture(scope="module")
def predictor() -> Any:
    """Upstream's own, which knows no other size than 1024."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    trunk = {"stages": [1, 1, 1, 1], "window_spec": [8, 4, 14, 7], "global_att_blocks": []}
    model = build_sam2(reduced_sam2(trunk=trunk, image_size=1024))
    predictor = SAM2ImagePredictor(model)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    predictor.set_image(picture)
    predictor.picture = picture
    return predictor


def test_the_features_are_the_predictors(predictor: Any) -> None:
    got = run(sam2.encoder_graph(predictor.model), {PIXELS: predictor.picture[None]})
    kept = [*predictor._features["high_res_feats"], predictor._features["image_embed"]]
    for name, wanted in zip(got, kept, strict=True):
        np.testing.assert_allclose(got[name], wanted, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("points", "labels", "box", "with_mask"),
    [
        ([[400.5, 300.0]], [1], None, False),
        ([[400.5, 300.0], [10, 20], [1000, 7.25]], [1, 0, 1], None, False),
        (None, None, [100, 200, 640.5, 900], False),
        ([[400.5, 300.0]], [0], [100, 200, 640.5, 900], False),
        ([[400.5, 300.0]], [1], None, True),
    ],
)
def test_the_masks_are_the_predictors(
    predictor: Any, points: Any, labels: Any, box: Any, with_mask: bool
) -> None:
    mask = np.random.default_rng(1).normal(0, 8, (1, 256, 256)).astype(np.float32)
    given = {
        "point_coords": None if points is None else np.array(points),
        "point_labels": None if labels is None else np.array(labels),
        "box": None if box is None else np.array(box),
        "mask_input": mask if with_mask else None,
    }
    three = predictor.predict(**given, multimask_output=True)
    single = predictor.predict(**given, multimask_output=False)
    corners = [] if box is None else np.array(box).reshape(2, 2).tolist()
    coords = np.array([corners + (points or [])], np.float32)
    kinds = np.array([[2, 3][: len(corners)] + (labels or [])], np.int32)
    features = [*predictor._features["high_res_feats"], predictor._features["image_embed"]]
    names = [tensor.name for tensor in SAM2_DECODER.inputs]
    values = [*(f.numpy() for f in features), coords, kinds, mask[None],
              np.array([with_mask], np.float32)]  # fmt: skip
    got = run(sam2.decoder_graph(predictor.model), dict(zip(names, values, strict=True)))
    masks = np.concatenate([single[2], three[2]])
    np.testing.assert_allclose(got[LOW_RES][0].clip(-32, 32), masks, atol=TOLERANCE)
    np.testing.assert_allclose(got[IOU][0], np.concatenate([single[1], three[1]]), atol=TOLERANCE)


def test_objects_do_not_touch_each_other(sam2_file: Any, pictures: list) -> None:
    """Four objects in one run are four runs of one object, whatever the others are."""
    graph = sam2.load(str(sam2_file)).graphs(sam2.load(str(sam2_file)).model)[1]
    several = [case.feeds for case in graph.cases(pictures[:1])][-1]
    together = run(graph, several)
    for k in range(4):
        alone = {
            name: values if len(values) == 1 else values[k : k + 1]
            for name, values in several.items()
        }
        for name, values in run(graph, alone).items():
            np.testing.assert_allclose(values[0], together[name][k], atol=TOLERANCE)


def test_a_mask_that_is_not_given_has_no_say(sam2_file: Any, pictures: list) -> None:
    loaded = sam2.load(str(sam2_file))
    graph = loaded.graphs(loaded.model)[1]
    feeds = dict(next(iter(graph.cases(pictures))).feeds)
    plain = run(graph, feeds)
    feeds[MASK] = np.full_like(feeds[MASK], np.nan)
    for name, values in run(graph, feeds).items():
        np.testing.assert_array_equal(values, plain[name])
