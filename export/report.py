"""What the exporter says about each graph while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from export.to_onnx import OnnxFile
    from export.verify import Verification


def show(console: Console, onnx: OnnxFile, checked: Verification) -> None:
    """Print the file's contents and the largest differences of every output from torch."""
    from rich.table import Table

    stored = f" ({onnx.weights_fp16 / 1e6:.2f} M in 16 bit)" if onnx.weights_fp16 else ""
    weights = f"{onnx.weights / 1e6:.2f} M weights{stored}"
    console.print(
        f"[bold]{checked.model}[/]: {onnx.nodes} nodes, {weights}, {len(onnx.data) / 1e6:.1f} MB; "
        f"{sum(checked.cases.values())} runs beside torch, "
        f"tolerance {checked.tolerance:.0e} of the largest value",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
    table.add_column("output", no_wrap=True)
    table.add_column("")
    columns = ["max abs", "relative", "cosine"]
    if checked.unrounded:
        columns += ["unrounded: abs", "relative"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, found in checked.outputs.items():
        row = [f"{found.max_abs:.1e}", f"{found.max_rel:.1e}", f"{found.cosine:.6f}"]
        if checked.unrounded:
            plain = checked.unrounded[name]
            row += [f"{plain.max_abs:.1e}", f"{plain.max_rel:.1e}"]
        table.add_row(name, "[red]OFF[/]" if name in checked.off else "ok", *row)
    console.print(table)
