"""The SAM2 trainer: prompts mean what they say, losses prefer the truth, files load upstream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from training.errors import TrainingError
from training.sam2 import data, folder
from training.sam2.again import once_more
from training.sam2.losses import (
    balanced_cross_entropy,
    border_loss,
    embedding_loss,
    exact_cross_entropy,
    mask_loss,
)
from training.sam2.model import DEMO_CONFIG, ImagePath, build
from training.sam2.prompts import draw
from training.sam2.task import Sam2Task, normalised
from training.start import set_apart

SIDE = 128


def instances() -> np.ndarray:
    found = np.zeros((SIDE, SIDE), np.int32)
    found[20:60, 30:80] = 1
    found[70:120, 10:50] = 2
    return found


def item() -> data.Item:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    ink = np.zeros((SIDE, SIDE), bool)
    ink[30:34, 30:80] = True
    return data.Item(picture, picture, instances(), ink)


@pytest.fixture(scope="module")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = OmegaConf.load(DEMO_CONFIG)
    options.model.image_size = SIDE
    path = tmp_path_factory.mktemp("sam2") / "small.yaml"
    OmegaConf.save(options, path)
    return path


def batch(prompts: int, *, progress: float = 1.0) -> data.Batch:
    views = data.Views(SIDE, SIDE, prompts=prompts, grow_at=0.0, dense_until=0.5)
    rng = np.random.default_rng(1)
    return data.collate([views(item(), rng, progress) for _ in range(2)])


def test_positive_points_lie_on_the_object_and_negative_ones_beside_it() -> None:
    drawn = draw(instances(), item().ink, np.random.default_rng(0), prompts=200, anchors=10)
    assert set(drawn.instances) == {1, 2}
    for k in range(200):
        for (x, y), label in zip(drawn.points[k], drawn.labels[k], strict=True):
            if label in (0, 1):
                hit = instances()[round(float(y)), round(float(x))] == drawn.instances[k]
                assert hit == bool(label)


def test_an_empty_view_has_no_valid_prompt() -> None:
    nothing = np.zeros((SIDE, SIDE), np.int32)
    drawn = draw(nothing, nothing > 0, np.random.default_rng(0), prompts=3, anchors=4)
    assert not drawn.valid.any()
    assert (drawn.labels == -1).all()


def test_a_near_view_holds_an_object_and_what_is_around_it() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        rows, columns = data._near_window(instances(), rng)
        assert 0 <= rows.start < rows.stop <= SIDE
        assert 0 <= columns.start < columns.stop <= SIDE
        view = instances()[rows, columns]
        held = max((view == i).sum() / (instances() == i).sum() for i in (1, 2))
        shares.append(held)
        assert (view == 0).any()
    assert np.mean(np.array(shares) > 0.95) > 0.9
    nothing = np.zeros((SIDE, SIDE), np.int32)
    assert data._near_window(nothing, rng) == (slice(0, SIDE), slice(0, SIDE))


def test_targets_cover_the_object() -> None:
    drawn = draw(instances(), item().ink, np.random.default_rng(0), prompts=4, anchors=4)
    for k in range(4):
        area = (instances() == drawn.instances[k]).sum()
        assert drawn.targets[k].sum() / 255 * 16 == pytest.approx(area, rel=0.02)


def test_mask_loss_prefers_the_true_mask_and_ignores_what_is_not_valid() -> None:
    target = torch.zeros(1, 2, 8, 8)
    target[0, 0, 2:6, 2:6] = 1
    valid = torch.tensor([[True, False]])
    right = ((target * 2 - 1) * 8)[:, :, None].expand(-1, -1, 4, -1, -1)
    iou = torch.ones(1, 2, 4)
    assert mask_loss(right, None, target, valid).total < 0.1
    good = mask_loss(right, iou, target, valid)
    bad = mask_loss(-right, iou, target, valid)
    assert good.total < 0.1 < bad.total
    assert good.single_iou == good.best_iou == good.picked_iou == 1.0


def test_exact_masks_are_as_large_as_their_objects_and_balanced_ones_too_large() -> None:
    # nothing tells the network where in a ring around the object the border lies: half of the
    # pictures have the object with the ring, half without
    target = torch.zeros(1, 2, 32, 32)
    target[:, :, 12:20, 12:20] = 1
    target[0, 1, 10:22, 10:22] = 1
    valid = torch.ones(1, 2, dtype=torch.bool)

    def ring(exact: bool) -> float:
        logits = torch.zeros(1, 1, 4, 32, 32, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.3)
        for _ in range(150):
            optimizer.zero_grad()
            one = logits.expand(1, 2, -1, -1, -1)
            half = [one[:, i : i + 1] for i in range(2)]
            losses = [
                balanced_cross_entropy(h[:, :, 0], target[:, i : i + 1]).sum()
                if not exact
                else exact_cross_entropy(h[:, :, 0], target[:, i : i + 1]).sum()
                for i, h in enumerate(half)
            ]
            sum(losses, torch.tensor(0.0)).backward()
            optimizer.step()
        return float(logits.detach()[0, 0, 0, 10, 10])

    assert ring(exact=False) > 1.0
    assert ring(exact=True) < 0.0
    shown = mask_loss(target[:, :, None].expand(-1, -1, 4, -1, -1) * 16 - 8, None, target, valid)
    exact = mask_loss(
        target[:, :, None].expand(-1, -1, 4, -1, -1) * 16 - 8, None, target, valid, exact=True
    )
    assert max(float(exact.total), float(shown.total)) < 0.1


def test_the_second_question_gives_an_answer_back_and_clicks_what_it_has_wrong() -> None:
    torch.manual_seed(0)
    b, k, p, side = 8, 4, 3, 16
    targets = torch.zeros(b, k, side, side)
    targets[..., 4:8, 4:8] = 1
    logits = torch.full((b, k, 4, side, side), -50.0)
    logits[..., 4:8, 4:12] = 50.0  # four columns too many
    logits[:, 0, :, :, :] = torch.where(targets[:, :1] > 0, 50.0, -50.0)  # nothing to click
    points = torch.full((b, k, p, 2), 24.0)
    labels = torch.tensor([1, -1, -1]).expand(b, k, p).clone()
    labels[:, 1] = 1  # no place for a click
    iou = torch.rand(b, k, 4)
    new_points, new_labels, masks = once_more(points, labels, logits, iou, targets)
    assert masks.shape == (b, k, 1, side, side)
    assert masks.abs().max() == 32
    assert torch.equal(new_labels[:, :2], labels[:, :2])
    clicked = new_labels[:, 2:, 1] == 0
    assert clicked.any()
    assert not clicked.all()
    x, y = new_points[:, 2:, 1][clicked].unbind(-1)
    assert ((x > 32) & (x < 48) & (y > 16) & (y < 32)).all()
    assert torch.equal(labels[0, 0], torch.tensor([1, -1, -1]))  # what came is left as it was


def test_embedding_and_border_losses_prefer_the_truth() -> None:
    truth = torch.from_numpy(instances())[None]
    anchors = torch.tensor([[[40, 30], [20, 90]]])
    cells = truth[:, 2::4, 2::4].float()[:, None] * 4
    bias = torch.tensor(2.0)
    assert embedding_loss(cells, bias, truth, anchors) < 0.3
    assert embedding_loss(torch.zeros_like(cells), bias, truth, anchors) > 0.9
    whole = torch.nn.functional.max_pool2d(truth[:, None].float(), 4)
    least = -torch.nn.functional.max_pool2d(-truth[:, None].float(), 4)
    edge = (whole != least).float() * 16 - 8
    assert border_loss(edge, truth) < 0.01 < border_loss(-edge, truth)


def test_a_step_trains_and_the_saved_files_load_upstream(
    small_config: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task = Sam2Task(
        build(small_config),
        config=small_config,
        held_out=[batch(3)],
        device=torch.device("cpu"),
        embedding_weight=1.0,
    )
    dense, figures = task.loss(batch(3, progress=0.1))
    assert "direct" in figures
    assert "best" not in figures
    loss, figures = task.loss(batch(3))
    assert torch.isfinite(dense)
    assert torch.isfinite(loss)
    assert 0 <= figures["best"] <= 1
    assert 0 <= figures["again"] <= 1
    loss.backward()
    with torch.no_grad():
        assert set(task.evaluate(task.model)) >= {"picked_mean_iou", "again_median_iou"}
    task.save(tmp_path, task.model)

    again = build(tmp_path / "sam2.yaml")
    state = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    again.load_state_dict(state)
    pixels = normalised(batch(1).pixels)
    with torch.no_grad():
        expected = task.model.path.encode(pixels)
        got = ImagePath(again).encode(pixels)
    for a, b in zip(expected, got, strict=True):
        assert torch.allclose(a, b, atol=0.05 * float(a.abs().max()))


def test_answers_have_the_documented_shapes(small_config: Path) -> None:
    path = ImagePath(build(small_config)).eval()
    pixels = normalised(batch(1).pixels)
    points = torch.full((2, 1, 1, 2), 40.0)
    labels = torch.ones(2, 1, 1, dtype=torch.int32)
    masks = torch.zeros(2, 1, 1, SIDE // 4, SIDE // 4)
    use = torch.zeros(2, 1, dtype=torch.bool)
    with torch.no_grad():
        features = path.encode(pixels)
        logits, iou, tokens = path.decode(features, points, labels, masks, use)
        direct, there = path.decode_directly(features, points[:, :, 0].long(), torch.nn.Identity())
    assert logits.shape == (2, 1, 4, SIDE // 4, SIDE // 4)
    assert direct.shape == logits.shape
    assert iou.shape == (2, 1, 4)
    assert tokens.shape == (2, 1, 4, there.shape[-1])


def test_a_folder_of_pictures_with_masks_is_read(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no picture with its mask"):
        folder.find_pairs(tmp_path)
    Image.fromarray(item().clean).save(tmp_path / "a.png")
    Image.fromarray(instances().astype(np.uint8)).save(tmp_path / "a.mask.png")
    found = folder.FolderItems(tuple(folder.find_pairs(tmp_path)), SIDE)
    assert (found(3).instances == instances()).all()
    for mask, message in (
        (np.zeros((4, 4), np.uint8), r"height, width \(4, 4\), but the picture a.png has"),
        (item().clean, "got the channels RGB, expected one"),
    ):
        Image.fromarray(mask).save(tmp_path / "a.mask.png")
        with pytest.raises(TrainingError, match=message):
            folder.find_pairs(tmp_path)


def test_nothing_is_learned_from_and_measured_on() -> None:
    for count, kept_back in ((2, 1), (9, 1), (10, 1), (25, 3)):
        learned, measured = set_apart(range(count), Path("d"))
        assert len(measured) == kept_back
        assert sorted((*learned, *measured)) == list(range(count))
    with pytest.raises(TrainingError, match="1 labelled pictures in d, expected 2 or more"):
        set_apart([0], Path("d"))
