"""The command `npkd quantise`: a net of a finished run in eight bits, and what that costs."""

import argparse
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from npkd import data
from npkd.commands import add_reading, add_threads, reading, say, say_where, set_threads
from npkd.data import Dataset, Normalisation
from npkd.distill import evaluate
from npkd.distill.eight_bits import CALIBRATION, in_eight_bits
from npkd.distill.finished_run import FinishedRun
from npkd.distill.outputs import Outputs, batches_of, predictions
from npkd.distill.report import eight_bits
from npkd.distill.report.table import NAMES
from npkd.distill.tasks import TASKS
from npkd.distill.tasks.task import Task, spread
from npkd.engine import threads
from npkd.files import BadInput, write_atomically, writing_to
from npkd.printing.text import aligned
from npkd.quantise import files
from npkd.quantise.cost import cost
from npkd.quantise.distilling import RATE, distilled
from npkd.quantise.loop import InTheLoop
from npkd.quantise.network import MOST_WEIGHT, Quantised
from npkd.training import Diverged

MOST_EPOCHS = 10**5
ALIKE = 0.005  # what a figure of the run may be off here
MOST_PASSES = 20_000  # backward passes of one output for one image


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd quantise."""
    say = parser.add_argument
    say("folder", metavar="DIR", help="the folder of a run: runs/NAME-SEED")
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
    say(
        "--epochs",
        type=int,
        default=0,
        metavar="N",
        help="of the distilled net: so many epochs of distillation as in the run, with the net "
        "computing in eight bits (0)",
    )
    say(
        "--learning-rate",
        type=float,
        metavar="X",
        help=f"highest learning rate in these ({RATE:g} of the run's)",
    )
    add_threads(parser)
    parser.set_defaults(run=_quantise)


def _quantise(args: argparse.Namespace) -> int:
    """Make the net, keep it in the run's folder, and say what it costs on the test images."""
    _require_options(args)
    set_threads(args.threads)
    run, began = FinishedRun(args.folder), time.perf_counter()
    dataset = data.load(args.data, **reading(args))
    _require_same(run, dataset, args)
    with threads.one_blas_thread(), np.errstate(all="ignore"), _finite(args):
        task = TASKS[run.task.config.task](dataset, run.task.config, run.task.normalise)
        network = run.network(args.net)
        images, view = dataset.test_images, task.view(args.net)
        before = Outputs(network, images, view)
        _require_figures(run, task, args.net, before)
        try:
            quantised = in_eight_bits(task, args.net, network, args.most_weight)
        except ValueError as error:
            raise BadInput(f"{args.folder}: {error}") from error
        about: dict[str, Any] = {
            "most_weight": args.most_weight,
            "images": min(CALIBRATION, len(dataset.train_labels)),
            "epochs": args.epochs,
        }
        if args.epochs:
            after = Outputs(quantised, images, view)
            about["before"] = evaluate.means(evaluate.measured(task, after, dataset.test_labels))
            looped = InTheLoop(quantised)
            steps = distilled(run, dataset, looped, args.epochs, args.learning_rate, say_where)
            about["departure"] = [{"step": h, "ratio": ratio} for h, ratio in steps]
            quantised = looped.quantised()
            say_where()
        seconds = time.perf_counter() - began if args.epochs else 0.0
        after = Outputs(quantised, images, view)
        model = _figures(run, task, quantised, args.net, after, seconds)
        found, of_images = _cost(task, quantised, args.net, before, after)
        evaluate.require_finite({args.net: model, "the change": found["moved"]})
    _keep(run, f"{args.net}_int8", quantised, model, about | found, of_images)
    return 0


@contextmanager
def _finite(args: argparse.Namespace) -> Iterator[None]:
    """What is not finite is said in one line, before anything is written."""
    try:
        yield
    except Diverged as error:
        advice = "; try a lower --learning-rate" * bool(args.epochs)
        raise BadInput(f"{args.folder}: {error}{advice}") from error


def _require_options(args: argparse.Namespace) -> None:
    """Raise BadInput for values out of their range."""
    if not 1 <= args.most_weight <= MOST_WEIGHT:
        raise BadInput(f"--most-weight is {args.most_weight}, expected 1 to {MOST_WEIGHT}")
    if not 0 <= args.epochs <= MOST_EPOCHS:
        raise BadInput(f"--epochs is {args.epochs}, expected 0 to {MOST_EPOCHS:,}")
    if args.epochs and args.net != "small":
        raise BadInput(f"--epochs is {args.epochs}, but --net {args.net} is not the distilled net")
    rate = args.learning_rate
    if rate is not None and not (args.epochs and 0 < rate < math.inf):
        expected = "a number above 0" if args.epochs else "--epochs N beside it"
        raise BadInput(f"--learning-rate is {rate}, expected {expected}")


def _require_same(run: FinishedRun, dataset: Dataset, args: argparse.Namespace) -> None:
    """Raise BadInput unless these are the run's images, as far as its report tells."""
    about = run.report["data"]
    counts = len(dataset.train_labels), len(dataset.test_labels)
    same = dataset.image_shape == run.image_shape and counts == (about["train"], about["test"])
    same = same and tuple(dataset.class_names) == run.class_names
    if same:
        normalise, own = Normalisation.of(dataset.train_images), run.task.normalise
        same = np.allclose(normalise.mean, own.mean) and np.allclose(normalise.std, own.std)
    if not same:
        raise BadInput(
            f"--data {args.data}: has other images than the run in {args.folder}, which was on "
            f"{about['name']}, {about['train']:,} images to train and {about['test']:,} test ones"
        )


def _require_figures(run: FinishedRun, task: Task, name: str, outputs: Outputs) -> None:
    """Raise BadInput unless the net is as good on the test images as its run says.

    A few images may be decided by rounding, which may be another one on another machine.
    """
    figure = task.figures[0]
    measured = evaluate.measured(task, outputs, task.dataset.test_labels)
    found = evaluate.means(measured)[figure]
    reported = run.report["models"][name][figure]
    if abs(found - reported) > ALIKE * max(1.0, reported):
        raise BadInput(
            f"{run.folder}: on these test images {name} has {evaluate.in_words({figure: found})}, "
            f"but its run {evaluate.in_words({figure: reported})}: they are others"
        )


def _figures(
    run: FinishedRun, task: Task, quantised: Quantised, name: str, after: Outputs, seconds: float
) -> dict[str, Any]:
    """What report.json holds of the net in eight bits, as of the others. after: its outputs."""
    images, labels = task.dataset.test_images, task.dataset.test_labels
    view = task.x_large if name == "large" else task.x_teaching
    target = Outputs(run.network("large"), images, view)
    tested = evaluate.measured(task, after, labels, target)
    found = evaluate.model(task, name, quantised, tested, seconds)
    if name == "large" and task.takes_high:
        back = Outputs(quantised, images, task.x_back)
        found |= evaluate.low(task, evaluate.measured(task, back, labels))
    return found


def _cost(
    task: Task, quantised: Quantised, name: str, before: Outputs, after: Outputs
) -> tuple[dict[str, Any], list[list[Any]]]:
    """How outputs move, and a row for each test image, below a head.

    before, after: outputs of the run's own net, and of that in eight bits. What moves the outputs
    of the net that was trained in eight bits is told beside that net in floats.

    What is expected to first order takes a backward pass for each output, so it is of as many of
    the images as make MOST_PASSES of them, and of none where outputs are images.
    """
    images, view = task.dataset.test_images, task.view(name)
    exact = before
    if quantised.network is not before.features.network:
        exact = Outputs(quantised.network, images, view)
    most = np.empty(len(images))
    for part in batches_of(len(images)):
        moved = np.abs(after[part] - exact[part])
        most[part] = moved.reshape(len(moved), -1).max(axis=1)
    found: dict[str, Any] = {"moved": _median_and_most(most)}
    if task.truth_shape != (task.dataset.num_classes,):
        return found, [["image", "largest_change"], *map(list, enumerate(most.tolist()))]
    labels = [predictions(outputs[:]) for outputs in (before, after)]
    found["changed"] = int((labels[0] != labels[1]).sum())
    chosen = spread(len(images), max(1, MOST_PASSES // task.dataset.num_classes))
    of_some = cost(quantised, view(images[chosen]))
    moved, estimate = of_some.found - of_some.y, of_some.estimate
    expected = dict(zip(chosen.tolist(), np.abs(estimate).max(axis=1).tolist(), strict=True))
    found["expected"] = _median_and_most(np.array(list(expected.values())))
    found["estimated"] = len(chosen)
    rest = np.mean((moved - estimate) ** 2)
    found["unexplained"] = float(np.sqrt(rest / np.mean(moved**2))) if moved.any() else 0.0
    moves = {step: float(np.sqrt(np.mean(share**2))) for step, share in of_some.shares.items()}
    found["steps"] = [
        {"step": step, "moves": moves[step]}
        for step in sorted(moves, key=moves.get, reverse=True)  # type: ignore[arg-type]
    ]
    head = ["image", "label", "class", "class_8_bits", "largest_change", "expected"]
    columns = zip(task.dataset.test_labels, *labels, most, strict=True)
    rows = [
        [number, *(int(label) for label in known), float(change), expected.get(number, "")]
        for number, (*known, change) in enumerate(columns)
    ]
    return found, [head, *rows]


def _median_and_most(values: np.ndarray) -> dict[str, float]:
    return {"median": float(np.median(values)), "most": float(values.max())}


def _keep(
    run: FinishedRun,
    name: str,
    quantised: Quantised,
    model: dict[str, Any],
    about: dict[str, Any],
    of_images: list[list[Any]],
) -> None:
    """Write the net, what it costs, and the report with it; and say so."""
    report, folder = run.report, run.folder
    report["models"][name] = model
    report["eight_bits"] = report.get("eight_bits", {}) | {name: about}
    text = "".join(",".join(map(str, row)) + "\n" for row in of_images).encode()
    with writing_to(folder):
        files.save(folder / f"{name}.npz", quantised)
        write_atomically(folder / f"{name}.csv", lambda file: file.write(text))
    why = run.write()
    moving = eight_bits.steps(report, name)
    say(*aligned(eight_bits.rows(report, name)), "", *eight_bits.sentences(report, name))
    if moving:
        say("what moves the outputs, root mean square, by the step whose error it is:")
        say(*aligned(moving))
    say(
        "",
        f"made {folder / f'{name}.npz'}, and {name}.csv, what it costs image by image; npkd speed "
        f"{folder} measures how quick it is",
        *[why] * bool(why),
    )
