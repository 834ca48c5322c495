"""How a mutant is made, and judged.

`build` makes what it is a mutant of from a copy of npkd's modules, so that the patched one is used
by all that import it, and the real ones stay as they are. The checks are those of npkd.proofs, and
for the six steps those of `OTHERS`.
"""

import ast
import builtins
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny

import npkd
from npkd import distill, losses, proofs, training
from npkd.data import low_resolution
from npkd.distill import preparation, trainer
from npkd.distill.tasks.task import brought_back
from npkd.objectives import Objective, from_truth
from npkd.optim import SGD, Adam, AdamW
from npkd.proofs import PROOFS
from npkd.proofs.cases import CASES, INTEGERS, LOSSES, OPS, Drawn, Integers

KILLS = pytest.StashKey[list[tuple[str, str, str, int]]]()  # mutant, module, killed by, after cases


@dataclass(frozen=True)
class Mutant:
    """What it is a mutant of (a key of `CHECKS`), what is wrong, and the text that makes it so.

    place: the function or method that is changed, or the module: "npkd.losses.regression.l2".
    by: the check that is meant to reject it, one of those of the subject.
    """

    subject: str
    wrong: str
    place: str
    old: str
    new: str
    by: str

    @property
    def module(self) -> str:
        """The module that is changed."""
        return _module_of(self.place)

    def __str__(self) -> str:
        return f"{self.subject}: {self.wrong}"


# Building


@cache
def source(module: str) -> tuple[str, str]:
    """A module's text, and where it stands."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8"), spec.origin


@cache
def _compiled(module: str) -> CodeType:
    return compile(*source(module), "exec")


@cache
def _module_of(place: str) -> str:
    """The longest part of a dotted name that is a module's."""
    try:
        if importlib.util.find_spec(place):
            return place
    except ModuleNotFoundError:  # what is before the last dot is no package
        pass
    return _module_of(place.rpartition(".")[0])


@cache
def _span(place: str) -> tuple[int, int]:
    """Where in the text of its module a function, a method or a class begins and ends."""
    module = _module_of(place)
    text, _ = source(module)
    node: Any = ast.parse(text)
    if place == module:
        return 0, len(text)
    for name in place.removeprefix(f"{module}.").split("."):
        (node,) = (one for one in node.body if getattr(one, "name", "") == name)
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    lines = text.splitlines(keepends=True)
    return len("".join(lines[: first - 1])), len("".join(lines[: node.end_lineno]))


def patched(mutant: Mutant) -> CodeType:
    """The mutant's module with its one piece of text replaced, in the function that is named."""
    text, path = source(mutant.module)
    begin, end = _span(mutant.place)
    part = text[begin:end]
    assert part.count(mutant.old) == 1, f"{mutant}: not once in {mutant.place}: {mutant.old!r}"
    assert mutant.new != mutant.old
    return compile(text[:begin] + part.replace(mutant.old, mutant.new) + text[end:], path, "exec")


@dataclass
class Copy:
    """A copy of npkd's modules, made as they are asked for; their imports are of each other.

    small_slices: work is cut into the smallest slices of a batch, in up to two parts, and all
    memory is used again. Cases are so small that otherwise each is done in one, and no array is
    large.
    """

    mutant: Mutant | None
    small_slices: bool

    def __post_init__(self) -> None:
        threads = _cut_small() if self.small_slices else npkd.engine.threads
        self._modules: dict[str, ModuleType] = {"npkd.engine.threads": threads}

    def module(self, name: str) -> ModuleType:
        """The copy of this module."""
        if name not in self._modules:
            module = self._modules[name] = ModuleType(name)
            module.__file__ = source(name)[1]
            module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._import}
            is_mutant = self.mutant is not None and self.mutant.module == name
            exec(patched(self.mutant) if is_mutant else _compiled(name), vars(module))
            if name == "npkd.ops.windows" and self.small_slices:
                module.TILE_BYTES = 1
            if name == "npkd.engine.memory" and self.small_slices:
                module.LARGE = 1
        return self._modules[name]

    def _import(self, name: str, *scope: Any) -> Any:
        """What an import statement in one of the copies calls."""
        if name == "npkd":  # from npkd import …
            return SimpleNamespace(**{part: self._part(part) for part in scope[2]})
        if not name.startswith("npkd."):
            return __import__(name, *scope)
        module = self.module(name)
        for part in scope[2]:  # from npkd.nets import layers
            if not hasattr(module, part):
                setattr(module, part, self.module(f"{name}.{part}"))
        return module

    def _part(self, name: str) -> Any:
        part = getattr(npkd, name)
        return self.module(f"npkd.{name}") if isinstance(part, ModuleType) else part


@cache
def _cut_small() -> ModuleType:
    threads = ModuleType("npkd.engine.threads")
    exec(_compiled("npkd.engine.threads"), vars(threads))
    threads.PARTS, threads.WORK_OF_A_PART, threads.CACHED_BYTES = 2, 1, 1
    threads.ThreadpoolController = None  # parts run one after the other
    return threads


def build(subject: str, mutant: Mutant | None = None, small_slices: bool = False) -> Any:
    """What the subject's checks take as their argument, from a copy of npkd with this mutant."""
    module = Copy(mutant, small_slices).module
    if subject in OPS:
        return getattr(module("npkd.ops"), subject)
    if subject in LOSSES:
        return getattr(module("npkd.losses"), subject)
    if subject in ("cnn", "graph"):
        return SimpleNamespace(nets=module("npkd.nets"), ops=module("npkd.ops"))
    if subject == "SmallCNN":
        return module("npkd.nets").SmallCNN
    if subject in ("SGD", "Adam", "AdamW"):
        return getattr(module("npkd.optim"), subject)
    if subject == "training":
        train, sgd = module("npkd.training").train, module("npkd.optim").SGD
        return proofs.Training(train, sgd, module("npkd.objectives").Objective)
    if subject in INTEGERS:
        return getattr(module("npkd.quantise.ops"), subject)
    large = module("npkd.nets").LargeCNN
    large.channels, large.hidden = (2, 3), 4  # quick to train
    return module("npkd.distill")


# Checks of the six steps; what is judged is the module npkd.distill

DATASET = tiny.dataset(train=7, test=4)


def run_case(integers: Integers) -> Drawn:
    """Settings of a small run, with two versions of the images, and labels of all or of some."""
    options = {
        "seed": integers(0, 1000),
        "teacher_input": ("low", "high")[integers(0, 1)],
        "label_weight": integers(0, 2) / 2,
        "large_epochs": 2,
        "epochs": 3,
        "batch_size": 4,
        "large_weight_decay": 0.2,
        "weight_decay": 0.1,
    }
    if integers(0, 3):
        options |= {"labelled": integers(2, 3), "unlabelled": integers(2, 4)}
    optimiser = ("sgd", "adam", "adamw")[integers(0, 2)]
    nesterov = optimiser == "sgd" and integers(0, 1) == 1
    options |= {"optimiser": optimiser, "nesterov": nesterov, "decay_biases": integers(0, 1) == 1}
    return Drawn("run", {}, options)


def _six_steps(module: ModuleType, case: Drawn) -> Any:
    return module.Run(DATASET, tiny.config(**case.options))


def _weights(network: Any) -> dict[str, np.ndarray]:
    return {name: theta.copy() for name, theta in network.params.items()}


def _require_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray], what: str) -> None:
    for name, theta in a.items():
        if not np.allclose(theta, b[name], rtol=1e-4, atol=1e-6):
            raise AssertionError(f"{what}: {name} is another")


def _batches(module: ModuleType, case: Drawn, rng: np.random.Generator) -> None:
    """Step 5 shows x_low, and has the teacher's outputs for the very same images."""
    run, real = _six_steps(module, case), distill.Preparation(DATASET, tiny.config(**case.options))
    teacher = [run.teacher_outputs(version) for version in range(real.versions)]
    batches = run.prepare.small_batches(teacher)
    for epoch in range(real.config.epochs):
        count = real.samples("small")
        for indices, _ in real.order(preparation.SMALL_ORDER, epoch, real.taught, count):
            batch = next(batches)
            x_high = real.task.normalise(real.small_version(epoch % real.versions)[indices])
            x_low = low_resolution(x_high)
            shown = x_high if real.config.teacher_input == "high" else brought_back(x_low)
            expected = {"x": x_low, "fc2": run.large(shown)[0]}
            found = {"x": batch.x, **batch.teacher}
            _require_same(expected, found, f"a batch of epoch {epoch}")
            known = np.isin(indices, real.labelled)
            rows = np.arange(len(indices)) if batch.labelled is None else batch.labelled
            assert np.array_equal(rows, np.flatnonzero(known))
            assert np.array_equal(batch.truth, DATASET.train_labels[indices[known]])


def _nets(module: ModuleType, case: Drawn, rng: np.random.Generator) -> None:
    """Both small nets start alike and learn on their own; the teacher has learnt, and stays.

    All three are what comes of their batches, and so are the losses of their updates.
    """
    run, real = _six_steps(module, case), distill.Preparation(DATASET, tiny.config(**case.options))
    start, untaught = _weights(run.small), _weights(run.large)
    _require_same(start, run.small_from_labels.params, "the start from labels")
    for name, theta in run.small.params.items():
        assert not np.shares_memory(theta, run.small_from_labels.params[name]), "shared weights"
    reported: dict[str, list[float]] = {name: [] for name in run.networks}
    for event in run.steps():
        if isinstance(event, module.Training):
            reported[event.net].append(event.update.loss)
        if isinstance(event, module.Stage) and event.number == 2:
            teacher = _weights(run.large)
            assert all((teacher[name] != theta).any() for name, theta in untaught.items())
            assert not any(theta.flags.writeable for theta in run.large.params.values())
        if isinstance(event, module.Stage) and event.number == 6:
            break
    for name, theta in run.large.params.items():
        assert theta.tobytes() == teacher[name].tobytes(), f"the teacher's {name} was changed"

    config, of_labels = run.config, from_truth(losses.cross_entropy)
    outputs = [run.teacher_outputs(version) for version in range(real.versions)]
    for name, first, batches, loss, rate, decay in (
        (
            "large",
            untaught,
            real.large_batches(),
            of_labels,
            config.large_learning_rate,
            config.large_weight_decay,
        ),
        (
            "small",
            start,
            real.small_batches(outputs),
            Objective(config.label_weight),
            config.learning_rate,
            config.weight_decay,
        ),
        (
            "small_from_labels",
            start,
            real.small_batches(),
            of_labels,
            config.labels_learning_rate,
            config.weight_decay,
        ),
    ):
        network, shown = run.networks[name], list(batches)
        biases = {"decay_biases": config.decay_biases}
        optimiser = {
            "sgd": SGD(rate, config.momentum, decay, config.nesterov, **biases),
            "adam": Adam(rate, (config.momentum, 0.999), 1e-8, decay, **biases),
            "adamw": AdamW(rate, (config.momentum, 0.999), 1e-8, decay, **biases),
        }[config.optimiser]
        again = network.astype(network.dtype)
        again.load(first)
        updates = training.train(
            again,
            shown,
            loss=loss,
            optimiser=optimiser,
            schedule=trainer.schedule(config, rate, len(shown)),
            clip_norm=config.clip_norm,
        )
        expected = {"losses": np.array([update.loss for update in updates])}
        assert len(expected["losses"]) == len(reported[name])
        _require_same(expected, {"losses": np.array(reported[name])}, name)
        _require_same(again.params, network.params, f"{name} trained again")


RUN: dict[str, Callable[[Any, Drawn, np.random.Generator], Any]] = {
    "batches": _batches,
    "nets": _nets,
}


OTHERS = {"run": (run_case, RUN)}
CHECKS = {subject: proof.checks for subject, proof in PROOFS.items()}
CHECKS |= {subject: checks for subject, (_, checks) in OTHERS.items()}


# Judging


def rejection(subject: str, judged: Any, seed: int, by: str = "") -> str:
    """The first check that rejects what is judged, on the case of this seed; "" if none does.

    by: this one alone is asked. Sizes that no longer fit are rejected with a ValueError, which is
    named; what crashes with another error is not judged, and raises it.
    """
    for name, check in CHECKS[subject].items():
        if by and name != by:
            continue
        rng = np.random.default_rng(seed)
        case = _CASES[subject](partial(_integer, rng))
        try:
            check(judged, case, rng)
        except AssertionError:
            return name
        except ValueError as error:
            return f"{name} ({type(error).__name__})"
    return ""


_CASES = CASES | {subject: case for subject, (case, _) in OTHERS.items()}


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


# A table


def mutants(subject: str, place: str, table: dict[str, tuple[str, str, str]]) -> list[Mutant]:
    """Mutants of one subject by one place: what is wrong, the text, its replacement, the check."""
    return [Mutant(subject, wrong, place, *row) for wrong, row in table.items()]
