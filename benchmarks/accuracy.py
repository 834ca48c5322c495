"""Measure the small net's test accuracy under each loss, on the same budget.

    python -m benchmarks.accuracy --json FILE --write

The large net is trained once for each seed, or once for all; from it the small net learns by each
loss, from the same first weights, on the same images in the same order, for as many epochs. Losses
on outputs are measured alone and mixed in halves with the labels, those on inner layers only mixed.
Each has the better of two learning rates, judged by held-out training images (--rates: by those of
another data set); test images are looked at for the table only.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.stats

from benchmarks import figures
from npkd import data, distill, training
from npkd.distill.outputs import Kept, TeacherFeatures
from npkd.engine import threads
from npkd.objectives import KINDS, Term

RATES = (0.01, 0.03)
PHOTOGRAPHS = distill.Config(large_epochs=12, epochs=20, versions=4)  # taught on low resolution
Results = dict[str, dict[str, float]]  # by cell, by seed


def cells() -> Iterator[tuple[str, tuple[Term, ...], float]]:
    """What is measured: a name, the losses, and the share of the labels."""
    yield "labels", (Term(),), 1.0
    terms = {name: Term(name) for name in KINDS}
    terms["kl, standardized"] = Term("kl", standardized=True, options={"temperature": 2.0})
    for name, term in terms.items():
        if term.kind.layers == "output":
            yield name, (term,), 0.0
        yield f"{name} + labels", (term,), 0.5


class Run(distill.Run):
    """A run that takes the teacher's outputs from `kept`, by version and layers, if it has them."""

    kept: dict[tuple[int, tuple[str, ...]], TeacherFeatures]

    def teacher_outputs(self, version: int, kept: Kept | None = None) -> TeacherFeatures:
        """Kept ones, which are refused if they are not of these images, or made now."""
        key = version, tuple(self.objective.teacher_layers)
        if key not in self.kept or self.kept[key].kept is None:
            self.kept[key] = super().teacher_outputs(version, kept)
        return self.kept[key]


def teacher(dataset: data.Dataset, config: distill.Config) -> distill.State:
    """A run that stands where the large net has been trained."""
    run = distill.Run(dataset, config)
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 2:
            break
    return run.state()


def student(run: distill.Run) -> float:
    """The accuracy of the distilled net on the test images; 0 if it diverges."""
    try:
        for event in run.steps():
            if isinstance(event, distill.Epoch) and event.net == "small":
                accuracy = event.figures["accuracy"]
                if event.epoch + 1 == event.epochs:
                    return accuracy
    except training.Diverged as error:
        print(f"    {error}", flush=True)
    return 0.0


def measured(
    dataset: data.Dataset,
    config: distill.Config,
    seed: int,
    rates: dict[str, float],
    state: distill.State | None = None,
) -> Iterator[tuple[str, float]]:
    """The accuracy under each loss, at the rate of each. state: where the large net is trained."""
    config = replace(config, seed=seed)
    state, Run.kept = state or teacher(dataset, config), {}
    for name, loss, share in cells():
        if name in rates:
            settings = replace(config, loss=loss, label_weight=share, learning_rate=rates[name])
            yield name, student(Run(dataset, settings, state))


def chosen_rates(dataset: data.Dataset, config: distill.Config) -> dict[str, float]:
    """The better rate of each loss, by held-out training images and a seed of their own."""
    held_out, names = dataset.hold_out(), [name for name, _, _ in cells()]
    found = {
        rate: dict(measured(held_out, config, 1000, dict.fromkeys(names, rate))) for rate in RATES
    }
    return {name: max(RATES, key=lambda rate: found[rate][name]) for name in names}


def table(results: Results, rates: dict[str, float]) -> str:
    """Mean, and by Student's t the 95 % interval of the mean and of the gain over the labels."""
    seeds = list(results["labels"])
    lines = [
        f"| loss | rate | accuracy, mean of {len(seeds)} seeds | gain over labels alone, points |",
        "|---|---|---|---|",
    ]
    labels = np.array([results["labels"][seed] for seed in seeds])
    for name, of_seeds in results.items():
        values = np.array([of_seeds[seed] for seed in seeds])
        gain = "–" if name == "labels" else _interval(100 * (values - labels), "{:+.2f}")
        lines.append(f"| {name} | {rates[name]} | {_interval(100 * values, '{:.2f}')} | {gain} |")
    return "\n".join(lines)


def _interval(values: np.ndarray, form: str) -> str:
    mean, half = values.mean(), np.inf
    if len(values) > 1:
        error = values.std(ddof=1) / np.sqrt(len(values))
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * error
    return f"{form.format(mean)} ± {half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=str(__doc__).split("\n\n")[0]
    )
    say = parser.add_argument
    say("--data", default="mnist5k", metavar="PATH", help="as for npkd distill (mnist5k)")
    say("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="(0 1 2)")
    say("--epochs", type=int, metavar="N", help="of the small net (the preset's)")
    say("--versions", type=int, metavar="N", help="of the images (the preset's)")
    say("--one-teacher", action="store_true", help="that of the first seed teaches at all seeds")
    say("--rates", type=Path, metavar="FILE", help="take the rates from an earlier --json FILE")
    say("--json", type=Path, required=True, metavar="FILE", help="where figures go, one by one")
    say("--write", action="store_true", help="put the table into benchmarks/results/accuracy.md")
    arguments = parser.parse_args()
    dataset = data.load(arguments.data)
    config = PHOTOGRAPHS if dataset.photographs else distill.preset("default", dataset)
    for name in ("epochs", "versions"):
        if getattr(arguments, name) is not None:
            config = replace(config, **{name: getattr(arguments, name)})
    with threads.one_blas_thread(), np.errstate(all="ignore"):
        if arguments.rates:
            rates = json.loads(arguments.rates.read_text())["rates"]
        else:
            rates = chosen_rates(dataset, config)
        results: Results = {name: {} for name in rates}
        state = None
        if arguments.one_teacher:
            state = teacher(dataset, replace(config, seed=arguments.seeds[0]))
        for seed in arguments.seeds:
            for name, accuracy in measured(dataset, config, seed, rates, state):
                results[name][str(seed)] = accuracy
                print(f"seed {seed}, {name}: {accuracy:.2%}", flush=True)
                text = json.dumps({"rates": rates, "results": results}, indent=2)
                arguments.json.write_text(text + "\n")
    print(table(results, rates))
    if arguments.write:
        write("CIFAR-10" if dataset.photographs else "digits", table(results, rates))


def columns(images: str) -> tuple[str, ...]:
    """Those that the figures of these images go into."""
    return "rate", f"{images}, accuracy in %", f"{images}, gain in points"


def write(images: str, text: str) -> None:
    """Put a table's figures into the columns of these images in benchmarks/results/accuracy.md."""
    lines = [figures.cells(line.replace("-", "−")) for line in text.splitlines()[2:]]
    rows = {(name,): dict(zip(columns(images), texts, strict=True)) for name, *texts in lines}
    figures.fill("accuracy", 1, rows)
    figures.note("accuracy", images)


if __name__ == "__main__":
    main()
