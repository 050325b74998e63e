"""SAM2: a config and a checkpoint -> two graphs, the image encoder and the mask decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from export.checkpoints import check_numbers, read_torch_file, sha256_of, short, unwrapped
from export.errors import ExportError
from export.graph import Graph, Loaded
from export.sam2_decoder import Decoder
from export.sam2_encoder import Encoder
from export.sam2_reference import Reference
from markcut.contracts import MASKS_PER_PROMPT, SAM2_DECODER, SAM2_ENCODER
from markcut.manifest import Checkpoint

_MOST_SIDE = 4096  # attention over all of its places is beyond most memories


def load(source: str, *, config: str | None = None) -> Loaded:
    """The model of the checkpoint file or hub id ``source``.

    ``config`` is a YAML file or the name of a config in the sam2 package; without it, the YAML
    file beside the checkpoint (of its name, or ``sam2.yaml``), else the config that the
    checkpoint's published name stands for. Raises :class:`ExportError`.
    """
    path, published = _checkpoint(source)
    weights = _weights(path)
    yaml = _config_file(path, config or published)
    model = _build(yaml)
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
    check_numbers(model, source=path, flag="--sam2")
    return Loaded(
        origin=Checkpoint(
            name=source if published == source else path.name, sha256=sha256_of(path)
        ),
        model=model,
        sizes={"S": model.image_size, "C": model.hidden_dim},
        graphs=graphs,
    )


def graphs(sam: Any) -> list[Graph]:
    """Both graphs; what upstream's encoder says of a picture is computed once for both."""
    reference = Reference(sam)
    return [encoder_graph(sam, reference=reference), decoder_graph(sam, reference=reference)]


def encoder_graph(sam: Any, *, reference: Reference | None = None) -> Graph:
    """The graph from the picture to the decoder's three feature maps."""
    reference = reference or Reference(sam)
    return Graph(
        spec=SAM2_ENCODER.resolve({"S": sam.image_size, "C": sam.hidden_dim}),
        module=Encoder(sam),
        reference=reference.features_of_feeds,
        cases=reference.encoder_cases,
    )


def decoder_graph(sam: Any, *, reference: Reference | None = None) -> Graph:
    """The graph from one picture's features and prompts of N objects to their masks."""
    reference = reference or Reference(sam)
    return Graph(
        spec=SAM2_DECODER.resolve({"S": sam.image_size, "C": sam.hidden_dim}),
        module=Decoder(sam),
        reference=reference.masks,
        cases=reference.decoder_cases,
    )


def check_source(source: str) -> None:
    """Raise :class:`ExportError` unless ``source`` is a file or a published hub id."""
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES as PUBLISHED

    path = Path(source)
    if not path.is_file() and source not in PUBLISHED:
        came = f"the folder {source}" if path.is_dir() else source
        raise ExportError(
            f"--sam2: got {came}, expected a checkpoint file of the sam2 project (.pt; "
            f"transformers' format is another one) or one of {', '.join(PUBLISHED)}"
        )


def _checkpoint(source: str) -> tuple[Path, str | None]:
    """The checkpoint's file, and the config that its published name stands for."""
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES as PUBLISHED

    check_source(source)
    path = Path(source)
    if path.is_file():
        return path, {file: name for name, file in PUBLISHED.values()}.get(path.name)
    from huggingface_hub import hf_hub_download

    config, file = PUBLISHED[source]
    try:
        return Path(hf_hub_download(repo_id=source, filename=file)), config
    except Exception as error:  # the hub raises many kinds
        raise ExportError(
            f"--sam2: {source} cannot be fetched ({short(error)}); name a file instead"
        ) from None


def _weights(path: Path) -> dict[str, Any]:
    """The weights in ``path``: under ``model`` as published, or a plain ``state_dict``."""
    content = read_torch_file(path, flag="--sam2")
    found = content.get("model", content) if isinstance(content, dict) else None
    weights = unwrapped(found) if isinstance(found, dict) else {}
    if "image_encoder.trunk.patch_embed.proj.weight" not in weights:
        sam = "image_encoder.patch_embed.proj.weight" in weights
        raise ExportError(
            f"--sam2: {path} holds {'a SAM of the first generation' if sam else 'no SAM2'}; name "
            "a checkpoint of SAM2 or SAM2.1 (.pt)"
        )
    return weights


def _config_file(checkpoint: Path, config: str | None) -> Path:
    import sam2

    if config is not None and Path(config).is_file():
        return Path(config)
    packaged = sorted((Path(sam2.__file__).parent / "configs").glob("sam2*/*_hiera_?*.yaml"))
    if config is None:
        came = "nothing, and no sam2.yaml lies beside the checkpoint"
        beside = [checkpoint.with_suffix(".yaml"), checkpoint.with_name("sam2.yaml")]
        found = [path for path in beside if path.is_file()]
    else:
        came = config
        name = Path(config).name.removesuffix(".yaml")  # a suffix would begin at "sam2."
        found = [path for path in packaged if path.stem == name]
    if not found:
        names = ", ".join(path.stem for path in packaged if "_training" not in str(path))
        raise ExportError(
            f"--sam2-config: got {came}; name a YAML file that is there, or one of {names}"
        )
    return found[0]


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
    if OmegaConf.select(options, "image_encoder.trunk.weights_path") is not None:
        del options.image_encoder.trunk.weights_path  # a file that nobody has looked into
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
    decoder, encoder, side = model.sam_mask_decoder, model.image_encoder, model.image_size
    wanted = {
        f"an image_size that is a multiple of 32, up to {_MOST_SIDE}": isinstance(side, int)
        and 0 < side <= _MOST_SIDE
        and side % 32 == 0,
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
