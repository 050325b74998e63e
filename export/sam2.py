"""SAM2: a config and a checkpoint -> two graphs, the image encoder and the mask decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.checkpoints import read_torch_file, sha256_of, short
from export.errors import ExportError
from export.graph import Arrays, Case, Graph, Loaded, Picture, PixelInput
from export.pictures import stretched
from export.sam2_decoder import Decoder
from export.sam2_encoder import MEAN, STD, Encoder
from markcut.contracts import MASKS_PER_PROMPT, SAM2_DECODER, SAM2_ENCODER
from markcut.manifest import Checkpoint


def load(source: str, *, config: str | None = None) -> Loaded:
    """The model of the checkpoint file or hub id ``source``.

    ``config`` is a YAML file or the name of a config in the sam2 package; without it, the YAML
    file beside the checkpoint (of its name, or ``sam2.yaml``), else the config that the
    checkpoint's published name stands for. Raises :class:`ExportError`.
    """
    path, published = _checkpoint(source)
    yaml = _config_file(path, config or published)
    model = _build(yaml)
    content = read_torch_file(path, flag="--sam2")
    weights = content.get("model") if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise ExportError(
            f"--sam2: {path} has no weights under 'model', as SAM2's checkpoints have"
        )
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ExportError(
            f"--sam2: {path} does not fit {yaml.name} ({short(error)}); name its own config with "
            "--sam2-config"
        ) from None
    if missing or unexpected:
        raise ExportError(
            f"--sam2: {path} does not fit {yaml.name}: {len(missing)} weights are missing and "
            f"{len(unexpected)} unknown, {(missing + unexpected)[0]} first; name its own config "
            "with --sam2-config"
        )
    return Loaded(
        origin=Checkpoint(
            name=source if published == source else path.name, sha256=sha256_of(path)
        ),
        model=model,
        sizes={"S": model.image_size, "C": model.hidden_dim},
        graphs=lambda model: [encoder_graph(model), decoder_graph(model)],
    )


def encoder_graph(sam: Any) -> Graph:
    """The graph from the picture to the decoder's three feature maps."""
    (pixels,) = (t.name for t in SAM2_ENCODER.inputs)

    def cases(pictures: Sequence[Picture]) -> Iterator[Case]:
        views = [stretched(picture, sam.image_size) for picture in pictures]
        for view in views:
            yield Case("one picture", {pixels: view[None]})
        yield Case("two pictures", {pixels: np.stack(views[:2])})

    return Graph(
        spec=SAM2_ENCODER.resolve({"S": sam.image_size, "C": sam.hidden_dim}),
        module=Encoder(sam),
        reference=lambda feeds: _features(sam, feeds[pixels]),
        cases=cases,
    )


def decoder_graph(sam: Any) -> Graph:
    """The graph from one picture's features and prompts of N objects to their masks."""
    return Graph(
        spec=SAM2_DECODER.resolve({"S": sam.image_size, "C": sam.hidden_dim}),
        module=Decoder(sam),
        reference=lambda feeds: _masks(sam, feeds),
        cases=lambda pictures: _decoder_cases(sam, pictures),
    )


def _features(sam: Any, pixels: np.ndarray) -> Arrays:
    """What ``SAM2ImagePredictor`` keeps of a picture, with maps of whatever size the model has."""
    normalised = PixelInput(MEAN, STD)(torch.from_numpy(pixels))
    _, features, _, sizes = sam._prepare_backbone_features(sam.forward_image(normalised))
    if sam.directly_add_no_mem_embed:
        features[-1] = features[-1] + sam.no_mem_embed
    maps = [
        feature.permute(1, 2, 0).unflatten(2, size).numpy()
        for feature, size in zip(features, sizes, strict=True)
    ]
    return dict(zip((t.name for t in SAM2_ENCODER.outputs), maps, strict=True))


def _masks(sam: Any, feeds: Arrays) -> Arrays:
    """Every object on its own through the model's prompt encoder and mask decoder."""
    tensors = [torch.from_numpy(feeds[t.name]) for t in SAM2_DECODER.inputs]
    feats_0, feats_1, embed, coords, labels, masks, given = tensors
    answers = []
    for k in range(len(coords)):
        sparse, dense = sam.sam_prompt_encoder(
            points=(coords[k : k + 1], labels[k : k + 1]),
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


def _decoder_cases(sam: Any, pictures: Sequence[Picture]) -> Iterator[Case]:
    """Points, several points, boxes, an earlier answer as a mask, and objects of all these."""
    names = [t.name for t in SAM2_DECODER.inputs[3:]]
    masks_out = SAM2_DECODER.outputs[0].name
    side = sam.image_size
    rng = np.random.default_rng(0)
    for picture in pictures:
        features = _features(sam, stretched(picture, side)[None])

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
        earlier = _masks(sam, one)[masks_out][:, 1:2].clip(-32, 32)
        yield Case("a point and a mask", prompts([[1]], earlier))
        several = prompts([[1, -1, -1], [1, 0, -1], [2, 3, -1], [2, 3, 1]])
        chosen = np.array([0, 1, 0, 1], np.float32)
        given = {names[2]: np.repeat(earlier, 4, 0), names[3]: chosen}
        yield Case("four objects", {**several, **given})


def _checkpoint(source: str) -> tuple[Path, str | None]:
    """The checkpoint's file, and the config that its published name stands for."""
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES as PUBLISHED

    path = Path(source)
    if path.is_file():
        return path, {file: name for name, file in PUBLISHED.values()}.get(path.name)
    if source in PUBLISHED:
        from huggingface_hub import hf_hub_download

        config, file = PUBLISHED[source]
        try:
            return Path(hf_hub_download(repo_id=source, filename=file)), config
        except Exception as error:  # the hub raises many kinds
            raise ExportError(
                f"--sam2: {source} cannot be fetched ({short(error)}); name a file instead"
            ) from None
    raise ExportError(
        f"--sam2: got {source}, expected a checkpoint file (.pt) or one of {', '.join(PUBLISHED)}"
    )


def _config_file(checkpoint: Path, config: str | None) -> Path:
    import sam2

    if config is None or not Path(config).is_file():
        beside = [checkpoint.with_suffix(".yaml"), checkpoint.with_name("sam2.yaml")]
        packaged = sorted((Path(sam2.__file__).parent / "configs").glob("sam2*/*_hiera_?*.yaml"))
        if config is None:
            found = [path for path in beside if path.is_file()]
        else:
            found = [path for path in packaged if path.stem == Path(config).stem]
        if not found:
            names = ", ".join(path.stem for path in packaged if "_training" not in str(path))
            raise ExportError(
                f"--sam2-config: got {config or 'nothing'} and no sam2.yaml lies beside the "
                f"checkpoint; name a YAML file or one of {names}"
            )
        return found[0]
    return Path(config)


def _build(yaml: Path) -> Any:
    """The model that ``yaml`` describes, once it is sure that it names nothing but SAM2's parts."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    try:
        options: Any = OmegaConf.load(yaml).model
        OmegaConf.resolve(options)
        plain = OmegaConf.to_container(options)
    except Exception as error:  # yaml and omegaconf raise many kinds
        raise ExportError(
            f"--sam2-config: {yaml} is no config of a SAM2 ({short(error)})"
        ) from None
    foreign = [target for target in _targets(plain) if not _is_part_of_sam2(target)]
    if foreign:
        raise ExportError(
            f"--sam2-config: {yaml} would call {foreign[0]}, expected classes of sam2.modeling only"
        )
    options.compile_image_encoder = False
    try:
        model = instantiate(options, _recursive_=True)
    except Exception as error:  # whatever the model's constructors raise
        raise ExportError(f"--sam2-config: {yaml} cannot be built ({short(error)})") from None
    _check_supported(model, yaml)
    return model.eval().requires_grad_(False)


def _targets(node: object) -> Iterator[str]:
    """Every ``_target_`` in a config, at any depth."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _is_part_of_sam2(target: str) -> bool:
    """Whether ``target`` is a layer that one of sam2's own modules defines.

    The dotted name must be where the class was defined: hydra would also follow it through the
    modules that those modules import, to anything.
    """
    from hydra.utils import get_object

    if not target.startswith("sam2.modeling."):
        return False
    try:
        found = get_object(target)
    except Exception:  # not there, or not importable
        return False
    return (
        isinstance(found, type)
        and issubclass(found, nn.Module)
        and target == f"{found.__module__}.{found.__qualname__}"
    )


def _check_supported(model: Any, yaml: Path) -> None:
    from sam2.modeling.sam2_base import SAM2Base

    if not isinstance(model, SAM2Base):
        raise ExportError(f"--sam2-config: {yaml} builds a {type(model).__name__}, not a SAM2Base")
    decoder, encoder = model.sam_mask_decoder, model.image_encoder
    wanted = {
        "backbone_stride: 16": model.backbone_stride == 16,
        "use_high_res_features_in_sam: true": model.use_high_res_features_in_sam,
        "pred_obj_scores: true": model.pred_obj_scores,
        f"{MASKS_PER_PROMPT - 1} multimask outputs": decoder.num_mask_tokens == MASKS_PER_PROMPT,
        "scalp: 1": encoder.scalp == 1,
        "four levels in its neck": len(encoder.neck.convs) == 4,
        "fuse_type: sum": encoder.neck.fuse_type == "sum",
    }
    for setting, met in wanted.items():
        if not met:
            raise ExportError(f"--sam2-config: {yaml} differs from SAM2's own: needs {setting}")
