"""A step or a network of Markcut inside Triton: which one, the model's name says.

The same file serves every Python model of the repository; the work is done by the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from markcut.triton_backend import open_model


class TritonPythonModel:
    """The face that Triton's Python backend asks for."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._model = open_model(args, pb_utils)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return self._model.execute(requests)

    def finalize(self) -> None:
        self._model.finalize()
