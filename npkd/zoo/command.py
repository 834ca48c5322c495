"""The command `npkd models`."""

import argparse

from npkd import zoo
from npkd.commands import say
from npkd.files import BadInput
from npkd.printing.text import aligned


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd models."""
    for option, what, default in (
        ("--size", "height and width of the image", "32, of the document's small net 16"),
        ("--classes", "classes", "10"),
    ):
        parser.add_argument(option, type=int, metavar="N", help=f"{what} ({default})")
    parser.set_defaults(run=_models)


def _models(args: argparse.Namespace) -> int:
    """Print a row for each net."""
    options = {"image_size": args.size, "num_classes": args.classes}
    given = {name: value for name, value in options.items() if value is not None}
    rows = [["net", "image", "parameters", "multiply-adds", "maps of its stages"]]
    for name in zoo.MODELS:
        try:
            network = zoo.make(name, 0, **given)
            macs = network.macs()
        except ValueError as error:
            raise BadInput(f"{name}: {error}") from error
        _, height, width = network.image_shape
        parameters = sum(theta.size for theta in network.params.values())
        stages = " ".join(network.stages)
        rows.append([name, f"{height}×{width}", f"{parameters:,}", f"{macs:,}", stages])
    say(*aligned(rows, left=(0, 4)))
    return 0
