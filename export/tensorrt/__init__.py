"""Bundles to TensorRT engines: what versions can do, graphs prepared for them, builds and proofs.

TensorRT itself is imported when an engine is built or run, and not before.
"""
