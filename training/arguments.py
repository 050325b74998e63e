"""Arguments that all trainers share, and what becomes of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError

if TYPE_CHECKING:
    import torch


def add_common(parser: argparse.ArgumentParser, *, name: str, minutes: float, batch: int) -> None:
    """Add ``--out --photos --minutes --device`` and the like to a trainer's parser."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs") / name,
        help="folder for the model, checkpoint.pt, curve.jsonl and recipe.json "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="folder of photos that the generated scenes are made of, any size, no labels needed; "
        "of one with a mask NAME.mask.png beside it (0 background, k object k) the objects are "
        "used, where they are and cut out (default: the few that come with installed packages)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=minutes,
        help="how long to train, stopped runs included; the learning rate follows the time, so "
        "every length ends in a finished model (default: %(default)g)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        action="store_true",
        default=True,
        help="go on from checkpoint.pt in --out where there is one (the default), as it was "
        "started: only --minutes, --device, --threads and --workers may differ",
    )
    start.add_argument(
        "--fresh",
        dest="resume",
        action="store_false",
        help="start over, whatever lies in --out",
    )
    parser.add_argument(
        "--batch", type=int, default=batch, help="pictures a step (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of torch (default: one per core)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that make the training pictures; 0: none beside this one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--replay",
        type=float,
        default=6.0,
        help="views of every scene: more where a scene costs more than a step, as beside a GPU "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--learning-rate", type=float, help="at its highest (default: by --weights or none)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def check_common(args: argparse.Namespace) -> None:
    """TrainingError for values that cannot be meant, before anything slow starts."""
    if not 0.0 < args.minutes < float("inf"):
        raise TrainingError(f"--minutes: got {args.minutes:g}, expected more than 0")
    for name, least in (("batch", 1), ("threads", 0), ("workers", 0), ("seed", 0)):
        value = getattr(args, name)
        if value < least:
            raise TrainingError(f"--{name}: got {value}, expected {least} or more")
    from training.feed import MOST_SAMPLES

    if args.batch > MOST_SAMPLES:
        raise TrainingError(f"--batch: got {args.batch}, expected {MOST_SAMPLES} or fewer")
    if not 1.0 <= args.replay < float("inf"):
        raise TrainingError(f"--replay: got {args.replay:g}, expected 1 or more")
    if args.learning_rate is not None and not 0.0 < args.learning_rate < 1.0:
        raise TrainingError(f"--learning-rate: got {args.learning_rate:g}, expected 0 to 1")
    for name in ("photos", "data", "weights"):
        path = getattr(args, name, None)
        if path is not None and not path.exists():
            raise TrainingError(f"--{name}: {path} does not exist")
    if args.out.exists() and not args.out.is_dir():
        raise TrainingError(f"--out: {args.out} is a file, expected a folder")


def start_torch(args: argparse.Namespace) -> torch.device:
    """Set the threads of torch, and the device that ``--device`` names."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    name = args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"--device: {name} does not work here ({reason})") from None
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # views keep their side for thousands of steps
        torch.set_float32_matmul_precision("high")
    return device


def bf16_pays(device: torch.device) -> bool:
    """Whether 16-bit products run in hardware there: emulated ones cost ten times the 32-bit."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16"))


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments worth keeping in ``recipe.json``: no paths of this machine."""
    kept = ("batch", "workers", "replay", "seed", "device")
    given = {"tuned": "weights", "data": "data", "photos": "photos"}
    return {name: getattr(args, name) for name in kept} | {
        key: getattr(args, name) is not None for key, name in given.items()
    }
