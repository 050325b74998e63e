"""The published architectures with random weights, lying on disk as their projects publish them.

Without a network there are no published weights, but everything else is at hand: configurations,
file names and file formats. What the exporter does with a checkpoint depends on these alone.

``python -m export.published_checkpoints NAME FOLDER`` writes one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from export.random_weights import enliven, settle_yolo, spread

_REVISION = "0" * 40  # of a folder in the hub's cache


@dataclass(frozen=True)
class Architecture:
    """A published architecture: who reads it, and how it lies on disk.

    ``write`` fills an empty folder and returns what ``flag`` is given. With ``hub``, this is a hub
    id, and the folder becomes the hub's cache.
    """

    name: str
    flag: str
    form: str
    write: Callable[[Path], str]
    hub: bool = False


def write_clipseg(folder: Path, *, reduce_dim: int, refined: bool, form: str) -> str:
    """A CLIPSeg as ``CIDAS/clipseg-*`` are: ``form`` is the weights' file."""
    import torch
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    from training.clipseg.tokenizer import write_vocabulary

    write_vocabulary(folder)
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "architectures": ["CLIPSegForImageSegmentation"], "model_type": "clipseg",
        "conditional_layer": 0, "decoder_attention_dropout": 0.0,
        "decoder_hidden_act": "quick_gelu", "decoder_intermediate_size": 2048,
        "decoder_num_attention_heads": 4, "extract_layers": [3, 6, 9], "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "projection_dim": 512, "reduce_dim": reduce_dim,
        "text_config": {"bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
                        "model_type": "clipseg_text_model"},
        "use_complex_transposed_convolution": refined,
        "vision_config": {"dropout": 0.0, "model_type": "clipseg_vision_model", "patch_size": 16},
    }  # fmt: skip
    processor = {
        "do_normalize": True, "do_rescale": True, "do_resize": True,
        "feature_extractor_type": "ViTImageProcessor", "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "processor_class": "CLIPSegProcessor", "resample": 2,
        "rescale_factor": 0.00392156862745098, "size": {"height": 352, "width": 352},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))
    model = CLIPSegForImageSegmentation(CLIPSegConfig.from_pretrained(folder)).eval()
    enliven(model)
    last = model.decoder.transposed_convolution
    with spread([last[-1] if refined else last], 3.0), torch.no_grad():
        model(pixel_values=torch.randn(1, 3, 352, 352), conditional_embeddings=torch.randn(1, 512))
    weights = model.state_dict()
    if form == "model.safetensors":
        from safetensors.torch import save_file

        save_file(weights, folder / form, metadata={"format": "pt"})
    else:  # of the time when position ids were still written down
        for tower, count in (("text", 77), ("vision", 197)):
            ids = torch.arange(count).expand(1, -1)
            weights[f"clip.{tower}_model.embeddings.position_ids"] = ids
        torch.save(weights, folder / form)
    return str(folder)


def write_yolo11_seg(folder: Path, *, size: str) -> str:
    """A YOLO11-seg of marks as ultralytics' trainer leaves it: a whole module in 16 bit."""
    import torch
    from ultralytics.nn.tasks import SegmentationModel

    from markcut.contracts import KINDS

    torch.manual_seed(0)
    model = SegmentationModel(f"yolo11{size}-seg.yaml", nc=len(KINDS), verbose=False)
    model.names = dict(enumerate(KINDS))
    settle_yolo(model)
    path = folder / f"yolo11{size}-seg.pt"
    content = {
        "epoch": -1, "best_fitness": None, "model": model.eval().half(), "ema": None,
        "updates": None, "optimizer": None, "train_args": {"task": "segment"},
    }  # fmt: skip
    torch.save(content, path)
    return str(path)


def write_sam2(folder: Path, *, hub_id: str) -> str:
    """A SAM2 as ``facebook/sam2*`` are: one file of the published name, nothing beside it."""
    import sam2
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    config, file = HF_MODEL_ID_TO_FILENAMES[hub_id]
    settings: Any = OmegaConf.load(Path(sam2.__file__).parent / config)
    torch.manual_seed(0)
    model = instantiate(settings.model, _recursive_=True).eval()
    enliven(model)
    torch.save({"model": model.state_dict()}, folder / file)
    return str(folder / file)


def _in_cache(write: Callable[[Path], str], hub_id: str, folder: Path) -> str:
    """Write into ``folder`` as into the hub's cache; the hub id."""
    repository = folder / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / _REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(_REVISION)
    write(snapshot)
    return hub_id


def _architectures() -> Mapping[str, Architecture]:
    bin_, safetensors = "pytorch_model.bin", "model.safetensors"
    clipsegs = [(64, True, safetensors, True), (64, False, bin_, False),
                (16, False, safetensors, False)]  # fmt: skip
    found = []
    for reduce_dim, refined, file, hub in clipsegs:
        name = f"clipseg-rd{reduce_dim}{'-refined' if refined else ''}"
        clipseg = partial(write_clipseg, reduce_dim=reduce_dim, refined=refined, form=file)
        found.append(_architecture(name, "--clipseg", file if hub else f"folder, {file}", clipseg,
                                   f"CIDAS/{name}" if hub else ""))  # fmt: skip
    for size in "nsmlx":
        yolo = partial(write_yolo11_seg, size=size)
        found.append(_architecture(f"yolo11{size}-seg", "--yolo", ".pt", yolo))
    for version in ("2", "2.1"):
        for size in ("tiny", "small", "base-plus", "large"):
            name = f"sam{version}-hiera-{size}"
            sam = partial(write_sam2, hub_id=f"facebook/{name}")
            hub_id = f"facebook/{name}" if name == "sam2.1-hiera-tiny" else ""
            found.append(_architecture(name, "--sam2", ".pt", sam, hub_id))
    return {architecture.name: architecture for architecture in found}


def _architecture(
    name: str, flag: str, form: str, write: Callable[[Path], str], hub_id: str = ""
) -> Architecture:
    if hub_id:
        return Architecture(
            name, flag, f"hub id, {form}", partial(_in_cache, write, hub_id), hub=True
        )
    return Architecture(name, flag, form, write)


ARCHITECTURES = _architectures()
"""All of them by name: three CLIPSegs, five YOLO11-segs, four SAM2s and four SAM2.1s."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ARCHITECTURES)
    parser.add_argument("folder", type=Path, help="an empty folder")
    options = parser.parse_args()
    print(ARCHITECTURES[options.name].write(options.folder))


if __name__ == "__main__":
    main()
