"""Does a bundle compute what the upstream projects compute? The face of the whole comparison.

Two questions, each with its own half of this package: whether a bundle agrees with another one of
another precision (:mod:`export.fidelity.agreement`), and whether it agrees with the upstream
projects' own user-level calls (:mod:`export.fidelity.gate`, which needs torch and is not imported
here).
"""

from __future__ import annotations

from export.fidelity.agreement import (
    HeatAgreement,
    MarkAgreement,
    MaskAgreement,
    ask_clipseg,
    ask_sam2,
    ask_yolo,
    heat_agreement,
    mark_agreement,
    mask_agreement,
    open_models,
)
from export.fidelity.pictures import NamedPicture, fidelity_pictures, read_pictures

__all__ = [
    "HeatAgreement",
    "MarkAgreement",
    "MaskAgreement",
    "NamedPicture",
    "ask_clipseg",
    "ask_sam2",
    "ask_yolo",
    "fidelity_pictures",
    "heat_agreement",
    "mark_agreement",
    "mask_agreement",
    "open_models",
    "read_pictures",
]
