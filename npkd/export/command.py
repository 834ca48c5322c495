"""The command `npkd export`: a net of a finished run as a model of ONNX, or as one of PyTorch."""

import argparse
from pathlib import Path

from npkd.commands import say
from npkd.distill.finished_run import FinishedRun
from npkd.distill.report.table import NAMES
from npkd.export import to_onnx, to_torch
from npkd.files import BadInput, write_atomically, writing_to
from npkd.nets import Network
from npkd.quantise import Quantised

ENDINGS = {"onnx": (".onnx",), "torch": (".pt", ".pth")}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd export."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run: runs/NAME-SEED")
    say(
        "--to",
        choices=tuple(ENDINGS),
        default="onnx",
        help="the format: a model of ONNX; or a state_dict of PyTorch and, beside it, NAME.py with "
        "the module that takes it (onnx)",
    )
    say("--net", choices=tuple(NAMES), default="small", help="which of its nets (small)")
    say("--int8", action="store_true", help="in eight bits, as npkd quantise has made it")
    say("--out", metavar="FILE", help="the file (DIR/NET.onnx, DIR/NET_int8.pt, …)")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    """Write the model."""
    run, name = FinishedRun(args.folder), f"{args.net}{'_int8' * args.int8}"
    net = run.net(name)
    path = Path(args.out) if args.out else run.folder / f"{name}{ENDINGS[args.to][0]}"
    if path.suffix not in ENDINGS[args.to]:
        raise BadInput(f"--out {path}: expected a name in {' or '.join(ENDINGS[args.to])}")
    files = {path: to_onnx.model(net)} if args.to == "onnx" else to_torch.files(net, path)
    with writing_to(path.parent):
        for one, data in files.items():
            write_atomically(one, lambda file, data=data: file.write(data))  # type: ignore[misc]
    say(
        f"made {' and '.join(str(one) for one in files)}, {sum(map(len, files.values())):,} bytes: "
        + _what(run, net)
    )
    return 0


def _what(run: FinishedRun, net: Network | Quantised) -> str:
    """What goes in and what comes out."""
    shape = ", ".join(map(str, net.image_shape))
    low = "" if net.image_shape == run.image_shape else "; then the mean of each 2×2"
    of_run = f"pixel/255, less the mean, by the deviation of report.json{low}"
    given = f"from x (N, {shape}) float32, images as the net was shown them ({of_run}), "
    if run.task.config.task == "super-resolve":
        return f"{given}to y, images of twice their size, likewise less the mean, by the deviation"
    return f"{given}to y, a number for each of {len(run.class_names)} classes"
