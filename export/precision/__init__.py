"""Bundles in other precisions: fp16 and bf16 typed in the graph, int8 calibrated on scenes.

What a graph loses by it is measured on masks, and what it cannot afford to lose stays in fp32.
"""
