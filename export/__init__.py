"""``python -m export``: checkpoints of the three upstream projects -> one ONNX bundle.

A module per network (:mod:`~export.clipseg`, :mod:`~export.yolo11_seg`, :mod:`~export.sam2`) loads
its checkpoint and rebuilds it as a lean torch module; :mod:`~export.to_onnx` writes that down;
:mod:`~export.verify` runs the file beside the upstream project's own code. Names, dtypes and dims
all come from :mod:`markcut.contracts`.
"""
