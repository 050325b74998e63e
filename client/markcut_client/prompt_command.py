"""``markcut prompt``: cut out what points and boxes on the command line mean."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markcut_client.console import print_table, printable, say
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
from markcut_client.errors import (
    InferenceError,
    OutputError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.output_folder import OutputFolder
from markcut_client.picture_list import path_argument
from markcut_client.prompted import Prompted

_DESCRIPTION = """\
Cuts out the objects that your points and boxes mean; no mark is looked for. Coordinates are
pixels of the upright picture, from its upper left corner."""

_EPILOG = """\
--point, --box and --next are read in their order: all before the first --next describe one
object, all up to the second the next object, and so on.

files under --out, for a picture photo.jpg:
  photo.json          masks as COCO run lengths, boxes, areas, scores
  photo_0.png ...     the cut-out of every object, in their order

Files that have such a name already are replaced only with --overwrite, the picture never.

exit status: 0 done, 1 the picture cannot be used, the engine failed on it or its files cannot be
written, 2 wrong use.

examples:
  markcut prompt photo.jpg --point 410,300
  markcut prompt photo.jpg --point 410,300 --point 80,90,0 --out results
  markcut prompt photo.jpg --box 300,200,520,410 --next --point 40,60 --server grpc://localhost"""


@dataclass
class _Object:
    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, ...] | None = None


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "prompt",
        help="cut out what your own points and boxes mean",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "picture", metavar="PICTURE", type=path_argument, help="a JPEG, PNG, WebP or BMP file"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result JSON instead of the table"
    )
    prompts = parser.add_argument_group("what to cut out")
    prompts.add_argument(
        "--point",
        metavar="X,Y[,LABEL]",
        dest="prompts",
        action="append",
        type=lambda text: ("point", text),
        help="a point on the object, or with label 0 one that is not on it; can be repeated",
    )
    prompts.add_argument(
        "--box",
        metavar="X0,Y0,X1,Y1",
        dest="prompts",
        action="append",
        type=lambda text: ("box", text),
        help="a box around the object",
    )
    prompts.add_argument(
        "--next",
        dest="prompts",
        action="append_const",
        const=("next", ""),
        help="what follows describes another object",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", type=path_argument, help="folder for the results")
    output.add_argument(
        "--background", choices=BACKGROUNDS, help="of the cut-outs; by default white"
    )
    output.add_argument(
        "--overwrite", action="store_true", help="replace files that have a result's name"
    )
    engine = parser.add_argument_group("engine")
    where = engine.add_mutually_exclusive_group()
    add_bundle(where)
    add_server(where)
    add_runtime_options(engine)
    add_server_options(parser.add_argument_group("server"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask for the objects, print them, write them; the exit status."""
    with naming_flags("runtime", "device", "precision", "threads"):
        objects = _objects(options.prompts or ())
        check_engine_options(options)
        if options.background is not None and options.out is None:
            raise ParameterError("--background is about files: name their folder with --out DIR")
        folder = _open_folder(options)
        try:
            with open_client(options) as client:
                found = client.prompt(
                    str(options.picture),
                    points=[one.points for one in objects],
                    labels=[one.labels for one in objects],
                    boxes=[one.box for one in objects],
                )
        except (PictureError, InferenceError, TransportError) as error:
            say(str(error))
            return 1
    status = 0 if folder is None else _write(folder, found)
    if options.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        _print(found)
    return status


def _objects(prompts: Sequence[tuple[str, str]]) -> list[_Object]:
    objects = [_Object()]
    for kind, text in prompts:
        one = objects[-1]
        if kind == "next":
            objects.append(_Object())
        elif kind == "point":
            numbers = _numbers("--point", text, (2, 3), "X,Y or X,Y,LABEL")
            label = numbers[2] if len(numbers) == 3 else 1.0
            if label not in (0, 1):
                raise ParameterError(
                    f"--point {text}: got the label {label:g}, expected 1 for on the object or 0 "
                    "for not"
                )
            one.points.append((numbers[0], numbers[1]))
            one.labels.append(int(label))
        elif one.box is not None:
            raise ParameterError(
                f"--box {text}: the object has a box already; begin another with --next"
            )
        else:
            one.box = tuple(_numbers("--box", text, (4,), "X0,Y0,X1,Y1"))
    for index, one in enumerate(objects):
        if not one.points and one.box is None:
            which = "" if len(objects) == 1 else f"object {index}: "
            raise ParameterError(f"{which}got no prompt, expected a --point or a --box")
        if one.box is None and 1 not in one.labels:
            raise ParameterError(
                f"object {index}: give it a point that is on the object, or a box; got none but "
                "points that are not on it"
            )
    return objects


def _numbers(flag: str, text: str, lengths: tuple[int, ...], wanted: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths or not all(map(math.isfinite, numbers)):
        raise ParameterError(f"{flag} {text}: expected {wanted}, numbers in pixels")
    return numbers


def _open_folder(options: argparse.Namespace) -> OutputFolder | None:
    if options.out is None:
        return None
    return OutputFolder(
        options.out,
        [options.picture],
        background=options.background or "white",
        overwrite=options.overwrite,
    )


def _write(folder: OutputFolder, found: Prompted) -> int:
    """Write the answer, which is printed all the same where it cannot be; the exit status."""
    try:
        folder.write_prompted(0, found)
    except (OutputError, PictureError) as error:
        say(str(error))
        return 1
    say(f"results are in {folder.folder}")
    for path in folder.leftovers():
        say(f"not of this run, though named like a result: {path}")
    return 0


def _print(found: Prompted) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("object", "box x, y, width, height", "area", "score"):
        table.add_column(column, justify="right")
    for index, one in enumerate(found):
        place = ", ".join(map(str, one.bbox)) if one.area else "nothing there"
        table.add_row(str(index), place, str(one.area), f"{one.score:.2f}")
    print(printable(f"{found.picture}, {found.width} x {found.height}"))
    print_table(table)
