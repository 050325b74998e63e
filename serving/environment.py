"""The local server's own environment: an old tritonserver, and the Python that it needs.

The wheel of ``nvidia-pytriton`` carries tritonserver 2.51 (24.10). Its Python backend understands
NumPy 1 alone, so it lives in an environment of its own. Everything else that touches a picture's
bytes is installed there in the very versions of the environment that asks: OpenCV's rounding
differs from version to version, and answers should not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from serving.errors import ServingError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".triton"

_TRITON = "nvidia-pytriton==0.7.0"
_SAME = ("onnxruntime", "opencv-python-headless", "openvino", "pillow", "pycocotools")
_PYTHONS = ((3, 10), (3, 12))  # NumPy 1.26 and our own packages meet here

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "536870912"}
"""Variables of glibc that keep one picture's memory for the next one.

A step's process holds little else. Giving the memory back, and paying for each page again, took
a third of the time of decoding, and of finding the ink.
"""


@dataclass(frozen=True)
class Environment:
    """Where the server's parts are, and the variables that its processes need."""

    server: Path
    backends: Path
    variables: dict[str, str]


def prepare(*, folder: Path = FOLDER) -> Environment:
    """The environment in ``folder``, made or brought up to date where necessary.

    Raises :class:`ServingError` where it cannot be had.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise ServingError(
            f"the local Triton exists for Linux on x86-64, this is {sys.platform} on "
            f"{platform.machine()}; use `docker compose up`"
        )
    if not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        wanted = " to ".join(".".join(map(str, one)) for one in _PYTHONS)
        raise ServingError(
            f"the local Triton needs Python {wanted}, this is {platform.python_version()}; "
            f"make the environment with another one: make clean setup PYTHON=python3.11"
        )
    library = _library_folder()
    overrides = _overrides()
    stamp = folder / ".ready"
    ours = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[tool.")[0]
    wanted = "\n".join((_TRITON, sys.version, overrides, ours))
    state = hashlib.sha256(wanted.encode()).hexdigest()
    with locked(folder):
        if not stamp.exists() or stamp.read_text() != state:
            stamp.unlink(missing_ok=True)
            _install(folder, overrides)
            stamp.write_text(state)
    return _environment(folder, library)


def _environment(folder: Path, library: Path | None) -> Environment:
    triton = packages(folder) / "pytriton" / "tritonserver"
    variables = dict(os.environ)
    variables.pop("PYTHONHOME", None)
    variables.pop("PYTHONPATH", None)
    # the backend's process runs the first python3 that it finds
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name, value in ALLOCATOR.items():
        variables.setdefault(name, value)
    if library is not None:
        known = variables.get("LD_LIBRARY_PATH")
        variables["LD_LIBRARY_PATH"] = f"{library}{os.pathsep}{known}" if known else str(library)
    return Environment(
        server=triton / "bin" / "tritonserver",
        backends=triton / "backends",
        variables=variables,
    )


def find_uv() -> str:
    """The installer's path; ServingError where there is none."""
    uv = shutil.which(
        "uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    )
    if uv is None:
        raise ServingError("the local Triton is installed with uv, which is not here: make setup")
    return uv


def _install(folder: Path, overrides: str) -> None:
    uv = find_uv()
    python = folder / "bin" / "python"
    listed = folder / "overrides.txt"
    listed.write_text(overrides)
    run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
    install = (uv, "pip", "install", "--quiet", "--python", str(python))
    ours = f"{ROOT}[onnxruntime,openvino]"
    run(*install, "--override", str(listed), "-e", ours, "numpy")
    run(*install, "--no-deps", _TRITON)  # its dependencies are for its own Python interface
    triton = packages(folder) / "pytriton" / "tritonserver"
    stub = "triton_python_backend_stub"
    kind = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = triton / "backends" / "python" / stub
    fresh = target.with_suffix(".new")  # a server that runs the old one keeps it
    shutil.copy2(triton / "python_backend_stubs" / kind / stub, fresh)
    os.replace(fresh, target)


def run(*command: str) -> None:
    """Run one step of an installation; ServingError with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ServingError(
            f"`{' '.join(command[:3])}` failed while installing the local Triton: "
            f"{' '.join(said)[-600:] or f'exit status {done.returncode}'}; "
            "check the package index that uv uses, and try again"
        )


def _overrides() -> str:
    lines = ["numpy>=1.26,<2"]
    for name in _SAME:
        try:
            lines.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return "\n".join(lines) + "\n"


def _library_folder() -> Path | None:
    """Where the interpreter's shared library lies; None where the loader finds it by itself."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    own = sysconfig.get_config_var("LIBDIR")
    if own and (Path(own) / name).exists():
        return Path(own)
    known = subprocess.run(
        ["ldconfig", "-p"], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"},
    )  # fmt: skip
    if name in known.stdout:
        return None
    raise ServingError(
        f"{name} is not here, and Triton's Python backend needs it; install it (Debian: "
        f"libpython{sys.version_info.major}.{sys.version_info.minor}) or make the environment "
        "with a Python that has it"
    )


def packages(folder: Path) -> Path:
    """Where the packages of the environment in ``folder`` lie."""
    return (
        folder
        / "lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / "site-packages"
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One installation at a time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # uv has a .lock of its own there
        with open(folder / ".markcut.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ServingError(f"{folder}: cannot be written ({error.strerror})") from None
