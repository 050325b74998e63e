from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from markcut_client import Client, Extraction, OutputError
from markcut_client.output_folder import OutputFolder
from markcut_client.outputs import coco, labelme
from markcut_client.whole_files import InTheWayError


@pytest.fixture
def extract(transport_with: Any) -> Callable[..., Extraction]:
    def run(path: Path, kinds: tuple[str, ...] = ("circle", "tick")) -> Extraction:
        return Client(transport_with(kinds=kinds)).extract(path)

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_coco_is_what_pycocotools_reads(extract: Any, photo: Any, tmp_path: Path) -> None:
    found = [extract(photo("a.png")), extract(photo("b.png"), kinds=()), extract(photo("c.png"))]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(coco(found)))
    read = COCO(path)
    assert [image["file_name"] for image in read.loadImgs(read.getImgIds())] == [
        f.picture for f in found
    ]
    assert [c["name"] for c in read.loadCats(read.getCatIds())][1] == "circle"
    annotations = read.loadAnns(read.getAnnIds(imgIds=[3]))
    assert [a["id"] for a in annotations] == [3, 4]
    for annotation, one in zip(annotations, found[2], strict=True):
        assert np.array_equal(read.annToMask(annotation), one.mask)
        assert annotation["bbox"] == list(one.bbox)
        assert annotation["area"] == one.area
        assert read.cats[annotation["category_id"]]["name"] == one.mark.kind
        assert np.array_equal(coco_mask.decode(annotation["mark"]["segmentation"]), one.mark.mask)


def test_labelme_masks_are_pixel_for_pixel(extract: Any, photo: Any, tmp_path: Path) -> None:
    found = extract(photo("in/a.png"))
    file = labelme(found, folder=tmp_path / "out")
    assert file["imagePath"] == "../in/a.png"
    assert (file["imageHeight"], file["imageWidth"], file["imageData"]) == (48, 64, None)
    shapes = file["shapes"]
    assert [shape["label"] for shape in shapes] == ["object", "circle", "object", "tick"]
    assert [shape["group_id"] for shape in shapes] == [0, 0, 1, 1]
    masks = [mask for one in found for mask in (one.mask, one.mark.mask)]
    for shape, mask in zip(shapes, masks, strict=True):
        assert shape["shape_type"] == "mask"
        part = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
        (x1, y1), (x2, y2) = shape["points"]  # labelme counts both corners in
        whole = np.zeros_like(mask)
        whole[y1 : y2 + 1, x1 : x2 + 1] = part.astype(bool)
        assert np.array_equal(whole, mask)
        assert set(np.unique(part)) <= {0, 1}


def test_files_of_a_run(extract: Any, photo: Any, tmp_path: Path) -> None:
    paths = [photo("a/photo.png"), photo("b/photo.png"), photo("Photo.jpg"), photo("none.png")]
    folder = OutputFolder(tmp_path / "new/out", paths, with_overlay=True)
    for index, path in enumerate(paths):
        folder.write(index, extract(path, kinds=() if path.stem == "none" else ("dot", "dot")))
    folder.finish()
    wanted = ["none.json", "none_overlay.png"]
    for stem in ("photo", "photo-2", "Photo-3"):
        wanted += [f"{stem}{end}" for end in (".json", "_0.png", "_1.png", "_overlay.png")]
    assert names(folder.folder) == sorted(wanted)
    result = json.loads((folder.folder / "photo-2.json").read_text())
    assert result["picture"] == str(paths[1])
    assert len(result["objects"]) == 2
    assert folder.leftovers() == []


@pytest.mark.parametrize("background", ["white", "transparent", "original"])
def test_background(extract: Any, photo: Any, tmp_path: Path, background: Any) -> None:
    path = photo()
    OutputFolder(tmp_path / "out", [path], background=background).write(0, extract(path))
    with Image.open(tmp_path / "out/photo_0.png") as cutout:
        assert cutout.mode == ("RGBA" if background == "transparent" else "RGB")


def test_coco_and_labelme_files(extract: Any, photo: Any, tmp_path: Path) -> None:
    path = photo()
    for name in ("coco", "labelme"):
        folder = OutputFolder(tmp_path / name, [path], format=name)
        folder.write(0, extract(path))
        folder.finish()
    assert names(tmp_path / "coco") == ["annotations.json", "photo_0.png", "photo_1.png"]
    assert names(tmp_path / "labelme") == ["photo.json", "photo_0.png", "photo_1.png"]


def test_earlier_results_are_not_replaced_by_accident(
    extract: Any, photo: Any, tmp_path: Path
) -> None:
    path, out = photo(), tmp_path / "out"
    OutputFolder(out, [path]).write(0, extract(path))
    with pytest.raises(OutputError, match=r"photo\.json and 2 more: there already.*--overwrite"):
        OutputFolder(out, [path])
    (out / "unrelated.png").touch()
    OutputFolder(out, [photo("other.png")])  # nobody's way
    again = OutputFolder(out, [path], overwrite=True)
    again.write(0, extract(path, kinds=("dot",)))
    assert again.leftovers() == [out / "photo_1.png"]
    assert len(json.loads((out / "photo.json").read_text())["objects"]) == 1


def test_pictures_are_never_replaced(photo: Any) -> None:
    path, trap = photo("photo.png"), photo("photo_7.png")
    with pytest.raises(OutputError, match=r"photo_7\.png: a result may take this name"):
        OutputFolder(path.parent, [path, trap], overwrite=True)


def test_unwritable_folders(photo: Any, tmp_path: Path) -> None:
    file = photo()
    for folder in (file, file / "below"):
        with pytest.raises(OutputError, match=r"cannot be written .*name another folder"):
            OutputFolder(folder, [file])
    assert names(tmp_path) == ["photo.png"]


@pytest.mark.parametrize("format", ["json", "labelme"])
def test_of_two_runs_at_once_one_has_a_picture(
    extract: Any, photo: Any, tmp_path: Path, format: Any
) -> None:
    first, second, out = photo("a/x.png"), photo("b/x.png"), tmp_path / "out"
    one, other = (OutputFolder(out, [path], format=format) for path in (first, second))
    one.write(0, extract(first, kinds=("dot",)))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InTheWayError, match=r"x\.json: there already, another run wrote it mean"):
        other.write(0, extract(second, kinds=("dot", "dot")))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    other.finish()
    assert names(out) == ["x.json", "x_0.png"]


def test_of_two_runs_at_once_one_has_the_coco_file(
    extract: Any, photo: Any, tmp_path: Path
) -> None:
    first, second, out = photo("x.png"), photo("y.png"), tmp_path / "out"
    one, other = (OutputFolder(out, [path], format="coco") for path in (first, second))
    one.write(0, extract(first))
    with pytest.raises(OutputError, match=r"annotations\.json: there already") as raised:
        other.write(0, extract(second))
    assert not isinstance(raised.value, InTheWayError)  # no picture of that run can be kept
    other.finish()
    one.finish()
    assert names(out) == ["annotations.json", "x_0.png", "x_1.png"]
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 1


def test_a_run_that_did_nothing_leaves_annotations_as_they_are(
    extract: Any, photo: Any, tmp_path: Path
) -> None:
    path, out = photo(), tmp_path / "out"
    OutputFolder(out, [path], format="coco").finish()
    assert names(out) == []
    first = OutputFolder(out, [path], format="coco")
    first.write(0, extract(path))
    before = (out / "annotations.json").read_bytes()  # there before the run ends
    assert len(json.loads(before)["images"]) == 1
    OutputFolder(out, [path], format="coco", overwrite=True).finish()
    assert (out / "annotations.json").read_bytes() == before


def test_a_labelme_file_names_its_picture_through_links(
    extract: Any, photo: Any, tmp_path: Path
) -> None:
    path = photo("in/a.png")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er")
    file = labelme(extract(path), folder=tmp_path / "link")
    assert (tmp_path / "link" / file["imagePath"]).samefile(path)


def test_a_folder_with_a_result_s_name(extract: Any, photo: Any, tmp_path: Path) -> None:
    path, out = photo(), tmp_path / "out"
    OutputFolder(out, [path]).write(0, extract(path, kinds=("dot",)))
    before = (out / "photo.json").read_bytes()
    (out / "photo_1.png").mkdir()
    folder = OutputFolder(out, [path], overwrite=True)
    with pytest.raises(InTheWayError, match=r"photo_1\.png: cannot be written \(a folder has"):
        folder.write(0, extract(path))
    assert names(out) == ["photo.json", "photo_0.png", "photo_1.png"]
    assert (out / "photo.json").read_bytes() == before
    assert folder.leftovers() == [out / "photo.json", out / "photo_0.png"]


def test_odd_names(extract: Any, photo: Any, tmp_path: Path) -> None:
    long, odd = photo("x" * 240 + ".png"), photo("ü [b] $1.png")
    folder = OutputFolder(tmp_path / "out", [long, odd], with_overlay=True)
    folder.write(0, extract(long))
    folder.write(1, extract(odd))
    assert "ü [b] $1_overlay.png" in names(tmp_path / "out")
    assert "x" * 180 + ".json" in names(tmp_path / "out")
