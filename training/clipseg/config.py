"""The size of the reduced CLIPSeg: the published architecture at a quarter of its width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markcut.contracts import CLIPSEG_SIDE

if TYPE_CHECKING:
    from transformers import CLIPSegConfig

VOCABULARY = 49408  # CLIP's own, whole


def demo_config() -> CLIPSegConfig:
    """About 6 million parameters, half of them the text embedding; sees 352 pixels natively."""
    from transformers import CLIPSegConfig

    return CLIPSegConfig(
        vision_config={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
            "image_size": CLIPSEG_SIDE,
            "patch_size": 16,
        },
        text_config={
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vocab_size": VOCABULARY,
        },
        projection_dim=512,
        extract_layers=[1, 3, 5],  # after the second, fourth and last block
        reduce_dim=64,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=256,
        use_complex_transposed_convolution=True,
    )
