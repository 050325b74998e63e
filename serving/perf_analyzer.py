"""NVIDIA's perf_analyzer, which is no part of the server's wheel.

The x86-64 wheel of tritonclient 2.50 carries the program (newer ones do not, and the package
perf-analyzer is a placeholder for systems with a glibc before 2.38). It links CUDA's runtime, which
has a wheel of its own, and libb64, which the server's wheel brings along.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.environment import FOLDER, find_uv, locked, packages, prepare, run
from serving.errors import ServingError

_WHEELS = ("tritonclient==2.50.0", "nvidia-cuda-runtime-cu12==12.*")


@dataclass(frozen=True)
class Program:
    """Where the program is, and the variables that it needs."""

    path: Path
    variables: dict[str, str]


def prepare_perf_analyzer(*, folder: Path = FOLDER) -> Program:
    """The program in the server's environment ``folder``, installed there where it is missing.

    Raises :class:`ServingError` where it cannot be had.
    """
    variables = prepare(folder=folder).variables
    own = folder / "perf_analyzer"
    stamp, wanted = own / ".ready", "\n".join(_WHEELS)
    path = own / "bin" / "perf_analyzer"
    with locked(folder):
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            # no dependencies: the program needs none of the Python packages
            run(find_uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(own), *_WHEELS)
            if not path.is_file():
                raise ServingError(f"{_WHEELS[0]} holds no perf_analyzer for this machine")
            path.chmod(0o755)
            _link_b64(packages(folder) / "nvidia_pytriton.libs", own / "libb64.so.0d")
            stamp.write_text(wanted)
    libraries = [own, own / "nvidia" / "cuda_runtime" / "lib"]
    known = variables.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    joined = os.pathsep.join(filter(None, (*map(str, libraries), *known)))
    return Program(path, {**variables, "LD_LIBRARY_PATH": joined})


def _link_b64(folder: Path, link: Path) -> None:
    """``link`` to the server's libb64, whose name in a wheel has a hash in it."""
    found = sorted(folder.glob("libb64-*.so*"))
    if not found:
        raise ServingError(f"{folder} holds no libb64, which perf_analyzer needs")
    link.unlink(missing_ok=True)
    link.symlink_to(found[0].resolve())
