"""The features of the last few pictures, so that another prompt on one costs no encoder."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from markcut.runners import Value

Features = Mapping[str, Value]
"""Arrays of one picture by name; read-only while they are remembered."""


class FeatureCache:
    """Holds the ``most`` pictures used last, by their bytes; safe from several threads."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._held: OrderedDict[bytes, Features] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def key(picture: NDArray[np.uint8]) -> bytes:
        """What stands for one picture: its encoded bytes, or its pixels."""
        return hashlib.sha256(np.ascontiguousarray(picture).data).digest()

    def get(self, key: bytes) -> Features | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: bytes, features: Features) -> None:
        with self._lock:
            self._held[key] = features
            self._held.move_to_end(key)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
