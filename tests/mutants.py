"""Wrong versions of npkd, each of which some check must reject: what the checks can catch.

A mutant is the real source with one piece of text replaced. `build` makes what it is a mutant of
from a copy of npkd's modules, so that the patched one is used by all that import it, and the real
ones stay as they are. The checks are those of npkd.proofs, and for the six steps those of `RUN`.
"""

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
from npkd import distill, losses, proofs
from npkd.cases import CASES, Case, Integers
from npkd.data import low_resolution
from npkd.objectives import Objective, from_truth
from npkd.proofs import PROOFS
from npkd.tasks import brought_back

KILLS = pytest.StashKey[list[tuple[str, str, str, int]]]()  # mutant, module, killed by, after cases


@dataclass(frozen=True)
class Mutant:
    """What it is a mutant of (a key of `CHECKS`), what is wrong, and the text that makes it so.

    by: the check that is meant to reject it, one of those of the subject.
    """

    subject: str
    wrong: str
    module: str
    old: str
    new: str
    by: str

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


def patched(mutant: Mutant) -> CodeType:
    """The mutant's module with its one piece of text replaced."""
    text, path = source(mutant.module)
    assert text.count(mutant.old) == 1, f"{mutant}: not once in {mutant.module}: {mutant.old!r}"
    assert mutant.new != mutant.old
    return compile(text.replace(mutant.old, mutant.new), path, "exec")


@dataclass
class Copy:
    """A copy of npkd's modules, made as they are asked for; their imports are of each other.

    finely: work is cut into the smallest slices of a batch, in up to two parts, and all memory is
    used again. Cases are so small that otherwise each is done in one, and no array is large.
    """

    mutant: Mutant | None
    finely: bool

    def __post_init__(self) -> None:
        threads = _cut_finely() if self.finely else npkd.threads
        self._modules: dict[str, ModuleType] = {"npkd.threads": threads}

    def module(self, name: str) -> ModuleType:
        """The copy of this module."""
        if name not in self._modules:
            module = self._modules[name] = ModuleType(name)
            module.__file__ = source(name)[1]
            module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._import}
            is_mutant = self.mutant is not None and self.mutant.module == name
            exec(patched(self.mutant) if is_mutant else _compiled(name), vars(module))
            if name == "npkd.windows" and self.finely:
                module.PATCH_BYTES = 1
            if name == "npkd.memory" and self.finely:
                module.LARGE = 1
        return self._modules[name]

    def _import(self, name: str, *scope: Any) -> Any:
        """What an import statement in one of the copies calls."""
        if name == "npkd":  # from npkd import …
            return SimpleNamespace(**{part: self._part(part) for part in scope[2]})
        return self.module(name) if name.startswith("npkd.") else __import__(name, *scope)

    def _part(self, name: str) -> Any:
        part = getattr(npkd, name)
        return self.module(f"npkd.{name}") if isinstance(part, ModuleType) else part


@cache
def _cut_finely() -> ModuleType:
    threads = ModuleType("npkd.threads")
    exec(_compiled("npkd.threads"), vars(threads))
    threads.PARTS, threads.WORK_OF_A_PART, threads.CACHED_BYTES = 2, 1, 1
    threads.ThreadpoolController = None  # parts run one after the other
    return threads


def build(subject: str, mutant: Mutant | None = None, finely: bool = False) -> Any:
    """What the subject's checks take as their argument, from a copy of npkd with this mutant."""
    module = Copy(mutant, finely).module
    if subject in proofs.OPS:
        return getattr(module("npkd.ops"), subject)
    if subject in proofs.LOSSES:
        return getattr(module("npkd.losses"), subject)
    if subject == "cnn":
        return module("npkd.layers")
    if subject == "SmallCNN":
        return module("npkd.models").SmallCNN
    if subject == "SGD":
        return module("npkd.optim").SGD
    if subject == "training":
        steps = module("npkd.distill")
        objectives = module("npkd.objectives")
        return proofs.Training(steps.train, module("npkd.optim").SGD, objectives.Objective)
    large = module("npkd.models").LargeCNN
    large.channels, large.hidden = (2, 3), 4  # quick to train
    return module("npkd.distill")


# Checks of the six steps; what is judged is the module npkd.distill

DATASET = tiny.dataset(train=7, test=4)


def run_case(integers: Integers) -> Case:
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
    return Case("run", {}, options)


def _six_steps(module: ModuleType, case: Case) -> Any:
    return module.Run(DATASET, tiny.config(**case.options))


def _weights(network: Any) -> dict[str, np.ndarray]:
    return {name: theta.copy() for name, theta in network.params.items()}


def _require_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray], what: str) -> None:
    for name, theta in a.items():
        if not np.allclose(theta, b[name], rtol=1e-4, atol=1e-6):
            raise AssertionError(f"{what}: {name} is another")


def _batches(module: ModuleType, case: Case, rng: np.random.Generator) -> None:
    """Step 5 shows x_low, and has the teacher's outputs for the very same images."""
    run, real = _six_steps(module, case), distill.Preparation(DATASET, tiny.config(**case.options))
    teacher = [run.teacher_outputs(version) for version in range(real.versions)]
    batches = run.prepare.small_batches(teacher)
    for epoch in range(real.config.epochs):
        for indices in real.order(distill.SMALL_ORDER, epoch, real.taught):
            batch = next(batches)
            x_high = real.task.normalise(real.small_version(epoch)[indices])
            x_low = low_resolution(x_high)
            shown = x_high if real.config.teacher_input == "high" else brought_back(x_low)
            expected = {"x": x_low, "fc2": run.large(shown)[0]}
            found = {"x": batch.x, **batch.teacher}
            _require_same(expected, found, f"a batch of epoch {epoch}")
            known = np.isin(indices, real.labelled)
            rows = np.arange(len(indices)) if batch.labelled is None else batch.labelled
            assert np.array_equal(rows, np.flatnonzero(known))
            assert np.array_equal(batch.truth, DATASET.train_labels[indices[known]])


def _nets(module: ModuleType, case: Case, rng: np.random.Generator) -> None:
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
        again = network.astype(network.dtype)
        again.load(first)
        updates = distill.train(
            again,
            shown,
            loss=loss,
            optimiser=distill.optim.SGD(rate, config.momentum, decay),
            schedule=distill._schedule(config, rate, len(shown)),
            clip_norm=config.clip_norm,
        )
        expected = {"losses": np.array([update.loss for update in updates])}
        assert len(expected["losses"]) == len(reported[name])
        _require_same(expected, {"losses": np.array(reported[name])}, name)
        _require_same(again.params, network.params, f"{name} trained again")


RUN: dict[str, Callable[[Any, Case, np.random.Generator], Any]] = {
    "batches": _batches,
    "nets": _nets,
}
CHECKS = {subject: proof.checks for subject, proof in PROOFS.items()} | {"run": RUN}


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


_CASES = CASES | {"run": run_case}


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


# The table


def _mutants(subject: str, module: str, table: dict[str, tuple[str, str, str]]) -> list[Mutant]:
    """Mutants of one subject by one module: what is wrong, the text, its replacement, the check."""
    return [Mutant(subject, wrong, module, *row) for wrong, row in table.items()]


MUTANTS = [
    *_mutants(
        "conv2d",
        "npkd.ops.conv",
        {
            "kernel flipped": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = w[:, :, ::-1, ::-1].reshape(groups, len(w) // groups, -1)",
                "value",
            ),
            "kernel flipped in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "flipped = w[:, :, ::-1, ::-1].reshape(w_rows.shape)\n"
                "                    np.matmul(flipped.swapaxes(1, 2), run, out=unfolding.scratch)",
                "direction",
            ),
            "kernel transposed in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "transposed = w.swapaxes(2, 3).reshape(w_rows.shape)\n"
                "                    transposed = transposed.swapaxes(1, 2)\n"
                "                    np.matmul(transposed, run, out=unfolding.scratch)",
                "direction",
            ),
            "kernel conjugated in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows.swapaxes(1, 2).conj(), run, out=unfolding.scratch)",
                "adjoint",
            ),
            "kernel of another group in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows[::-1].swapaxes(1, 2), run, out=unfolding.scratch)",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "if dx is not None:\n"
                "            dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx, dw, None if b is None else db",
                "entries",
            ),
            "dw with rows and columns exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[:2], *w.shape[:1:-1]).swapaxes(2, 3)",
                "direction",
            ),
            "dw with inputs and outputs exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[1::-1], *w.shape[2:]).swapaxes(0, 1)",
                "direction",
            ),
            "dw with images conjugated": (
                "unfolding.unfold(x[images]) @ run",
                "unfolding.unfold(x[images].conj()) @ run",
                "adjoint",
            ),
            "dw of another group": (
                "dw = dwb_rows[:, :, :-1]",
                "dw = dwb_rows[::-1, :, :-1]",
                "direction",
            ),
            "dw and db of the last slice only": (
                "dwb_columns += unfolding",
                "dwb_columns[...] = unfolding",
                "direction",
            ),
            "dw and db of the last part only": (
                "sum(partial_sums, start",
                "sum(partial_sums[-1:], start",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "dw[0, 0, 0, 0] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
                "entries",
            ),
            "db of the first window only": (
                "db = dwb_rows[:, :, -1]",
                "db = dy[:, :, 0, 0].sum(axis=0)",
                "direction",
            ),
            "db averaged over the batch": (
                "db = dwb_rows[:, :, -1].flatten()",
                "db = dwb_rows[:, :, -1].flatten() / len(x)",
                "direction",
            ),
            "db of another output": (
                "db = dwb_rows[:, :, -1]",
                "db = dwb_rows[:, ::-1, -1]",
                "direction",
            ),
            "one entry of db off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "db[-1] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
                "entries",
            ),
            "bias forgotten": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if True else b.reshape(groups, -1, 1)",
                "value",
            ),
            "bias added twice": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if b is None else 2 * b.reshape(groups, -1, 1)",
                "value",
            ),
            "padding dropped": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                "before = after = [0, 0]",
                "value",
            ),
            "padding of rows and columns exchanged": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                'before = after = list(pair("conv2d", "padding", padding, 0))[::-1]',
                "value",
            ),
            'odd cell of padding "same" before': (
                "[t // 2 for t in totals], [t - t // 2 for t in totals]",
                "[t - t // 2 for t in totals], [t // 2 for t in totals]",
                "value",
            ),
            "stride and dilation exchanged": (
                "strides, before, after, dilations, strict=True",
                "dilations, before, after, strides, strict=True",
                "value",
            ),
            "dilation of rows and columns exchanged": (
                "strides, before, after, dilations, strict=True",
                "strides, before, after, dilations[::-1], strict=True",
                "value",
            ),
            "weights of the latest call in backward": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = conv2d.__dict__.setdefault((w.shape, groups, w.dtype), "
                "w.reshape(groups, len(w) // groups, -1).copy())\n"
                "    w_rows[...] = w.reshape(w_rows.shape)",
                "contract",
            ),
            "dx in the memory of the call before": (
                "dx = memory.empty(x.shape, x.dtype) if need_dx else None",
                "dx = conv2d.__dict__.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))",
                "contract",
            ),
        },
    ),
    *_mutants(
        "conv2d",
        "npkd.windows",
        {
            "gaps between the windows of dy not zero": (
                "run[...] = 0",
                "run[...] = 1",
                "direction",
            ),
            "padding of ones": (
                "for patches in self._outside:\n            patches[...] = 0",
                "for patches in self._outside:\n            patches[...] = 1",
                "value",
            ),
            "cells of the row before in the padding": (
                "for j, windows in self.columns.outside]",
                "for j, windows in []]",
                "value",
            ),
            "cells of the image before in the padding": (
                "for i, windows in self.rows.outside]",
                "for i, windows in []]",
                "value",
            ),
            "gradients of the padding folded into the image": (
                "self._zero_outside()\n        if len(self._sums)",
                "if len(self._sums)",
                "direction",
            ),
            "padding behind the image taken for image": (
                "(i, slice(inside.stop, self.output))",
                "(i, slice(inside.stop + 1, self.output))",
                "value",
            ),
            "unfold mirrored": (
                "patches[...] = taps",
                "patches[...] = taps[:, :, ::-1]",
                "value",
            ),
            "next tap of a phase as if it were not dilated": (
                "step * self.dilation // self.stride,",
                "step // self.stride,",
                "value",
            ),
            "taps of a phase in another": (
                "i * self.dilation % self.stride,",
                "i % self.stride,",
                "value",
            ),
            "cells under no tap left as they were": (
                "if len(self._sums) < self.rows.stride * self.columns.stride:",
                "if False:",
                "direction",
            ),
            "fold without the first tap": (
                "np.add.reduce(taps[:, :, :, :, : len(dx)]",
                "np.add.reduce(taps[:, :, 1:, :, : len(dx)]",
                "direction",
            ),
            "fold off by one tap": (
                "next_r = taps_r.step * tap_r - step_r * row",
                "next_r = taps_r.step * tap_r - step_r * row - place",
                "direction",
            ),
            "fold reads what lies behind a run": (
                "self._memory[:, :, self.length :] = 0",
                "self._memory[:, :, self.length :] = 1",
                "direction",
            ),
            "fold into the channels of another group": (
                "group = channels * channel + tap_c",
                "group = channels * channel",
                "direction",
            ),
            "rows too near to each other": (
                "- self.first + 1, self.output)",
                "- self.first, self.output)",
                "value",
            ),
            "taps of a phase not shifted down": (
                "return down * self.columns.pitch + right",
                "return down + right",
                "value",
            ),
            "cells of a phase on the wrong side of the padding": (
                "range((a - self.before) % self.stride, self.size, self.stride)",
                "range((a + self.before) % self.stride, self.size, self.stride)",
                "value",
            ),
            "windows of the first image in all": (
                "return grid[:, :images, :",
                "return grid[:, [0] * images, :",
                "value",
            ),
        },
    ),
    *_mutants(
        "avg_pool2d",
        "npkd.ops.pool",
        {
            "count_include_pad inverted": (
                "bool(count_include_pad)",
                "not count_include_pad",
                "value",
            ),
            "divisor of a whole window everywhere": (
                "np.outer(rows.cells(padded), columns.cells(padded))",
                "np.full((rows.output, columns.output), rows.kernel * columns.kernel)",
                "value",
            ),
            "divisor_override ignored": (
                "if divisor_override is None:",
                "if True:",
                "value",
            ),
            "stride 1 by default": (
                "stride = kernels",
                "stride = 1",
                "value",
            ),
            "dx not divided": (
                "dy[n] / divisor",
                "dy[n] / 1",
                "direction",
            ),
            "dx divided twice": (
                "dy[n] / divisor",
                "dy[n] / divisor**2",
                "direction",
            ),
            "rows before columns in dx": (
                "scatter(columns, 3, dy[n] / divisor, sums)",
                "scatter(rows, 3, dy[n] / divisor, sums)",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "scatter(rows, 2, sums, dx[n])",
                "scatter(rows, 2, sums, dx[n])\n                dx[n][0, 0, 0, 0] *= 1 + 1e-12",
                "entries",
            ),
        },
    ),
    *_mutants(
        "avg_pool2d",
        "npkd.windows",
        {
            "taps overwritten, not added": (
                "y[windows] += x[cells]",
                "y[windows] = x[cells]",
                "value",
            ),
            "last tap forgotten where all are inside": (
                "[x[cells] for _, cells in taps]",
                "[x[cells] for _, cells in taps[:-1]]",
                "value",
            ),
            "dx overwritten where windows overlap": (
                "dx[cells] += dy[windows]",
                "dx[cells] = dy[windows]",
                "direction",
            ),
            "dx of overlapping windows as if they tiled the image": (
                "self.kernel == self.stride and",
                "self.kernel >= self.stride and",
                "direction",
            ),
            "dx of windows that leave cells over as if they tiled the image": (
                "self.output * self.stride == self.size",
                "self.output * self.stride <= self.size",
                "entries",
            ),
            "last window empty": (
                "last = min(self.output - 1,",
                "last = min(self.output - 2,",
                "value",
            ),
            "windows one cell too far": (
                "offset = i * self.dilation - self.before",
                "offset = i * self.dilation - self.before + 1",
                "value",
            ),
            "cell behind the edge counted": (
                "(taps < high)",
                "(taps <= high)",
                "value",
            ),
            "windows sticking out start in the padding behind": (
                "return windows - last_starts_outside",
                "return windows",
                "value",
            ),
            "ceil_mode goes by the image without padding": (
                ">= self.size + self.before",
                ">= self.size",
                "value",
            ),
        },
    ),
    *_mutants(
        "max_pool2d",
        "npkd.ops.pool",
        {
            "the last of equal cells": (
                "(candidate.real > best.real)",
                "(candidate.real >= best.real)",
                "ties",
            ),
            "largest by absolute value": (
                "(candidate.real > best.real)",
                "(abs(candidate) > abs(best))",
                "value",
            ),
            "column by column": (
                "for i in range(rows.kernel):\n"
                "        row_windows, row_cells = rows.taps[i]\n"
                "        for j in range(columns.kernel):\n"
                "            column_windows, column_cells = columns.taps[j]\n",
                "for j in range(columns.kernel):\n"
                "        column_windows, column_cells = columns.taps[j]\n"
                "        for i in range(rows.kernel):\n"
                "            row_windows, row_cells = rows.taps[i]\n",
                "ties",
            ),
            "padding of zeros may be chosen": (
                "choice[n] = -1",
                "choice[n] = -1\n"
                "            inside = rows.cells()[:, None] * columns.cells()\n"
                "            padded = inside < rows.kernel * columns.kernel\n"
                "            y[n][..., padded], choice[n][..., padded] = 0, 99",
                "value",
            ),
            "starts from zero": (
                "choice[n] = -1",
                "y[n], choice[n] = 0, 0",
                "value",
            ),
            "choice off by one": (
                "np.copyto(chosen, tap, where=better)",
                "np.copyto(chosen, tap + 1, where=better)",
                "direction",
            ),
            "taps numbered alike": (
                "i * columns.kernel + j",
                "i * rows.kernel + j",
                "direction",
            ),
            "dy to all equal cells": (
                "choice[n][windows] == tap",
                "x[n][cells].real == y[n][windows].real",
                "ties",
            ),
            "dx overwritten where windows overlap": (
                "dx[n][cells] += np.where",
                "dx[n][cells] = np.where",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "np.where(choice[n][windows] == tap, dy[n][windows], 0)",
                "np.where(choice[n][windows] == tap, dy[n][windows] * (1 + 1e-12 * (tap == 0)), 0)",
                "direction",
            ),
            "ceil_mode ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, d, False)",
                "value",
            ),
            "dilation ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, 1, bool(ceil_mode))",
                "value",
            ),
            "choices of the latest call in backward": (
                "choice = np.empty(y.shape, np.int32)",
                "choice = max_pool2d.__dict__.setdefault(y.shape, np.empty(y.shape, np.int32))",
                "contract",
            ),
        },
    ),
    *_mutants(
        "linear",
        "npkd.ops.linear",
        {
            "bias forgotten": (
                "if b is not None:\n            y[:, o] += b[o]",
                "if False:\n            y[:, o] += b[o]",
                "value",
            ),
            "dx by the transposed weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = (dy @ w.T.reshape(w.shape))[:, i]",
                "direction",
            ),
            "dx by the conjugated weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = dy @ w[:, i].conj()",
                "adjoint",
            ),
            "dw transposed": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "dw[o] = (x.T @ dy).reshape(w.shape)[o]",
                "direction",
            ),
            "dw averaged over the batch": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T / len(x), x, out=dw[o])",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T, x, out=dw[o])\n            dw[0, 0] *= 1 + 1e-12",
                "direction",
            ),
            "db averaged over the batch": (
                "dy.sum(axis=0)",
                "dy.mean(axis=0)",
                "direction",
            ),
            "db of the first row only": (
                "dy.sum(axis=0)",
                "dy[0].copy()",
                "direction",
            ),
            "db in double precision": (
                "dy.sum(axis=0)",
                "dy.sum(axis=0, dtype=np.result_type(dy, np.float64))",
                "contract",
            ),
            "y in the memory of the call before": (
                "y = memory.empty((len(x), len(w)), x.dtype)",
                "y = linear.__dict__.setdefault("
                "(len(x), len(w), x.dtype), np.empty((len(x), len(w)), x.dtype))",
                "contract",
            ),
            "db where there is no bias": (
                "None if b is None else dy.sum(axis=0)",
                "dy.sum(axis=0)",
                "direction",
            ),
        },
    ),
    *_mutants(
        "linear",
        "npkd.memory",
        {
            "memory handed out while somebody has it": (
                "return np.frombuffer(lease, dtype).reshape(shape)",
                "return np.frombuffer(memory, dtype).reshape(shape)",
                "contract",
            ),
            "memory handed out twice": (
                "memory, _ = free.pop()",
                "memory, _ = free[-1]",
                "contract",
            ),
        },
    ),
    *_mutants(
        "flatten",
        "npkd.ops.linear",
        {
            "rows and channels exchanged": (
                "return x.reshape(shape), backward",
                "return x.swapaxes(1, -2).reshape(shape), backward",
                "value",
            ),
            "columns first in backward": (
                "return dy.reshape(x.shape)",
                'return dy.reshape(x.shape, order="F")',
                "direction",
            ),
        },
    ),
    *_mutants(
        "relu",
        "npkd.ops.activation",
        {
            "complex numbers by their size": (
                "np.where(x_rows[part].real <= 0, 0, x_rows[part])",
                "np.where(abs(x_rows[part]) <= 0, 0, x_rows[part])",
                "value",
            ),
            "leaky": (
                "np.maximum(x_rows[part], zeros, out=y_rows[part])",
                "np.maximum(x_rows[part], 0.01 * x_rows[part], out=y_rows[part])",
                "value",
            ),
            "dy passes at zero": (
                "~(x_rows[part].real <= 0)",
                "~(x_rows[part].real < 0)",
                "ties",
            ),
            "dy passes everywhere": (
                "~(x_rows[part].real <= 0)",
                "True",
                "direction",
            ),
            "dy decides, not x": (
                "~(x_rows[part].real <= 0)",
                "~(dy_rows[part].real <= 0)",
                "direction",
            ),
            "x is overwritten": (
                "y = memory.empty(x.shape, x.dtype)",
                "y = x",
                "contract",
            ),
            "dy is overwritten": (
                "dx = memory.empty(x.shape, x.dtype)",
                "dx = dy",
                "contract",
            ),
        },
    ),
    *_mutants(
        "softmax",
        "npkd.ops.activation",
        {
            "sum over everything": (
                "p /= p.sum(axis=axis, keepdims=True)",
                "p /= p.sum(keepdims=True)",
                "value",
            ),
            "dx without the mean": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * dy",
                "direction",
            ),
            "mean of dy not weighted": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * (dy - dy.mean(axis=axis, keepdims=True))",
                "direction",
            ),
            "mean along the last axis": (
                "(dy * p).sum(axis=axis, keepdims=True)",
                "(dy * p).sum(axis=-1, keepdims=True)",
                "direction",
            ),
            "outputs of the latest call in backward": (
                'p = np.exp(_less_maximum("softmax", x, axis))',
                "p = softmax.__dict__.setdefault((x.shape, x.dtype), x.copy())\n"
                '    np.exp(_less_maximum("softmax", x, axis), out=p)',
                "contract",
            ),
            "outputs may be written to": (
                "return p.copy(), backward",
                "return p, backward",
                "contract",
            ),
        },
    ),
    *_mutants(
        "log_softmax",
        "npkd.ops.activation",
        {
            "backward without exp": (
                "p = np.exp(y)",
                "p = y.copy()",
                "direction",
            ),
            "dx without the sum": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "return dy - p",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "dx = dy - p * dy.sum(axis=axis, keepdims=True)\n"
                "        dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx",
                "direction",
            ),
        },
    ),
    *_mutants(
        "upsample",
        "npkd.ops.resize",
        {
            "bilinear with the weights exchanged": (
                "y[r::factor] = (1 - weight) * low + weight * high",
                "y[r::factor] = weight * low + (1 - weight) * high",
                "value",
            ),
            "bilinear with the corners aligned": (
                "offset = (r + 0.5) / factor - 0.5",
                "offset = r / factor",
                "value",
            ),
            "bilinear dx with the weights exchanged": (
                "padded[start : start + size] += (1 - weight) * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += weight * dy[r::factor]",
                "padded[start : start + size] += weight * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += (1 - weight) * dy[r::factor]",
                "direction",
            ),
            "bilinear dx loses the first edge": (
                "dx[0] += padded[0]",
                "dx[0] += 0",
                "direction",
            ),
            "bilinear dx loses the last edge": (
                "dx[-1] += padded[-1]",
                "dx[-1] += 0",
                "direction",
            ),
            "nearest dx averaged": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "gather(columns, 3, gather(rows, 2, dy)) / f**2",
                "direction",
            ),
            "nearest dx of the blocks' first cells": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "dy[:, :, ::f, ::f].copy()",
                "direction",
            ),
        },
    ),
    *_mutants(
        "pixel_shuffle",
        "npkd.ops.resize",
        {
            "channels in another order": (
                "blocks = x.reshape(n, c, f, f, height, width)",
                "blocks = x.reshape(n, f, f, c, height, width).transpose(0, 3, 1, 2, 4, 5)",
                "value",
            ),
            "rows and columns of a block exchanged": (
                "blocks.transpose(0, 1, 4, 2, 5, 3)",
                "blocks.transpose(0, 1, 4, 3, 5, 2)",
                "value",
            ),
            "rows and columns of a block exchanged in dx": (
                "transpose(0, 1, 3, 5, 2, 4)",
                "transpose(0, 1, 5, 3, 2, 4)",
                "direction",
            ),
        },
    ),
    *_mutants(
        "l2",
        "npkd.losses.regression",
        {
            "value without the ½": (
                "sum_of_squares(delta.ravel(), 0.5 * factor / divisor)",
                "sum_of_squares(delta.ravel(), factor / divisor)",
                "value",
            ),
            "value by absolute values": (
                "sum_of_squares(delta.ravel(), 0.5 * factor / divisor)",
                "sum_of_squares(np.abs(delta).ravel(), 0.5 * factor / divisor)",
                "value",
            ),
            "value in double precision": (
                "value = 0.5 * factor * delta * delta",
                "value = np.float64(0.5) * factor * delta * delta",
                "contract",
            ),
            "gradient by the teacher": (
                "gradient = delta / divisor",
                "gradient = -delta / divisor",
                "direction",
            ),
            "gradient averaged twice": (
                "gradient = delta / divisor",
                "gradient = delta / divisor**2",
                "direction",
            ),
            "gradient doubled": (
                "gradient = delta / divisor",
                "gradient = 2 * delta / divisor",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = delta / divisor",
                "gradient = delta / divisor\n    gradient.flat[:1] *= 1 + 1e-12",
                "direction",
            ),
            "batchmean over all entries": (
                '"l2", reduction, batchmean=len(student)',
                '"l2", reduction, batchmean=student.size',
                "value",
            ),
            "elementmean over the batch": (
                '"l2", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"l2", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
                "value",
            ),
            "gradient averaged where losses are kept apart": (
                "none=1\n    )\n    delta = less(student, teacher)\n    if t",
                "none=len(student)\n    )\n    delta = less(student, teacher)\n    if t",
                "direction",
            ),
            "half=False forgotten": (
                "factor *= 2",
                "pass",
                "value",
            ),
            "T² in the gradient alone": (
                "0.5 * factor / divisor)",
                "0.5 * (2 - half) / divisor)",
                "value",
            ),
            "T² in the value alone": (
                "gradient if factor == t else (factor / t) * gradient",
                "((2 - half) / t) * gradient",
                "direction",
            ),
            "gradient not divided by T": (
                "gradient if factor == t else (factor / t) * gradient",
                "factor * gradient",
                "direction",
            ),
            "difference not divided by T": (
                "        delta = delta / t\n",
                "        delta = delta.copy()\n",
                "value",
            ),
            "teacher's logits not divided by T": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student, t), log_softened(teacher)\n"
                "        delta, _ = log_ratio(student / t - teacher, log_q, log_p)",
                "value",
            ),
            "gradient not through the softmax": (
                "gradient = of_infinite(partial(back, q), gradient)",
                "pass",
                "direction",
            ),
            "softmax over the batch": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student.T, t).T, log_softened(teacher.T, t).T\n"
                "        delta = log_q - log_p",
                "value",
            ),
            "probabilities and their logarithms exchanged": (
                '        if variant == "probabilities":\n            delta =',
                '        if variant != "probabilities":\n            delta =',
                "value",
            ),
        },
    ),
    *_mutants(
        "l2",
        "npkd.losses.arguments",
        {
            "no reduction divides": (
                "return divisors[reduction]",
                "return 1",
                "value",
            ),
        },
    ),
    *_mutants(
        "l1",
        "npkd.losses.regression",
        {
            "value of differences with their signs": (
                "value = sign * delta",
                "value = delta.copy()",
                "value",
            ),
            "value squared": (
                "value = sign * delta",
                "value = delta * delta",
                "value",
            ),
            "gradient by the teacher": (
                "return value, sign / divisor",
                "return value, -sign / divisor",
                "direction",
            ),
            "gradient of L2": (
                "return value, sign / divisor",
                "return value, delta / divisor",
                "direction",
            ),
            "gradient not averaged": (
                "return value, sign / divisor",
                "return value, sign",
                "direction",
            ),
            "sign of the student's outputs": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(student.real).astype(delta.dtype)",
                "value",
            ),
            "sign in double precision": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(delta.real).astype(np.result_type(delta.dtype, np.float64))",
                "contract",
            ),
            "batchmean over all entries": (
                '"l1", reduction, batchmean=len(student)',
                '"l1", reduction, batchmean=student.size',
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, sign / divisor",
                "gradient = sign / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "huber",
        "npkd.losses.regression",
        {
            "squares far out too": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = np.ones(difference.shape, bool)",
                "value",
            ),
            "over to absolute values at 1 whatever δ": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = ~(np.abs(difference.real) > 1)",
                "value",
            ),
            "squares far out, absolute values near": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = np.abs(difference.real) > delta",
                "value",
            ),
            "value near 0 without the ½": (
                "0.5 * difference * difference",
                "difference * difference",
                "value",
            ),
            "value far out without the −½ δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "delta * (sign * difference)",
                "value",
            ),
            "value far out without the δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "sign * difference - 0.5 * delta",
                "value",
            ),
            "gradient far out without the δ": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, sign)",
                "direction",
            ),
            "gradient far out without the sign": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, delta)",
                "direction",
            ),
            "gradient of the smooth one not divided by δ": (
                "value, gradient = value / far, gradient / far",
                "value = value / far",
                "direction",
            ),
            "the two variants exchanged": (
                'if variant == "smooth":',
                'if variant != "smooth":',
                "value",
            ),
            "elementmean over the batch": (
                '"huber", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"huber", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient = gradient / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "cross_entropy",
        "npkd.losses.labels",
        {
            "gradient towards the class before": (
                "gradient[of_label] = np.expm1(log_p[of_label])",
                "gradient[of_label[0], labels - 1] -= 1",
                "direction",
            ),
            "gradient with its sign flipped": (
                "return value, gradient / divisor",
                "return value, -gradient / divisor",
                "direction",
            ),
            "gradient averaged twice": (
                "return value, gradient / divisor",
                "return value, gradient / divisor**2",
                "direction",
            ),
            "gradient not averaged": (
                "return value, gradient / divisor",
                "return value, gradient",
                "direction",
            ),
            "averaged over classes too": (
                "batchmean=len(logits)",
                "batchmean=logits.size",
                "value",
            ),
            "softmax over the batch": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(logits.T).T",
                "value",
            ),
            "softmax of a softmax": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(np.exp(log_softened(logits)))",
                "value",
            ),
            "losses kept apart are added": (
                'if reduction != "none":',
                "if True:",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, gradient / divisor",
                "entries",
            ),
            "the label's gradient alone": (
                "gradient, of_label = np.exp(log_p),",
                "gradient, of_label = np.zeros_like(log_p),",
                "direction",
            ),
            "the label's gradient not that of the others": (
                "np.expm1(log_p[of_label])",
                "np.exp(log_p[of_label]) - 2",
                "direction",
            ),
        },
    ),
    *_mutants(
        "cross_entropy",
        "npkd.losses.arguments",
        {
            "labels in another order": (
                "labels = np.asarray(labels)",
                "labels = np.sort(labels)",
                "value",
            ),
        },
    ),
    *_mutants(
        "mix",
        "npkd.losses.mixture",
        {
            "α and 1 − α exchanged in the value": (
                "value = (1 - alpha) * hard_value + alpha * soft_value",
                "value = alpha * hard_value + (1 - alpha) * soft_value",
                "value",
            ),
            "α and 1 − α exchanged in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, alpha * hard_gradient + (1 - alpha) * soft_gradient",
                "direction",
            ),
            "labels not weighted in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, hard_gradient + alpha * soft_gradient",
                "direction",
            ),
            "gradient by the teacher alone": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, soft_gradient if alpha else hard_gradient",
                "direction",
            ),
            "student and teacher exchanged": (
                "soft_gradient = soft(student, teacher)",
                "soft_gradient = soft(teacher, student)",
                "direction",
            ),
            "labels set against the teacher": (
                "hard_gradient = hard(student, labels)",
                "hard_gradient = hard(teacher, labels)",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "gradient = (1 - alpha) * hard_gradient + alpha * soft_gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *_mutants(
        "mix",
        "npkd.losses.regression",
        {
            "l2 halves its gradient too": (
                "gradient = delta / divisor",
                "gradient = 0.5 * delta / divisor",
                "direction",
            ),
        },
    ),
    *_mutants(
        "kl",
        "npkd.losses.soft_targets",
        {
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
                "value",
            ),
            "T² missing in the gradient": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (1 / t / divisor) * gradient",
                "direction",
            ),
            "gradient not divided by T": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / divisor) * gradient",
                "direction",
            ),
            "gradient not averaged": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / t) * gradient",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, (factor / t / divisor) * gradient",
                "direction",
            ),
            "student and teacher exchanged": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_q, log_p = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "teacher not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "softmax over the batch": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher.T, t).T, log_softened(student.T, t).T\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "p and q exchanged in the gradient": (
                "divergence(p, q, u, times), difference(p, q, u)",
                "divergence(p, q, u, times), difference(q, p, -u)",
                "direction",
            ),
            "batchmean over all entries": (
                '"kl", reduction, batchmean=len(student)',
                '"kl", reduction, batchmean=student.size',
                "value",
            ),
            "elementmean over the batch": (
                '"kl", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"kl", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
                "value",
            ),
            "the reversed one not reversed": (
                "divergence(q, p, -u, times)",
                "divergence(p, q, u, times)",
                "value",
            ),
            "reversed gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n        else",
                "(q * u)\n        else",
                "direction",
            ),
            "unlogged gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n    else",
                "q * r\n    else",
                "direction",
            ),
            "logarithms where probabilities were given for them": (
                "expected(p, log_p - q)",
                "expected(p, log_p - log_q)",
                "value",
            ),
        },
    ),
    *_mutants(
        "kl",
        "npkd.losses.softened",
        {
            "e^u for e^u − 1": (
                "p * (times * x) * (times * x) / 2 * series",
                "p * ((times * x) * (times * x) / 2 * series + 1)",
                "value",
            ),
            "another series": (
                "series = 1 + x / n * series",
                "series = 1 + x / (n - 1) * series",
                "value",
            ),
            "a term missing where the student is far surer": (
                "q - p - p * u",
                "q - p * u",
                "value",
            ),
            "log Z without the far classes of the teacher": (
                "more - far_p",
                "more",
                "value",
            ),
            "log Z without the far classes of the student": (
                "np.log1p(np.where(alike, -far_q, 0))",
                "0",
                "value",
            ),
            "far rows by the classes that are near": (
                "np.abs(far_p) + np.abs(far_q) < 0.5",
                "np.abs(far_p) + np.abs(far_q) < np.inf",
                "value",
            ),
            "differences to another class": (
                "    f = d - of_r\n",
                "    f = d - d[..., :1]\n",
                "value",
            ),
        },
    ),
    *_mutants(
        "soft_cross_entropy",
        "npkd.losses.soft_targets",
        {
            "T² missing in the value": (
                "value = -factor * expected(p, log_q)",
                "value = -expected(p, log_q)",
                "value",
            ),
            "value with its sign flipped": (
                "value = -factor * expected(p, log_q)",
                "value = factor * expected(p, log_q)",
                "value",
            ),
            "the teacher's entropy subtracted": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(p, log_q - log_p)",
                "value",
            ),
            "the student's own entropy": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(q, log_q)",
                "value",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(1 / t / divisor) * difference(p, q, u)",
                "direction",
            ),
            "p and q exchanged in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * difference(q, p, -u)",
                "direction",
            ),
            "gradient not through the softmax": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * -p",
                "direction",
            ),
            "student not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
                "log_p, log_q = log_softened(teacher, t), log_softened(student)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
                "value",
            ),
            "batchmean over all entries": (
                "batchmean=len(student),\n        sum=1,",
                "batchmean=student.size,\n        sum=1,",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * difference(p, q, u)",
                "gradient = (factor / t / divisor) * difference(p, q, u)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "soft_cross_entropy",
        "npkd.losses.arguments",
        {
            "T for T²": (
                "t * t if squared else 1.0",
                "t if squared else 1.0",
                "value",
            ),
        },
    ),
    *_mutants(
        "limit",
        "npkd.losses.soft_targets",
        {
            "mean not subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "student - teacher",
                "value",
            ),
            "mean over the batch subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred((student - teacher).T)[0].T",
                "value",
            ),
            "mean of the student's logits subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred(student)[0] - teacher",
                "value",
            ),
            "mean not subtracted in the gradient": (
                "return value, delta / (classes * divisor)",
                "return value, (student - teacher) / (classes * divisor)",
                "direction",
            ),
            "value without the ½": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 1 / classes)",
                "value",
            ),
            "value not divided by C": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 0.5)",
                "value",
            ),
            "gradient not divided by C": (
                "return value, delta / (classes * divisor)",
                "return value, delta / divisor",
                "direction",
            ),
            "gradient doubled": (
                "return value, delta / (classes * divisor)",
                "return value, 2 * delta / (classes * divisor)",
                "direction",
            ),
            "the student's logits changed": (
                "lambda of: centred(of)[0], apart(student, teacher))",
                "lambda of: centred(of)[0], np.subtract(student, teacher, out=student))",
                "contract",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, delta / (classes * divisor)",
                "gradient = delta / (classes * divisor)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "limit",
        "npkd.losses.geometry",
        {
            "sums of squares in a unit that is not taken back": (
                "times * (v * v).sum(axis=-1) * by * by",
                "times * (v * v).sum(axis=-1) * by",
                "value",
            ),
        },
    ),
    *_mutants(
        "dkd",
        "npkd.losses.decoupled",
        {
            "the label's class among the rest": (
                "np.where(none, -np.inf, more)], axis=1)",
                "log_softened(z, t).max(axis=1, keepdims=True) * -1], axis=1)",
                "value",
            ),
            "the rest's mean logit for log Σ exp": (
                "np.where(none, -np.inf, more)], axis=1)",
                "(rest.mean(axis=1, keepdims=True) - m) / t], axis=1)",
                "value",
            ),
            "labels of other samples": (
                "labels[:, np.newaxis]",
                "labels[::-1, np.newaxis]",
                "value",
            ),
            "α and β exchanged in the value": (
                "value = alpha * np.where(alpha == 0, 0, tckd)",
                "alpha, beta = beta, alpha\n    value = alpha * np.where(alpha == 0, 0, tckd)",
                "value",
            ),
            "α for β in the gradient": (
                "by_rest = beta *",
                "by_rest = alpha *",
                "direction",
            ),
            "student and teacher exchanged between label and rest": (
                "divergence(b_t, b_s, u_two, times)",
                "divergence(b_s, b_t, -u_two, times)",
                "value",
            ),
            "student and teacher exchanged within the rest": (
                "divergence(r_t, r_s, u_rest, times)",
                "divergence(r_s, r_t, -u_rest, times)",
                "value",
            ),
            "the rest weighted by its probability, as in KL": (
                "divergence(r_t, r_s, u_rest, times)",
                "(b_t[:, 1] * divergence(r_t, r_s, u_rest, times))",
                "value",
            ),
            "no gradient between label and rest at the rest": (
                "(by_two[:, 1:] * r_s + by_rest)",
                "(by_rest.copy())",
                "direction",
            ),
            "gradient shared out as the teacher has it": (
                "by_two[:, 1:] * r_s",
                "by_two[:, 1:] * r_t",
                "direction",
            ),
            "the rest's gradient at the label": (
                "gradient[is_label] = by_two[:, 0]",
                "gradient[is_label] = by_two[:, 1]",
                "direction",
            ),
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
                "value",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * gradient",
                "(1 / t / divisor) * gradient",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient = (factor / t / divisor) * gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "dist",
        "npkd.losses.geometry",
        {
            "cosines, means not subtracted": (
                "    y = x - x[:, :1]\n    y -= y.mean(axis=1, keepdims=True)\n",
                "    y = x + 1\n",
                "value",
            ),
        },
    ),
    *_mutants(
        "dist",
        "npkd.losses.correlation",
        {
            "inter and intra exchanged in the value": (
                "beta * inter + gamma * intra",
                "gamma * inter + beta * intra",
                "value",
            ),
            "inter and intra exchanged in the gradient": (
                "    by_log_q = beta * by_inter",
                "    beta, gamma = gamma, beta\n    by_log_q = beta * by_inter",
                "direction",
            ),
            "no gradient by the correlation within classes": (
                "by_log_q += gamma * (by_intra * (least / unit_of_intra)).T",
                "pass",
                "direction",
            ),
            "gradient not through the softmax": (
                "by_log_probabilities(np.exp(log_q), by_log_q) / least",
                "by_log_q / least",
                "direction",
            ),
            "T² missing in the value": (
                "value = factor * (beta",
                "value = (beta",
                "value",
            ),
            "gradient not divided by T": (
                "return value, (factor / t) *",
                "return value, factor *",
                "direction",
            ),
            "teacher not softened": (
                "    ratio, _ = log_ratio",
                "    teacher = teacher * t\n"
                "    log_p = log_softened(teacher, t)\n"
                "    ratio, _ = log_ratio",
                "value",
            ),
            "softmax over the batch": (
                "by_log_probabilities(np.exp(log_q), by_log_q)",
                "by_log_probabilities(np.exp(log_q).T, by_log_q.T).T",
                "direction",
            ),
            "correlations added, not averaged": (
                "return value.mean(),",
                "return value.sum(),",
                "value",
            ),
            "gradient with its sign flipped": (
                "np.where(none, 0, by_log) / len(x), w",
                "np.where(none, 0, -by_log) / len(x), w",
                "direction",
            ),
            "length taken as a constant": (
                "backward(across)",
                "(across / n)",
                "direction",
            ),
            "ε left out of the gradient": (
                "by_log = kappa * (by_log - (1 - one_less) * less_kappa * x * u / n)",
                "by_log = kappa * by_log",
                "direction",
            ),
            "ε added to each length": (
                "    less_kappa = epsilon / (lengths",
                "    epsilon = epsilon * (1 + (n + of_n).mean().item())\n"
                "    less_kappa = epsilon / (lengths",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) "
                "/ least)",
                "gradient = (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) / "
                "least)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *_mutants(
        "dist",
        "npkd.losses.arguments",
        {
            "weights and temperature in double precision": (
                "found = as_float(value)",
                "found = np.float64(as_float(value))",
                "contract",
            ),
        },
    ),
    *_mutants(
        "standardize",
        "npkd.losses.geometry",
        {
            "mean over the batch": (
                "    y = x - x[:, :1]\n    y -= y.mean(axis=1, keepdims=True)\n",
                "    y = x - x[:1]\n    y -= y.mean(axis=0, keepdims=True)\n",
                "value",
            ),
        },
    ),
    *_mutants(
        "standardize",
        "npkd.losses.standardization",
        {
            "divided by C whatever ddof": (
                "count = logits.shape[1] - int(ddof)",
                "count = logits.shape[1]",
                "value",
            ),
            "divided by C − 1 whatever ddof": (
                "count = logits.shape[1] - int(ddof)",
                "count = logits.shape[1] - 1",
                "value",
            ),
            "divided by C in the gradient": (
                "along = e * (d * e).sum(axis=1, keepdims=True) / count",
                "along = e * (d * e).mean(axis=1, keepdims=True)",
                "direction",
            ),
            "variance for deviation": (
                "by = epsilon + s",
                "by = epsilon + s * s",
                "value",
            ),
            "ε inside the root": (
                "by = epsilon + s",
                "by = np.sqrt(epsilon + s * s)",
                "value",
            ),
            "mean taken as a constant": (
                "d, _ = centred(dy)",
                "d = dy",
                "direction",
            ),
            "deviation taken as a constant": (
                "(d - along + along * (epsilon / by)) / by",
                "d / by",
                "direction",
            ),
            "ε in the deviation's slope": (
                "(d - along + along * (epsilon / by)) / by",
                "(d - along) / by",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return np.where(none, 0, (d - along + along * (epsilon / by)) / by)",
                "gradient = np.where(none, 0, (d - along + along * (epsilon / by)) / by)\n"
                "        gradient.flat[:1] *= 1 + 1e-12\n"
                "        return gradient",
                "entries",
            ),
        },
    ),
    *_mutants(
        "hint",
        "npkd.losses.features",
        {
            "halved always": (
                "l2(r, teacher, half=half, reduction=reduction)",
                "l2(r, teacher, half=True, reduction=reduction)",
                "value",
            ),
            "elementmean over the batch": (
                "l2(r, teacher, half=half, reduction=reduction)",
                'l2(r, teacher, half=half, reduction=reduction.replace("element", "batch"))',
                "value",
            ),
            "student and teacher exchanged": (
                "l2(r, teacher, half=half, reduction=reduction)",
                "l2(teacher, r, half=half, reduction=reduction)",
                "direction",
            ),
            "dweight transposed": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape[::-1]).T)",
                "direction",
            ),
            "dweight averaged over the batch again": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape) / len(dy))",
                "direction",
            ),
            "weight not trained": (
                "dw.reshape(weight.shape))",
                "np.zeros_like(weight))",
                "direction",
            ),
            "dbias averaged over the batch again": (
                "((db,) if bias is not None else ())",
                "((db / len(dy),) if bias is not None else ())",
                "direction",
            ),
            "weight's gradient before the student's": (
                "(dx, dw.reshape(weight.shape)) +",
                "(dw.reshape(weight.shape), dx) +",
                "direction",
            ),
            "one entry of each gradient off by 1e-12": (
                "value, dr = l2(r, teacher, half=half, reduction=reduction)",
                "value, dr = l2(r, teacher, half=half, reduction=reduction)\n"
                "    dr.flat[:1] *= 1 + 1e-12",
                "direction",
            ),
        },
    ),
    *_mutants(
        "attention",
        "npkd.losses.features",
        {
            "squares whatever the power": (
                "flat((size**power).mean(axis=1))",
                "flat((size**2).mean(axis=1))",
                "value",
            ),
            "power of the sum": (
                "flat((size**power).mean(axis=1))",
                "flat(size.mean(axis=1) ** power)",
                "value",
            ),
            "channels added in the value, averaged in the gradient": (
                "flat((size**power).mean(axis=1))",
                "flat((size**power).sum(axis=1))",
                "direction",
            ),
            "gradient without the sign": (
                "* sign * size ** (power - 1)",
                "* size ** (power - 1)",
                "direction",
            ),
            "gradient without the power before it": (
                "slope = power / features.shape[1] * sign",
                "slope = 1 / features.shape[1] * sign",
                "direction",
            ),
            "gradient with the power itself": (
                "size ** (power - 1)",
                "size**power",
                "direction",
            ),
            "maps divided by their sum": (
                "(q, backward), (r, _) = unit(a, epsilon_a), unit(b, epsilon_b)",
                "(q, backward), (r, _) = (\n"
                "        (m / by, lambda dy, m=m, by=by: (dy - (dy * m / by).sum(1, "
                "keepdims=True)) / by)\n"
                "        for m in (a, b)\n"
                "        for by in [m.sum(axis=1, keepdims=True)]\n"
                "    )",
                "value",
            ),
            "the student's map divided by no length": (
                "(q, backward), (r, _) = unit(a, epsilon_a),",
                "(q, backward), (r, _) = (a, lambda dq: dq),",
                "value",
            ),
            "gradient not through the length": (
                "to_student(backward(dq / divisor))",
                "to_student(dq / divisor)",
                "direction",
            ),
            "no ε for the teacher": (
                "unit(b, epsilon_b)",
                "unit(b)",
                "value",
            ),
            "the square for the norm": (
                "dq, _ = unit(delta)",
                "dq = delta",
                "value",
            ),
            "gradient without the 2": (
                "dq = 2 * delta",
                "dq = delta",
                "direction",
            ),
            "elementmean over the batch": (
                'divisors["elementmean"] = batch * positions',
                'divisors["elementmean"] = batch',
                "value",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, to_student(backward(dq / divisor))",
                "gradient = to_student(backward(dq / divisor))\n"
                "    gradient[0, 0, 0, 0] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "attention",
        "npkd.losses.geometry",
        {
            "ε forgotten in the length's slope": (
                "(across + e * along * less) * kept",
                "across * kept",
                "direction",
            ),
        },
    ),
    *_mutants(
        "nst",
        "npkd.losses.features",
        {
            "kernel of degree 1 in the student": (
                "np.swapaxes(s, 1, 2) @ s / c -",
                "np.ones_like(s[:, 0, :, np.newaxis]) * s.mean(axis=1, keepdims=True) -",
                "value",
            ),
            "student against teacher counted once": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) * w * w\n'
                "    value = value + (s @ np.swapaxes(t, 1, 2) / (c * d) * (s @ "
                "np.swapaxes(t, 1, 2))).sum((1, 2))",
                "value",
            ),
            "the teacher's own term missing": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) - ((t @ np.swapaxes(t, 1, 2) '
                "/ d) ** 2).sum((1, 2))",
                "value",
            ),
            "the teacher's channels divided by the student's number": (
                "np.swapaxes(t, 1, 2) @ t / d",
                "np.swapaxes(t, 1, 2) @ t / c",
                "value",
            ),
            "gradient by one side of the kernel only": (
                "ds = 4 * (",
                "ds = 2 * (",
                "direction",
            ),
            "gradient towards the teacher with its sign flipped": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ (apart + 2 * np.swapaxes(t, 1, 2) @ t / d)) / c / divisor",
                "direction",
            ),
            "gradient of the kernel of degree 1": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * np.broadcast_to(apart.sum(axis=1, keepdims=True), s.shape) / c / divisor",
                "direction",
            ),
            "channels divided by no length": (
                "unit(_channels(f), epsilon) for f in",
                "(_channels(f), lambda dy: dy) for f in",
                "value",
            ),
            "gradient not through the length": (
                "(backward(ds) * w).reshape(student.shape)",
                "(ds * w).reshape(student.shape)",
                "direction",
            ),
            "gradient not averaged": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ apart) / c",
                "direction",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (backward(ds) * w).reshape(student.shape)",
                "gradient = (backward(ds) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "nst",
        "npkd.losses.geometry",
        {
            "ε inside the root": (
                "    n = of_v * largest\n",
                "    n = np.sqrt((of_v * largest) ** 2 + epsilon)\n    epsilon = 0.0\n",
                "value",
            ),
        },
    ),
    *_mutants(
        "fsp",
        "npkd.losses.features",
        {
            "positions added, not averaged": (
                "np.swapaxes(g, 1, 2) / f.shape[2]",
                "np.swapaxes(g, 1, 2)",
                "value",
            ),
            "the teacher's positions averaged as the student's": (
                "np.swapaxes(tg, 1, 2) / tf.shape[2]",
                "np.swapaxes(tg, 1, 2) / f.shape[2]",
                "value",
            ),
            "gradient not divided by the positions": (
                "by_gram = by_gram / f.shape[2]",
                "by_gram = by_gram.copy()",
                "direction",
            ),
            "the second layer taken as a constant": (
                "dg = (np.swapaxes(by_gram, 1, 2) @ f)",
                "dg = (0 * np.swapaxes(by_gram, 1, 2) @ f)",
                "direction",
            ),
            "gradient halved": (
                "slope, value = 2 * columns,",
                "slope, value = columns,",
                "direction",
            ),
            "value halved": (
                "sum_of_squares(columns.ravel(), 1 / divisor)",
                "sum_of_squares(columns.ravel(), 0.5 / divisor)",
                "value",
            ),
            "elementmean over the batch": (
                "entries = columns.size if",
                "entries = len(columns) if",
                "value",
            ),
            "one norm for all columns": (
                "slope = unit(columns)[0]",
                "slope = unit(columns.reshape(len(columns), -1))[0].reshape(columns.shape)",
                "value",
            ),
            "the square for the norm": (
                "slope = unit(columns)[0]",
                "slope = columns",
                "value",
            ),
            "norms averaged over all entries": (
                "else len(columns) * columns.shape[1]",
                "else columns.size",
                "value",
            ),
            "gradients of the weights exchanged": (
                "*by_weight_first, *by_weight_second)\n",
                "*by_weight_second, *by_weight_first)\n",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (by_first, by_second,",
                "by_first.flat[:1] *= 1 + 1e-12\n    return value, (by_first, by_second,",
                "direction",
            ),
        },
    ),
    *_mutants(
        "vid",
        "npkd.losses.features",
        {
            "logarithm of the variance missing": (
                "squares.sum() * w * w + entries * np.log(variance).sum() / divisor",
                "squares.sum() * w * w",
                "value",
            ),
            "log σ for log σ²": (
                "entries * np.log(variance).sum() / divisor",
                "entries * np.log(variance).sum() / 2 / divisor",
                "value",
            ),
            "value without the ½": (
                "value = 0.5 * (squares",
                "value = (squares",
                "value",
            ),
            "variance by exp": (
                "variance = np.where(raised, scale, 0) + np.log1p(decay) + epsilon",
                "variance = np.exp(scale) + epsilon",
                "value",
            ),
            "ε missing": (
                "np.log1p(decay) + epsilon",
                "np.log1p(decay)",
                "value",
            ),
            "softplus's slope left out": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.ones_like(decay)",
                "direction",
            ),
            "softplus's slope that of the other sign": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.where(raised, decay, 1) / (1 + decay)",
                "direction",
            ),
            "the variance divides the error but once in dscale": (
                "- by_scale * squares * w * w",
                "- by_scale * squares * variance * w * w",
                "direction",
            ),
            "dscale with its sign flipped": (
                "dscale = by_scale * entries / divisor - by_scale * squares * w * w",
                "dscale = by_scale * squares * w * w - by_scale * entries / divisor",
                "direction",
            ),
            "dscale without the logarithm's part": (
                "dscale = by_scale * entries / divisor - by_scale",
                "dscale = -by_scale",
                "direction",
            ),
            "logarithms of all channels in dscale": (
                "entries = teacher.size // max(1, teacher.shape[1])",
                "entries = teacher.size",
                "value",
            ),
            "gradient not divided by the variance": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(error / divisor)",
                "direction",
            ),
            "gradient not averaged": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(precise)",
                "direction",
            ),
            "a fixed variance trained": (
                'if variant == "fixed":\n        dscale',
                "if False:\n        dscale",
                "direction",
            ),
            "one entry of dscale off by 1e-12": (
                "dstudent, *others = backward(precise / divisor)",
                "dscale[:1] *= 1 + 1e-12\n    dstudent, *others = backward(precise / divisor)",
                "direction",
            ),
            "one entry of dstudent off by 1e-12": (
                "return value, (dstudent, dscale, *others)",
                "dstudent.flat[:1] *= 1 + 1e-12\n    return value, (dstudent, dscale, *others)",
                "entries",
            ),
        },
    ),
    *_mutants(
        "similarity",
        "npkd.losses.relations",
        {
            "the two divisions of rows exchanged": (
                '{"paper": unit, "l1": shares}',
                '{"paper": shares, "l1": unit}',
                "value",
            ),
            "the teacher's columns for its rows": (
                "delta = g - of_teacher\n",
                "delta = g - of_teacher.T\n",
                "value",
            ),
            "the teacher's rows not divided": (
                "divide(p), divide(_products_by_row(flat(teacher))[0])",
                "divide(p), _products_by_row(flat(teacher))",
                "value",
            ),
            "gradient not through the rows' length": (
                "backward(2 * delta / divisor)",
                "2 * delta / divisor",
                "direction",
            ),
            "gradient without the 2": (
                "backward(2 * delta / divisor)",
                "backward(delta / divisor)",
                "direction",
            ),
            "gradient with its sign flipped": (
                "backward(2 * delta / divisor)",
                "backward(-2 * delta / divisor)",
                "direction",
            ),
            "samples divided by their length first": (
                "p, to_features = _products_by_row(flat(student))",
                "p, to_features = _products_by_row(unit(flat(student))[0])",
                "value",
            ),
            "batchmean over all pairs": (
                "elementmean=count**2, batchmean=count,",
                "elementmean=count**2, batchmean=count**2,",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return (delta * delta).sum() / divisor, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return (delta * delta).sum() / divisor, gradient",
                "entries",
            ),
            "products by their left factor alone": (
                "(dp @ right + dp.T @ left * (own / of_all)) / own",
                "dp @ right / own",
                "direction",
            ),
            "products with complex numbers conjugated": (
                "return left @ right.T,",
                "return left @ right.T.conj(),",
                "value",
            ),
        },
    ),
    *_mutants(
        "similarity",
        "npkd.losses.geometry",
        {
            "shares of the sum, signs and all": (
                "s = (sign * x).sum(axis=-1, keepdims=True)",
                "s = x.sum(axis=-1, keepdims=True)",
                "value",
            ),
            "the shares' sum taken as a constant": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "return np.where(none, 0, dy / s)",
                "direction",
            ),
            "signs forgotten in the slope of the shares' sum": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "across = dy - (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, across / s)",
                "direction",
            ),
        },
    ),
    *_mutants(
        "rkd_distance",
        "npkd.losses.relations",
        {
            "the mean distance taken as a constant": (
                "through_mean = (g * psi).sum() / many",
                "through_mean = 0",
                "direction",
            ),
            "the mean's gradient spread over all pairs": (
                "through_mean = (g * psi).sum() / many",
                "through_mean = (g * psi).sum() / psi.size",
                "direction",
            ),
            "gradient not divided by the mean": (
                "(by_psi / mean / unit_of)",
                "(by_psi / unit_of)",
                "direction",
            ),
            "distances of 0 in the mean": (
                "(d[apart] / w).sum() / many if many",
                "(d / w).mean() if many",
                "value",
            ),
            "distances in units of their sum": (
                "(d[apart] / w).sum() / many if many",
                "(d[apart] / w).sum() if many",
                "value",
            ),
            "the teacher's distances in the student's unit": (
                "difference, many = psi - psi_of_teacher,",
                "psi_of_teacher = of_teacher / mean\n    difference, many = psi - psi_of_teacher,",
                "value",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    g = g / divisor\n",
                "value, g = huber_of(difference, 1.0)\n    g = g / divisor\n",
                "value",
            ),
            "each pair counted once": (
                "return value.sum() / divisor, (by_psi",
                "return np.triu(value).sum() / divisor, (by_psi",
                "value",
            ),
            "mean over pairs of two samples": (
                "elementmean=count**2,",
                "elementmean=count * (count - 1),",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value.sum() / divisor, (by_psi / mean / unit_of).reshape(student.shape)",
                "gradient = (by_psi / mean / unit_of).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value.sum() / divisor, gradient",
                "entries",
            ),
            "the means' difference forgotten": (
                "(less - psi_of_teacher * (less.sum() / many)) / mean",
                "less / mean",
                "value",
            ),
        },
    ),
    *_mutants(
        "rkd_distance",
        "npkd.losses.geometry",
        {
            "squares of distances": (
                "y[i] = length(row - x)[:, 0]",
                "y[i] = length(row - x)[:, 0] ** 2",
                "value",
            ),
            "distances by absolute values": (
                "y[i] = length(row - x)[:, 0]",
                "y[i] = np.abs(row - x).sum(axis=1)",
                "value",
            ),
            "gradient of distances not divided by them": (
                "weight[i] @ ((row - x) / of[:, np.newaxis])",
                "weight[i] @ (row - x)",
                "direction",
            ),
            "gradient of distances at one end alone": (
                "weight = dy + dy.T",
                "weight = dy.copy()",
                "direction",
            ),
            "gradient of distances towards the other sample": (
                "weight[i] @ ((row - x) / of",
                "weight[i] @ ((x - row) / of",
                "direction",
            ),
        },
    ),
    *_mutants(
        "rkd_angle",
        "npkd.losses.relations",
        {
            "mean over pairs": (
                "elementmean=count**3",
                "elementmean=count**2",
                "value",
            ),
            "batchmean over pairs": (
                "count**3, batchmean=count,",
                "count**3, batchmean=count**2,",
                "value",
            ),
            "differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = products(x), cosines(y)",
                "value",
            ),
            "the teacher's differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = cosines(x), products(y)",
                "value",
            ),
            "no gradient by the sample that is seen from": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=0)",
                "direction",
            ),
            "gradient with its sign flipped": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=1) - dv.sum(axis=0)",
                "direction",
            ),
            "gradient not through the length": (
                "dv = to_differences(g / divisor)",
                "dv = products(unit(x)[0])[1](g / divisor)",
                "direction",
            ),
            "student and teacher exchanged": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(-difference, far)\n    dv",
                "direction",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(difference, 1.0)\n    dv",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)",
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)\n    gradient.flat[:1] *= 1 + 1e-12",
                "entries",
            ),
            "directions apart on one side alone": (
                "products_apart(e, of_e, less)",
                "products_apart(e, e, less)",
                "value",
            ),
        },
    ),
    *_mutants(
        "rkd_angle",
        "npkd.losses.geometry",
        {
            "length taken as a constant": (
                "across = orthogonal(e, dy - e * along, rules)",
                "across = dy",
                "direction",
            ),
            "products apart on one side alone": (
                "less @ np.swapaxes(x, -1, -2) + y @ np.swapaxes(less, -1, -2)",
                "less @ np.swapaxes(x, -1, -2)",
                "value",
            ),
            "directions apart, lengths taken as equal": (
                "less - u * lengths_apart(x, y, less)",
                "less.copy()",
                "value",
            ),
        },
    ),
    *_mutants(
        "pkt",
        "npkd.losses.relations",
        {
            "student and teacher exchanged": (
                "value = divergence(p, np.where(opposite, q, p * ratio), x).sum() / divisor",
                "value = divergence(q, p, -x).sum() / divisor",
                "value",
            ),
            "no ε above the line": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, (q + epsilon) / (by - epsilon)",
                "value",
            ),
            "ε added to the ratio": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, q / by + epsilon",
                "value",
            ),
            "ε above the line in the gradient too": (
                "dq = (more + epsilon / (m + epsilon) * q_away) / (q + epsilon) / divisor",
                "dq = more / (q + epsilon) / divisor",
                "direction",
            ),
            "gradient with its sign flipped": (
                "dq = (more +",
                "dq = -(more +",
                "direction",
            ),
            "gradient not averaged": (
                "* q_away) / (q + epsilon) / divisor",
                "* q_away) / (q + epsilon)",
                "direction",
            ),
            "the sum of a row taken as a constant": (
                "dc = (dq - (dq * q).sum(axis=1, keepdims=True)) / total",
                "dc = dq / total",
                "direction",
            ),
            "gradient of the cosine doubled": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_features(to_directions(2 * dc / w)) * w)",
                "direction",
            ),
            "gradient not through the length": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_directions(dc / w) * w)",
                "direction",
            ),
            "cosines not shifted": (
                "q, p = (1 + c) / total, (1 + of_teacher) / of_total",
                "q, p = c / total, of_teacher / of_total",
                "value",
            ),
            "the student's columns for its rows": (
                "    total, of_total =",
                "    c = c + 0.1 * np.arange(count)\n    total, of_total =",
                "value",
            ),
            "no ε in the student's length": (
                "unit(f, epsilon), unit(t, epsilon)",
                "unit(f), unit(t, epsilon)",
                "value",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (to_features(to_directions(dc / w)) * w).reshape(student.shape)",
                "gradient = (to_features(to_directions(dc / w)) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *_mutants(
        "cc",
        "npkd.losses.relations",
        {
            "the highest power missing": (
                "for p in range(1, order + 1)",
                "for p in range(1, order)\n        ] + [\n            0.0",
                "value",
            ),
            "powers not divided by p!": (
                "(2 * gamma) ** p / factorial(p)",
                "(2 * gamma) ** p",
                "value",
            ),
            "γ for 2γ": (
                "(2 * gamma) ** p / factorial(p)",
                "gamma**p / factorial(p)",
                "value",
            ),
            "e^−γ for e^−2γ": (
                "np.exp(-2 * gamma)",
                "np.exp(-gamma)",
                "value",
            ),
            "weights in double precision": (
                "float(np.exp(-2 * gamma))",
                "np.exp(-2 * gamma)",
                "contract",
            ),
            "the kernel's slope left out": (
                "to_features(dk * slope)",
                "to_features(dk)",
                "direction",
            ),
            "the kernel's slope by the kernel after it": (
                "slope = w + k + c * slope\n        k = c * (w + k)",
                "k = c * (w + k)\n        slope = w + k + c * slope",
                "direction",
            ),
            "gradient without the 2": (
                "1 / divisor), 2 * delta / divisor, 2 * n",
                "1 / divisor), delta / divisor, 2 * n",
                "direction",
            ),
            "the square for the norm": (
                "value, dk, units = (direction * delta).sum() / divisor",
                "value, dk, units = (delta * delta).sum() / divisor",
                "value",
            ),
            "gradient of the norm as long as the difference": (
                ", direction / divisor, 0",
                ", delta / divisor, 0",
                "direction",
            ),
            "the teacher's products for its kernel": (
                "_series(c, weights), _series(of_teacher, weights)",
                "_series(c, weights), (of_teacher, None)",
                "value",
            ),
            "samples divided by their length in all variants": (
                'matrix = cosines if variant == "paper" else products',
                "matrix = cosines if True else products",
                "value",
            ),
            "gradient not through the length": (
                "to_features(dk * slope)",
                "products(f)[1](dk * slope)",
                "direction",
            ),
            "consecutive samples from the first to the last again": (
                "value = (a[:-1] * a[1:]).sum() / divisor",
                "value = (a * np.roll(a, 1, axis=0)).sum() / divisor",
                "value",
            ),
            "consecutive: no gradient by the sample before": (
                "neighbours[1:] += a[:-1]\n",
                "pass\n",
                "direction",
            ),
            "consecutive: gradient without the sign": (
                "(sign * neighbours / divisor)",
                "(neighbours / divisor)",
                "direction",
            ),
            "consecutive: mean over samples, not their pairs": (
                "max(1, len(student) - 1)",
                "max(1, len(student))",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *_mutants(
        "cc",
        "npkd.losses.geometry",
        {
            "directions by the square of the length": (
                "return e * kept, backward",
                "return e * kept / of_v, backward",
                "value",
            ),
        },
    ),
    *_mutants(
        "cnn",
        "npkd.layers",
        {
            "convolution without its bias": (
                'ops.conv2d(x, params["weight"], params["bias"], padding=self.padding)',
                'ops.conv2d(x, params["weight"], 0 * params["bias"], padding=self.padding)',
                "value",
            ),
            "linear layer with the bias doubled": (
                'ops.linear(x, params["weight"], params["bias"])',
                'ops.linear(x, params["weight"], 2 * params["bias"])',
                "value",
            ),
            "gradients by weight and bias exchanged": (
                'return dx, {"weight": dw, "bias": db}',
                'return dx, {"weight": db, "bias": dw}',
                "direction",
            ),
            "gradients by biases forgotten": (
                "gradient for key, gradient in own.items()}",
                'gradient for key, gradient in own.items() if key != "bias"}',
                "direction",
            ),
            "gradient of a named layer overwrites": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name]",
                "direction",
            ),
            "gradient of a named layer dropped": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else dy",
                "direction",
            ),
            "gradient of a named layer added twice": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else dy + 2 * gradients[name]",
                "direction",
            ),
            "gradient of a named layer added in place": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else np.add(dy, gradients[name], out=dy)",
                "contract",
            ),
            "features in reverse order": (
                "return {name: outputs[name] for name in names}, backward",
                "return dict(zip(names, [outputs[name] for name in names[::-1]])), backward",
                "value",
            ),
            "without dx only the last layer learns": (
                "need_dx or name != first",
                "need_dx",
                "contract",
            ),
            "dx computed where not needed": (
                "need_dx or name != first",
                "True",
                "contract",
            ),
            "dx of the network zero": (
                "if dy is None and need_dx:",
                "if need_dx:",
                "direction",
            ),
            "layers that were not run get gradients": (
                "name: grads[name] if name in grads else np.zeros_like(theta)",
                "name: grads[name] if name in grads else theta.copy()",
                "direction",
            ),
        },
    ),
    *_mutants(
        "SmallCNN",
        "npkd.models",
        {
            "a ReLU left out": (
                '"relu2": Function(ops.relu),\n            "pool"',
                '"relu2": Function(lambda x: (x.copy(), lambda dy: dy.copy())),\n'
                '            "pool"',
                "value",
            ),
            "a ReLU too many": (
                '"fc2": Linear(self.hidden, num_classes),',
                '"fc2": Linear(self.hidden, num_classes), "relu4": Function(ops.relu),',
                "value",
            ),
            "pooled before the ReLU": (
                '"relu2": Function(ops.relu),\n            "pool": Function(ops.avg_pool2d, 2),',
                '"pool": Function(ops.avg_pool2d, 2),\n            "relu2": Function(ops.relu),',
                "value",
            ),
            "max pool": (
                "Function(ops.avg_pool2d, 2)",
                "Function(ops.max_pool2d, 2)",
                "value",
            ),
            "rows and columns exchanged before fc1": (
                "Function(ops.flatten)",
                "Function(lambda x: ops.flatten(x.swapaxes(2, 3)))",
                "value",
            ),
        },
    ),
    *_mutants(
        "SmallCNN",
        "npkd.layers",
        {
            "padding ignored": (
                "padding=self.padding",
                "padding=0",
                "value",
            ),
        },
    ),
    *_mutants(
        "SGD",
        "npkd.optim",
        {
            "uphill": (
                "theta[chunk] -= lr * step",
                "theta[chunk] += lr * step",
                "steps",
            ),
            "rate squared": (
                "theta[chunk] -= lr * step",
                "theta[chunk] -= lr**2 * step",
                "steps",
            ),
            "rate of the first step kept": (
                "float(self.lr)",
                'float(self.__dict__.setdefault("first", self.lr))',
                "steps",
            ),
            "rate inside of the velocity": (
                "v[chunk] += step\n"
                "                    step = v[chunk]\n"
                "                theta[chunk] -= lr * step",
                "v[chunk] += lr * step\n"
                "                    theta[chunk] -= v[chunk]\n"
                "                    continue\n"
                "                theta[chunk] -= lr * step",
                "steps",
            ),
            "damped by 1 − μ": (
                "v[chunk] += step",
                "v[chunk] += (1 - momentum) * step",
                "steps",
            ),
            "Nesterov's momentum": (
                "step = v[chunk]",
                "step = step + momentum * v[chunk]",
                "steps",
            ),
            "gradient shrunk with the velocity": (
                "v[chunk] *= momentum\n                    v[chunk] += step",
                "v[chunk] += step\n                    v[chunk] *= momentum",
                "steps",
            ),
            "velocity forgotten": (
                "if self.momentum and name not in self.velocity:",
                "if self.momentum:",
                "steps",
            ),
            "velocity never shrinks": (
                "v[chunk] *= momentum",
                "v[chunk] *= 1",
                "steps",
            ),
            "no weight decay": (
                "if decay:",
                "if False:",
                "steps",
            ),
            "weight decay with its sign flipped": (
                "step = step + decay * theta[chunk]",
                "step = step - decay * theta[chunk]",
                "steps",
            ),
            "weight decay decoupled": (
                "step = step + decay * theta[chunk]",
                "theta[chunk] -= lr * decay * theta[chunk]",
                "steps",
            ),
            "weight decay not for biases": (
                "if decay:",
                "if decay and theta.ndim > 1:",
                "steps",
            ),
            "weight decay added to the caller's gradient": (
                "step = step + decay * theta[chunk]",
                "step += decay * theta[chunk]",
                "steps",
            ),
            "a copy updated": (
                "theta, g = np.atleast_1d(theta, g)",
                "theta, g = np.atleast_1d(theta.copy(), g)",
                "steps",
            ),
        },
    ),
    *_mutants(
        "training",
        "npkd.optim",
        {
            "gradients clipped each by its own norm": (
                "g * float(norm / total)",
                "g * float(norm / max(norm, np.linalg.norm(g)))",
                "steps",
            ),
            "clipped by the square of the norm": (
                "math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))",
                "sum(float(np.linalg.norm(g)) ** 2 for g in grads.values())",
                "steps",
            ),
            "clipped by the sum of the norms": (
                "math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))",
                "sum(float(np.linalg.norm(g)) for g in grads.values())",
                "steps",
            ),
            "clipped gradients made longer": (
                "norm / total",
                "total / norm",
                "steps",
            ),
            "short gradients made longer": (
                "if not norm / scale < total < math.inf:",
                "if not 0 < total < math.inf:",
                "steps",
            ),
        },
    ),
    *_mutants(
        "training",
        "npkd.distill",
        {
            "no update on the first batch": (
                "optimiser.step(params, grads)",
                "if step:\n            optimiser.step(params, grads)",
                "steps",
            ),
            "no update on the last batch": (
                "optimiser.step(params, grads)",
                "if batch is not batches[-1]:\n            optimiser.step(params, grads)",
                "steps",
            ),
            "two updates for a batch": (
                "optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n        optimiser.step(params, grads)",
                "steps",
            ),
            "a copy updated": (
                "optimiser.step(params, grads)",
                "optimiser.step({name: p.copy() for name, p in params.items()}, grads)",
                "steps",
            ),
            "gradient of the batch before": (
                "optimiser.step(params, grads)",
                'grads, optimiser.last = getattr(optimiser, "last", grads), grads\n'
                "        optimiser.step(params, grads)",
                "steps",
            ),
            "gradient averaged over the batch again": (
                "backward(gradients, need_dx=False)",
                "backward(\n"
                "            {name: g / len(batch.x) for name, g in gradients.items()},\n"
                "            need_dx=False,\n"
                "        )",
                "steps",
            ),
            "rate of the step before": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(max(0, step - 1))",
                "steps",
            ),
            "rate not set": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(0)",
                "steps",
            ),
            "not clipped": (
                "if clip_norm < math.inf:",
                "if False:",
                "steps",
            ),
            "clipped after the update": (
                "if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)\n"
                "        optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n"
                "        if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)",
                "steps",
            ),
            "loss reported after the update": (
                "float(value), len(batch.x)",
                "float(loss(network.features(batch.x, loss.layers)[0], batch)[0]), len(batch.x)",
                "steps",
            ),
            "loss reported for the whole batch": (
                "float(value), len(batch.x)",
                "float(value) * len(batch.x), len(batch.x)",
                "steps",
            ),
            "what the losses train is not updated": (
                "params = network.params | loss.params",
                "params = network.params",
                "steps",
            ),
        },
    ),
    *_mutants(
        "training",
        "npkd.objectives",
        {
            "label_weight is the teacher's share in the value": (
                "value = self.label_weight * hard",
                "value = (1 - self.label_weight) * hard",
                "direction",
            ),
            "label_weight is the teacher's share in the gradient": (
                "gradients[self.output] = self.label_weight * gradient",
                "gradients[self.output] = (1 - self.label_weight) * gradient",
                "direction",
            ),
            "labels ignored": (
                "if self.label_weight > 0:",
                "if self.label_weight == 1:",
                "steps",
            ),
            "the teacher ignored where there are labels": (
                "list(terms) if label_weight < 1 else []",
                "list(terms) if label_weight == 0 else []",
                "direction",
            ),
            "losses to the teacher not weighted": (
                "share = (1 - self.label_weight) * term.factor",
                "share = 1 - self.label_weight",
                "steps",
            ),
            "student and teacher exchanged": (
                "function(*student, *teacher, *labels, *trained, **term.options)",
                "function(*teacher, *student, *labels, *trained, **term.options)",
                "direction",
            ),
            "the second loss of a layer takes the place of the first": (
                "gradients[layer] + part if layer in gradients else part",
                "part",
                "direction",
            ),
            "gradients of what is trained not weighted": (
                "grads |= {name: share * g for name, g in zip(names, by_param, strict=True)}",
                "grads |= dict(zip(names, by_param, strict=True))",
                "direction",
            ),
            "gradients of what is trained in another order": (
                "gradients[len(layers) :]",
                "gradients[: len(layers) - 1 : -1]",
                "direction",
            ),
            "a hint's gradient at the output": (
                "for layer, gradient in zip(layers, by_layer, strict=True):",
                "for layer, gradient in zip([self.output], by_layer, strict=False):",
                "direction",
            ),
        },
    ),
    *_mutants(
        "run",
        "npkd.distill",
        {
            "teacher shown unaltered images only": (
                "self.prepare.small_version(version)",
                "self.prepare.small_version(0)",
                "batches",
            ),
            "teacher's outputs for another version": (
                "teacher[epoch % self.versions]",
                "teacher[epoch // self.versions]",
                "batches",
            ),
            "teacher's outputs for other images": (
                "outputs[indices] if",
                "outputs[: len(indices)] if",
                "batches",
            ),
            "labels of other images": (
                "yield Batch(epoch, x, truth, of_teacher, rows)",
                "yield Batch(epoch, x, truth[::-1], of_teacher, rows)",
                "batches",
            ),
            "an untrained teacher": (
                "return TeacherFeatures(self.large, images",
                "return TeacherFeatures(self.task.networks(4, 0, 0)[0], images",
                "batches",
            ),
            "one small net for both": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.small",
                "nets",
            ),
            "small nets start apart": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.task.networks(classes, large_rng, small_rng)[1]",
                "nets",
            ),
            "teacher not frozen": (
                "theta.setflags(write=False)",
                "theta.copy().setflags(write=False)",
                "nets",
            ),
            "teacher goes on learning in step 5": (
                "yield Stage(5, STEPS[5])",
                "yield Stage(5, STEPS[5])\n"
                "        for theta in large.params.values():\n"
                "            theta.setflags(write=True)\n"
                '        yield from self.train("large")',
                "nets",
            ),
            "step 5 learns from labels": (
                'if name != "small":',
                "if name:",
                "nets",
            ),
            "step 5 goes by the other net's rate": (
                '"small": "learning_rate"',
                '"small": "labels_learning_rate"',
                "nets",
            ),
            "momentum and weight decay forgotten": (
                "optim.SGD(getattr(config, RATES[name]), config.momentum, decay)",
                "optim.SGD(getattr(config, RATES[name]))",
                "nets",
            ),
            "weight decay of the large net for the small ones": (
                'decay = config.large_weight_decay if name == "large" else config.weight_decay',
                "decay = config.large_weight_decay",
                "nets",
            ),
            "weight decay of the small nets for the large one": (
                'decay = config.large_weight_decay if name == "large" else config.weight_decay',
                "decay = config.weight_decay",
                "nets",
            ),
            "the first images labelled": (
                "order = np.random.default_rng([config.seed, LABELLED]).permutation(count)",
                "pass",
                "batches",
            ),
            "the same images labelled whatever the seed": (
                "np.random.default_rng([config.seed, LABELLED])",
                "np.random.default_rng([LABELLED])",
                "batches",
            ),
            "labelled images not among the taught": (
                "order[: known + config.unlabelled]",
                "order[known : known + config.unlabelled]",
                "batches",
            ),
            "other images taught than the labelled": (
                "order[: known + config.unlabelled]",
                "order[count - known - config.unlabelled :]",
                "batches",
            ),
            "all images taught": (
                "order[: known + config.unlabelled]",
                "order",
                "batches",
            ),
            "large net shown unlabelled images": (
                "self.order(LARGE_ORDER, epoch, self.labelled)",
                "self.order(LARGE_ORDER, epoch, self.taught)",
                "nets",
            ),
            "small net from labels shown unlabelled images": (
                "self.taught if teacher else self.labelled",
                "self.taught",
                "nets",
            ),
            "distilled net shown labelled images only": (
                "self.taught if teacher else self.labelled",
                "self.labelled",
                "batches",
            ),
            "labels of unlabelled images known": (
                "rows = None if all_known else",
                "rows = None if True else",
                "batches",
            ),
            "labels of the unlabelled images known alone": (
                "np.isin(indices, self.labelled)",
                "np.isin(indices, self.labelled, invert=True)",
                "batches",
            ),
            "labels of the first images of a batch": (
                "labels = self.dataset.train_labels[indices[labelled]]",
                "labels = self.dataset.train_labels[indices][: len(indices[labelled])]",
                "batches",
            ),
            "fewer updates from labels": (
                "else self.labelled, len(self.taught)",
                "else self.labelled, len(self.taught if teacher else self.labelled)",
                "nets",
            ),
            "some images twice, others never": (
                "passes = [rng.permutation(len(images)) for",
                "passes = [rng.integers(len(images), size=len(images)) for",
                "batches",
            ),
            "in the same order when all have been": (
                "passes = [rng.permutation(len(images)) for _ in range(0, count, len(images))]",
                "passes = [rng.permutation(len(images))] * count",
                "nets",
            ),
            "in the same order in every epoch": (
                "np.random.default_rng([self.config.seed, use, epoch])",
                "np.random.default_rng([self.config.seed, use])",
                "batches",
            ),
            "a schedule for as many batches as there are labelled images": (
                'len(self.labelled if net == "large" else self.taught)',
                "len(self.labelled)",
                "nets",
            ),
            "a schedule for as many batches as there are taught images": (
                'len(self.labelled if net == "large" else self.taught)',
                "len(self.taught)",
                "nets",
            ),
            "a schedule for the large net's epochs": (
                'self.config.large_epochs if net == "large" else self.config.epochs',
                "self.config.large_epochs",
                "nets",
            ),
        },
    ),
    *_mutants(
        "run",
        "npkd.objectives",
        {
            "few labels count as much as many": (
                "share = len(batch.labelled) / len(y)",
                "share = float(len(batch.labelled) > 0)",
                "nets",
            ),
            "few labels count as much as many in the value": (
                "return share * value, gradient",
                "return value, gradient",
                "nets",
            ),
            "few labels count as much as many in the gradient": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[batch.labelled] = of_labelled",
                "nets",
            ),
            "gradients of the labelled images at the first ones": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[: len(of_labelled)] = share * of_labelled",
                "nets",
            ),
            "labels taken for those of the first images": (
                "self.hard(y[batch.labelled], batch.truth)",
                "self.hard(y[: len(batch.truth)], batch.truth)",
                "nets",
            ),
            "labels ignored where some images have none": (
                "if not share:",
                "if share < 1:",
                "nets",
            ),
        },
    ),
    *_mutants(
        "run",
        "npkd.tasks",
        {
            "teacher_input ignored": (
                'if self.teacher_input == "high" else',
                "if False else",
                "batches",
            ),
            "teacher_input exchanged": (
                'if self.teacher_input == "high" else',
                'if self.teacher_input == "low" else',
                "batches",
            ),
        },
    ),
    *_mutants(
        "run",
        "npkd.layers",
        {
            "both small nets in the same memory": (
                "other.params = {name: theta.astype(dtype) for",
                "other.params = {name: theta.astype(dtype, copy=False) for",
                "nets",
            ),
        },
    ),
]
