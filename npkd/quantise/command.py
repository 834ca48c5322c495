"""The command `npkd quantise`: a net of a finished run in eight bits, and what that costs."""

import argparse
from pathlib import Path

import numpy as np

from npkd import data
from npkd.commands import add_reading, reading, say, set_threads
from npkd.data import Dataset, Normalisation
from npkd.distill.predict import Predictor
from npkd.distill.report.table import NAMES
from npkd.engine import threads
from npkd.files import BadInput, writing_to
from npkd.printing.text import aligned
from npkd.quantise import files
from npkd.quantise.cost import Cost, cost
from npkd.quantise.network import MOST_WEIGHT, Quantised

CALIBRATION = 1000  # images


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd quantise."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run that classifies: runs/NAME-SEED")
    say("--data", default="mnist5k", metavar="PATH", help="the data of that run (mnist5k)")
    add_reading(parser)
    say("--net", choices=tuple(NAMES), default="small", help="which of its nets (small)")
    say(
        "--most-weight",
        type=int,
        default=MOST_WEIGHT,
        metavar="N",
        help="the largest integer that stands for a weight; 63 for processors that hold sums of "
        f"two products at 16 bits ({MOST_WEIGHT})",
    )
    say("--threads", type=int, metavar="N", help="so many threads (one for each core)")
    parser.set_defaults(run=_quantise)


def _quantise(args: argparse.Namespace) -> int:
    """Make the net, keep it in the run's folder, and say what it costs on the test images."""
    if not 1 <= args.most_weight <= MOST_WEIGHT:
        raise BadInput(f"--most-weight is {args.most_weight}, expected 1 to {MOST_WEIGHT}")
    set_threads(args.threads)
    predictor = Predictor(args.folder)
    dataset = data.load(args.data, **reading(args))
    _require_same(predictor, dataset, args)
    view, images = predictor.task.view(args.net), dataset.train_images
    count = min(CALIBRATION, len(images))
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    network = predictor.network(args.net)
    with threads.one_blas_thread(), np.errstate(all="ignore"):
        try:
            quantised = Quantised.of(network, view(images[chosen]), args.most_weight)
        except ValueError as error:
            raise BadInput(f"{args.folder}: {error}") from error
        found = cost(quantised, view(dataset.test_images[:]))
    path = Path(args.folder) / f"{args.net}_int8.npz"
    with writing_to(path.parent):
        files.save(path, quantised)
    say(*_told(quantised, found, dataset.test_labels))
    say("", f"made {path}")
    return 0


def _require_same(predictor: Predictor, dataset: Dataset, args: argparse.Namespace) -> None:
    """Raise BadInput unless these are the run's images, as far as its report tells."""
    about = predictor.report["data"]
    counts = len(dataset.train_labels), len(dataset.test_labels)
    same = dataset.image_shape == predictor.image_shape and counts == (
        about["train"],
        about["test"],
    )
    if same:
        normalise, own = Normalisation.of(dataset.train_images), predictor.task.normalise
        same = np.allclose(normalise.mean, own.mean) and np.allclose(normalise.std, own.std)
    if not same:
        raise BadInput(
            f"--data {args.data}: has other images than the run in {args.folder}, which was on "
            f"{about['name']}, {about['train']:,} images to train and {about['test']:,} test ones"
        )


def _told(quantised: Quantised, found: Cost, labels: np.ndarray) -> list[str]:
    """What eight bits save and cost, in lines."""
    before, after = found.y.argmax(axis=1), found.found.argmax(axis=1)
    size = sum(theta.nbytes for theta in quantised.network.params.values())
    own = files.size(quantised)
    moved, estimate = found.found - found.y, found.estimate
    most, expected = (np.abs(one).max(axis=1) for one in (moved, estimate))
    left = np.sqrt(np.mean((moved - estimate) ** 2) / np.mean(moved**2)) if moved.any() else 0.0
    shares = sorted(
        ((name, np.sqrt(np.mean(share**2))) for name, share in found.shares.items()),
        key=lambda one: -one[1],
    )
    rows = [
        ["", "float32", "8 bits"],
        ["bytes", f"{size:,}", f"{own:,}"],
        ["test accuracy", f"{np.mean(before == labels):.2%}", f"{np.mean(after == labels):.2%}"],
    ]
    return [
        *aligned(rows),
        "",
        f"{size / own:.2f} times fewer bytes; {int(found.changed.sum())} of {len(labels):,} test "
        "images are of another class than before",
        f"the largest change of an output is {np.median(most):.3g} in the median image, "
        f"{most.max():.3g} at most; to first order {np.median(expected):.3g} and "
        f"{expected.max():.3g}, which leaves {left:.0%} of all changes unexplained",
        "what moves the outputs, root mean square, by the step whose error it is:",
        *aligned([["step", "moves"], *([name, f"{share:.3g}"] for name, share in shares if share)]),
    ]
