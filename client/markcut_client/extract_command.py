"""``markcut extract``: its options, checked before anything is loaded."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from markcut_client.console import say
from markcut_client.cutouts import BACKGROUNDS
from markcut_client.engine_options import (
    add_bundle,
    add_runtime_options,
    add_server,
    add_server_options,
    check_engine_options,
    naming_flags,
    open_client,
)
from markcut_client.errors import ParameterError
from markcut_client.extract_run import Run
from markcut_client.output_folder import FORMATS, OutputFolder
from markcut_client.outputs import SUFFIXES
from markcut_client.parameters import check_concurrency, request_parameters
from markcut_client.picture_list import list_others, list_pictures, path_argument
from markcut_client.whole_files import check_writable_file

_DESCRIPTION = """\
Finds the drawn marks on every picture, tells what each one is, and cuts out the object it means.
A table of what was found goes to standard output; --out keeps the results."""

_EPILOG = """\
files under --out, for a picture photo.jpg:
  photo.json          what was found: marks, points, masks as COCO run lengths, reasons
                      (--format labelme: labelme's file; coco: one annotations.json for the run)
  photo_0.png ...     the cut-out of every object, in the order of the results
  photo_overlay.png   with --overlay: marks, points and objects drawn onto the picture
Pictures with equal names get photo-2 and so on. Files that have such a name already are replaced
only with --overwrite, the pictures of the run never.

exit status: 0 all done, 1 some pictures failed (they are listed at the end), 2 wrong use,
130 interrupted, 143 terminated; what was done until then is kept.

examples:
  markcut extract photo.jpg
  markcut extract photos/ --out results --overlay --sheet results/sheet.png
  markcut extract *.jpg --json | jq '.objects[].mark.kind'
  markcut extract photos/ --server grpc://localhost:8001 --concurrency 8 --out results"""

_REQUEST = ("seed", "max_marks", "mark_threshold", "points_per_mark", "prompt")
_CONCURRENCY = 4


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "extract",
        help="find the marked objects of pictures and cut them out",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="+",
        type=path_argument,
        help="a JPEG, PNG, WebP or BMP file, or a folder of them; /dev/stdin for a pipe",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the result JSON of every picture, one per line, instead of the table; a "
        'picture that failed prints {"picture": ..., "error": ...}',
    )
    _add_output_options(parser.add_argument_group("output"))
    _add_engine_options(parser.add_argument_group("engine"))
    server = parser.add_argument_group("server")
    server.add_argument(
        "--concurrency",
        metavar="N",
        type=int,
        help=f"requests under way at once, for --server; by default {_CONCURRENCY}",
    )
    add_server_options(server)
    _add_request_options(parser.add_argument_group("what to look for"))
    parser.set_defaults(run=run)


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", metavar="DIR", type=path_argument, help="folder for the results")
    group.add_argument("--format", choices=FORMATS, help="of the results; by default json")
    group.add_argument(
        "--background", choices=BACKGROUNDS, help="of the cut-outs; by default white"
    )
    group.add_argument("--overlay", action="store_true", help="write an overlay of every picture")
    group.add_argument(
        "--sheet",
        metavar="FILE",
        type=path_argument,
        help="write overlays and cut-outs of all pictures (the first 60) as one; its name says "
        "whether PNG, JPEG or WebP",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace files that have a result's name"
    )


def _add_engine_options(group: argparse._ArgumentGroup) -> None:
    where = group.add_mutually_exclusive_group()
    add_bundle(where)
    add_server(where)
    add_runtime_options(group)


def _add_request_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", metavar="N", type=int, help="of the point sampler's choices")
    group.add_argument("--max-marks", metavar="N", type=int, help="keep the N best marks, 1 to 32")
    group.add_argument(
        "--mark-threshold",
        metavar="P",
        type=float,
        help="lowest confidence of a mark, 0 to 1: lower finds more, and more that is none",
    )
    group.add_argument(
        "--points-per-mark", metavar="N", type=int, help="prompts for each object, 1 to 6"
    )
    group.add_argument("--prompt", metavar="TEXT", help="one of the bundle's texts for a mark")


def run(options: argparse.Namespace) -> int:
    """Check all options, open the engine, process the pictures; the exit status."""
    with naming_flags(*_REQUEST, "runtime", "device", "precision", "threads", "concurrency"):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    parameters = {name: getattr(options, name) for name in _REQUEST}
    request_parameters(**parameters)
    _check_combinations(options)
    _name_others(options.pictures)
    pictures = list_pictures(options.pictures)
    folder = _open_folder(options, pictures)
    if options.sheet is not None:
        check_writable_file(options.sheet, overwrite=options.overwrite)
        if options.sheet.resolve() in {picture.resolve() for picture in pictures}:
            raise ParameterError(f"--sheet {options.sheet}: that is one of the pictures")
        if folder is not None and folder.owns(options.sheet):
            raise ParameterError(
                f"--sheet {options.sheet}: a result may take this name; name another file"
            )
    concurrency = 1 if options.server is None else options.concurrency or _CONCURRENCY
    check_concurrency(concurrency)
    with open_client(options) as client:
        outcomes = client.extract_many(map(str, pictures), concurrency=concurrency, **parameters)
        this = Run(
            pictures,
            folder=folder,
            sheet=options.sheet,
            json_lines=options.json,
            overwrite=options.overwrite,
        )
        with contextlib.closing(outcomes):
            return this.process(outcomes)


def _check_combinations(options: argparse.Namespace) -> None:
    if options.out is None:
        for flag in ("format", "background", "overlay"):
            if getattr(options, flag):
                raise ParameterError(f"--{flag} is about files: name their folder with --out DIR")
    if options.sheet is not None and options.sheet.suffix.lower() not in SUFFIXES:
        raise ParameterError(
            f"--sheet {options.sheet}: expected a name that ends in {', '.join(SUFFIXES)}"
        )
    check_engine_options(options)
    if options.server is None and options.concurrency is not None:
        raise ParameterError("--concurrency is for --server: this process runs one at a time")
    if options.concurrency is not None:
        check_concurrency(options.concurrency)


def _name_others(paths: Sequence[Path]) -> None:
    others = list_others(paths)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        say(f"passed over: {others[0]}{more}; convert to JPEG or PNG what shall be looked at")


def _open_folder(options: argparse.Namespace, pictures: list[Path]) -> OutputFolder | None:
    if options.out is None:
        return None
    return OutputFolder(
        options.out,
        pictures,
        format=options.format or "json",
        background=options.background or "white",
        with_overlay=options.overlay,
        overwrite=options.overwrite,
    )
