"""``markcut doctor``: what this machine can run, as the engine finds out."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from markcut_client.bundles import DEMO, VARIABLE, default_bundle
from markcut_client.console import print_table, printable, stderr_console
from markcut_client.doctor_server import report_server
from markcut_client.engine_options import (
    add_server,
    add_server_options,
    check_engine_options,
    naming_flags,
    server_options,
)
from markcut_client.picture_list import path_argument
from markcut_client.transports.embedded import import_engine

if TYPE_CHECKING:
    from rich.table import Table

_EPILOG = """\
exit status: 0 the chosen runtime works and every model of the bundle ran, or the server answers;
1 something did not; 2 wrong use."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine can run, proved by running it",
        description="Runs one real inference on every runtime that is installed, each in a process"
        " of its own, and on every model of the bundle; tells versions, precision, memory and"
        " power mode. Takes a few seconds. With --server it looks at that server instead: is it"
        " reachable and ready, which models has it, does one real inference succeed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--bundle",
        metavar="DIR",
        type=path_argument,
        help=f"folder of the bundle to try; by default what {VARIABLE} names, else {DEMO} if it"
        " is there, else none",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the whole report as one JSON object"
    )
    add_server(where)
    add_server_options(parser.add_argument_group("server"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report; 0 when the machine or the server is healthy, 1 when it is not."""
    with naming_flags():
        check_engine_options(options)
        if options.server is not None:
            settings = server_options(options)
            return report_server(
                options.server, settings, timeout=options.timeout, as_json=options.json
            )
    diagnose = import_engine("markcut.doctor").diagnose
    with stderr_console().status("trying what is installed here"):
        report = diagnose(options.bundle or default_bundle()).to_json()
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        for line in _machine_lines(report):
            print(printable(line))
        print_table(_runtimes(report))
        if report["bundle"] is not None:
            _print_bundle(report["bundle"])
        print(_verdict(report))
    return 0 if report["healthy"] else 1


def _machine_lines(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    memory = f"{machine['memory'] / 2**30:.1f} GiB memory"
    memory += f" ({machine['memory_available'] / 2**30:.1f} free)"
    flags = " ".join(machine["cpu_flags"])
    lines = [
        f"markcut {report['version']}, Python {machine['python']}, {machine['platform']}",
        f"{machine['cpu']}, {machine['cores']} cores{f' ({flags})' if flags else ''}, {memory}",
    ]
    if machine["jetson"]:
        power = f", power mode {machine['power_mode']}" if machine["power_mode"] else ""
        lines.append(f"{machine['jetson']}{power}")
    lines += [f"GPU: {gpu}" for gpu in machine["gpus"]]
    lines.append(f"compiled models (OpenVINO): {report['cache']}")
    return lines


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = column.endswith("ms")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def _runtimes(report: dict[str, Any]) -> Table:
    table = _table("runtime", "version", "device", "precision", "status", "ms", "")
    ran = [c for c in report["runtimes"] if c["status"] == "ran" and c["runtime"] == report["auto"]]
    for check in report["runtimes"]:
        chosen = check in ran[:1]
        table.add_row(
            check["runtime"],
            check["version"],
            check["device"],
            check["precision"],
            check["status"],
            f"{check['ms']:.0f}" if check["status"] == "ran" else "",
            printable(check["problem"]) or ("chosen by auto" if chosen else ""),
        )
    return table


def _print_bundle(bundle: dict[str, Any]) -> None:
    size = f", {bundle['bytes'] / 1e6:.1f} MB" if bundle["bytes"] else ""
    print(printable(f"bundle {bundle['name'] or 'unusable'}: {bundle['folder']}{size}"))
    if bundle["problem"]:
        print(printable(f"  {bundle['problem']}"))
    models = [*bundle["models"], *bundle.get("engines", ())]
    if models:
        table = _table("model", "runtime", "device", "precision", "load ms", "infer ms", "")
        for model in models:
            ran = not model["problem"]
            table.add_row(
                model["model"],
                model["runtime"],
                model["device"],
                model["precision"],
                f"{model['load_ms']:.0f}" if ran else "",
                f"{model['infer_ms']:.0f}" if ran else "",
                printable(model["problem"]),
            )
        print_table(table)


def _verdict(report: dict[str, Any]) -> str:
    if not report["auto"]:
        return "not ready: no inference runtime is installed (onnxruntime or openvino)"
    if not report["healthy"]:
        return "not ready: see the problems above"
    tried = "" if report["bundle"] else "; no bundle was tried, name one with --bundle DIR"
    return f"ready: markcut runs on {report['auto']}{tried}"
