"""The command `npkd export`: a net of a finished run as a model of ONNX."""

import argparse
from pathlib import Path

from npkd.commands import say
from npkd.distill.predict import Predictor
from npkd.distill.report.table import NAMES
from npkd.export import to_onnx
from npkd.files import BadInput, is_there, write_atomically, writing_to
from npkd.quantise import Quantised, files


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd export."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run that classifies: runs/NAME-SEED")
    say("--to", choices=("onnx",), default="onnx", help="the format (onnx)")
    say("--net", choices=tuple(NAMES), default="small", help="which of its nets (small)")
    say("--int8", action="store_true", help="in eight bits, as npkd quantise has made it")
    say("--out", metavar="FILE", help="the file (DIR/NET.onnx, DIR/NET_int8.onnx)")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    """Write the model."""
    folder, name = Path(args.folder), f"{args.net}{'_int8' * args.int8}"
    predictor = Predictor(folder)
    network = predictor.network(args.net)
    made: Quantised | None = None
    if args.int8:
        if not is_there(folder / f"{name}.npz"):
            raise BadInput(f"{folder}: has no {name}.npz; npkd quantise {folder} makes it")
        made = files.load(folder / f"{name}.npz", network)
    data = to_onnx.model(made or network)
    path = Path(args.out) if args.out else folder / f"{name}.onnx"
    with writing_to(path.parent):
        write_atomically(path, lambda file: file.write(data))
    c, height, width = network.image_shape
    low = "" if network.image_shape == predictor.image_shape else "; then the mean of each 2×2"
    say(
        f"made {path}, {len(data):,} bytes: from x (N, {c}, {height}, {width}) float32, images as "
        f"the net was shown them (pixel/255, less the mean, by the deviation of report.json{low}), "
        f"to y, a number for each of {len(predictor.class_names)} classes"
    )
    return 0
