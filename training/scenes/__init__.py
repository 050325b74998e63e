"""Synthetic scenes: pictures on which somebody marked objects, with the exact truth."""

from training.scenes.generate import generate
from training.scenes.scene import Canvas, Mask, Picture, Scene, SceneMark

__all__ = ["Canvas", "Mask", "Picture", "Scene", "SceneMark", "generate"]
