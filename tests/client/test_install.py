"""What ``pip install ./client`` brings, by the metadata of what is installed here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest

_CLIENT = "markcut-client"
_BROUGHT = {
    "grpcio", "markdown-it-py", "mdurl", "numpy", "packaging", "pillow", "protobuf", "pygments",
    "python-rapidjson", "rich", "tritonclient", "typing-extensions", "urllib3",
}  # fmt: skip


def needed(name: str, found: dict[str, Distribution]) -> None:
    """Put all that ``name`` requires, without extras, into ``found``."""
    for requirement in distribution(name).requires or ():
        wanted, _, marker = requirement.partition(";")
        match = re.match(r"[A-Za-z0-9._-]+", wanted.strip())
        assert match is not None
        required = re.sub(r"[-_.]+", "-", match[0]).lower()
        if "extra" in marker or required in found:
            continue
        try:
            found[required] = distribution(required)
        except PackageNotFoundError:
            assert marker, required  # another Python's or another system's
            continue
        needed(required, found)


@pytest.fixture(scope="module")
def brought() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    try:
        needed(_CLIENT, found)
    except PackageNotFoundError:
        pytest.skip(f"{_CLIENT} is not installed, only found")
    return found


def megabytes(installed: Distribution) -> float:
    paths = [file.locate() for file in installed.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6  # type: ignore[attr-defined]


def test_nothing_heavy_comes_along(brought: dict[str, Distribution]) -> None:
    assert set(brought) <= _BROUGHT
    assert {"numpy", "pillow", "tritonclient", "grpcio", "urllib3"} <= set(brought)


def test_size_on_disk(
    brought: dict[str, Distribution], record_property: Callable[[str, object], None]
) -> None:
    sizes = {name: round(megabytes(installed), 1) for name, installed in brought.items()}
    record_property("megabytes", sizes)
    print(dict(sorted(sizes.items(), key=lambda item: -item[1])))
    # numpy alone has 60 to 75 MB on x86-64, most of it OpenBLAS; it is the user's in any case
    assert sum(size for name, size in sizes.items() if name != "numpy") <= 60


def test_importing_loads_little_more_than_numpy_and_pillow() -> None:
    """The time is told, not judged: it is the machine's; what is imported is ours."""
    code = (
        "import sys, time, numpy, PIL.Image; start = time.process_time(); import markcut_client;"
        "print(round(time.process_time() - start, 3));"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'grpc', 'tritonclient', 'google',"
        "'urllib3', 'rich', 'asyncio', 'rapidjson', 'pycocotools', 'markcut'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    seconds, modules = done.stdout.splitlines()
    print(f"import markcut_client: {seconds} s of CPU after numpy and Pillow")
    assert modules == "[]"
