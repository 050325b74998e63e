"""What an export was made with, for a bundle's manifest."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_TOOLS = ("torch", "onnx", "onnxslim", "onnxruntime", "transformers", "sam2")
_ULTRALYTICS = ("ultralytics-opencv-headless", "ultralytics")  # one package, two distributions


def tool_versions() -> dict[str, str]:
    """The installed version of every package that an export goes through."""
    versions = {tool: version(tool) for tool in _TOOLS}
    for distribution in _ULTRALYTICS:
        try:
            versions["ultralytics"] = version(distribution)
            break
        except PackageNotFoundError:
            continue
    return versions
