"""Facts about this machine that decide how fast Markcut runs; read, never changed."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FLAGS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",  # from here on: ARM
    "asimddp",
    "bf16",
    "i8mm",
)
"""Processor features that inference runtimes have special kernels for."""

_COMMAND_SECONDS = 5.0

# Jetson Linux releases and the JetPack that each belongs to, the more exact ones last
_JETPACKS = {
    "35": "5", "36": "6", "38": "7", "39": "7",
    "35.2": "5.1", "35.3": "5.1.1", "35.4": "5.1.2", "35.5": "5.1.3", "35.6": "5.1.4 or later",
    "36.3": "6.0", "36.4": "6.2", "36.4.0": "6.1", "36.4.4": "6.2.1", "36.5": "6.2.2",
    "38.2": "7.0", "38.4": "7.1", "39.2": "7.2",
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """This machine; what could not be found out is empty or 0.

    ``cores`` are those that this process may use, a container's quota included; ``memory`` and
    ``memory_available`` are bytes, a container's limit included.
    """

    python: str
    platform: str
    cpu: str
    cores: int
    cpu_flags: tuple[str, ...]
    memory: int
    memory_available: int
    gpus: tuple[str, ...]
    jetson: str
    power_mode: str


def describe_machine(root: Path = Path("/")) -> Machine:
    """This machine, from files under ``root`` and two commands that get a few seconds each."""
    cpuinfo = _read(root / "proc/cpuinfo")
    flags = set(_value(cpuinfo, "flags").split()) | set(_value(cpuinfo, "Features").split())
    memory, available = _memory(root)
    jetson = _jetson(root)
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_value(cpuinfo, "model name") or platform.processor() or platform.machine(),
        cores=_cores(root),
        cpu_flags=tuple(flag for flag in _FLAGS if flag in flags),
        memory=memory,
        memory_available=available,
        gpus=_gpus(root),
        jetson=jetson,
        power_mode=_power_mode(root) if jetson else "",
    )


def run_command(
    command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Exit status and standard output of ``command``; status None if it took too long.

    A command that hangs in a driver cannot be killed, so after the time is up nobody waits for
    it any more. What it wrote until then is returned.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    status: int | None = None
    try:
        output, _ = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
    return status, output.decode("utf-8", errors="replace")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _value(text: str, key: str) -> str:
    """The first value of ``key`` in lines of the form ``key : value``."""
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _cores(root: Path) -> int:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _memory(root: Path) -> tuple[int, int]:
    """Bytes in all and bytes free to use."""
    meminfo = _read(root / "proc/meminfo")
    total, available = (
        1024 * int((_value(meminfo, key) or "0").split()[0]) for key in ("MemTotal", "MemAvailable")
    )
    limit = _read(root / "sys/fs/cgroup/memory.max")
    if limit.isdigit() and int(limit) < total:
        used = _read(root / "sys/fs/cgroup/memory.current")
        total = int(limit)
        available = min(available, max(0, total - int(used if used.isdigit() else 0)))
    return total, available


def _gpus(root: Path) -> tuple[str, ...]:
    """Names of NVIDIA devices as the driver gives them; no proof that anything runs on them."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
        status, output = run_command([*query, "--format=csv,noheader"], seconds=_COMMAND_SECONDS)
        if status == 0:
            return tuple(line.strip() for line in output.splitlines() if line.strip())
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(name for folder in folders if (name := _value(_read(folder), "Model")))


def _jetson(root: Path) -> str:
    """Model and software of a Jetson, or nothing elsewhere; a container may show one of them."""
    model = _read(root / "proc/device-tree/model")
    release = _read(root / "etc/nv_tegra_release").partition("\n")[0].lstrip("# ")
    if not release and "jetson" not in model.lower():
        return ""
    return ", ".join(part for part in (model, _jetpack(release)) if part)


def _jetpack(release: str) -> str:
    """``JetPack 6.2 (L4T 36.4.3)`` for the first line of /etc/nv_tegra_release."""
    found = re.match(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    if found is None:
        return release
    linux = f"{found.group(1)}.{found.group(2)}"
    named = [name for start, name in _JETPACKS.items() if f"{linux}.".startswith(f"{start}.")]
    return f"JetPack {named[-1]} (L4T {linux})" if named else f"L4T {linux}"


def _power_mode(root: Path) -> str:
    """As ``nvpmodel`` names it; where that cannot be asked, the number that it last wrote down."""
    if shutil.which("nvpmodel"):
        status, output = run_command(["nvpmodel", "-q"], seconds=_COMMAND_SECONDS)
        if status == 0 and (mode := _value(output, "NV Power Mode")):
            return mode
    number = re.search(r"pmode:(\d+)", _read(root / "var/lib/nvpmodel/status"))
    return f"number {int(number.group(1))}" if number else ""
