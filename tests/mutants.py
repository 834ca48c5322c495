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
    """What it is a mutant of (a key of `CHECKS`), what is wrong, and the text that makes it so."""

    subject: str
    wrong: str
    module: str
    old: str
    new: str

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


def rejection(subject: str, judged: Any, seed: int) -> str:
    """The first check that rejects what is judged, on the case of this seed; "" if none does.

    An error of another kind than AssertionError is named: what crashes is rejected too.
    """
    for name, check in CHECKS[subject].items():
        rng = np.random.default_rng(seed)
        case = _CASES[subject](partial(_integer, rng))
        try:
            check(judged, case, rng)
        except AssertionError:
            return name
        except Exception as error:
            return f"{name} ({type(error).__name__})"
    return ""


_CASES = CASES | {"run": run_case}


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


# The table


def _mutants(subject: str, module: str, table: dict[str, tuple[str, str]]) -> list[Mutant]:
    """Mutants of one subject by one module: what is wrong, the text and its replacement."""
    return [Mutant(subject, wrong, module, old, new) for wrong, (old, new) in table.items()]


MUTANTS = [
    *_mutants(
        "conv2d",
        "npkd.ops.conv",
        {
            "kernel flipped": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = w[:, :, ::-1, ::-1].reshape(groups, len(w) // groups, -1)",
            ),
            "kernel flipped in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "flipped = w[:, :, ::-1, ::-1].reshape(w_rows.shape)\n"
                "                    np.matmul(flipped.swapaxes(1, 2), run, out=unfolding.scratch)",
            ),
            "kernel transposed in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "transposed = w.swapaxes(2, 3).reshape(w_rows.shape)\n"
                "                    transposed = transposed.swapaxes(1, 2)\n"
                "                    np.matmul(transposed, run, out=unfolding.scratch)",
            ),
            "kernel conjugated in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows.swapaxes(1, 2).conj(), run, out=unfolding.scratch)",
            ),
            "kernel of another group in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows[::-1].swapaxes(1, 2), run, out=unfolding.scratch)",
            ),
            "one entry of dx off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "if dx is not None:\n"
                "            dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx, dw, None if b is None else db",
            ),
            "dw with rows and columns exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[:2], *w.shape[:1:-1]).swapaxes(2, 3)",
            ),
            "dw with inputs and outputs exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[1::-1], *w.shape[2:]).swapaxes(0, 1)",
            ),
            "dw with images conjugated": (
                "unfolding.unfold(x[images]) @ run",
                "unfolding.unfold(x[images].conj()) @ run",
            ),
            "dw of another group": (
                "dw = dwb_rows[:, :, :-1]",
                "dw = dwb_rows[::-1, :, :-1]",
            ),
            "dw and db of the last slice only": (
                "dwb_columns += unfolding",
                "dwb_columns[...] = unfolding",
            ),
            "dw and db of the last part only": (
                "sum(partial_sums, start",
                "sum(partial_sums[-1:], start",
            ),
            "one entry of dw off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "dw[0, 0, 0, 0] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
            ),
            "db of the first window only": (
                "db = dwb_rows[:, :, -1]",
                "db = dy[:, :, 0, 0].sum(axis=0)",
            ),
            "db averaged over the batch": (
                "db = dwb_rows[:, :, -1]",
                "db = dwb_rows[:, :, -1] / len(x)",
            ),
            "db of another output": (
                "db = dwb_rows[:, :, -1]",
                "db = dwb_rows[:, ::-1, -1]",
            ),
            "one entry of db off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "db[-1] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
            ),
            "bias forgotten": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if True else b.reshape(groups, -1, 1)",
            ),
            "bias added twice": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if b is None else 2 * b.reshape(groups, -1, 1)",
            ),
            "padding dropped": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                "before = after = [0, 0]",
            ),
            "padding of rows and columns exchanged": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                'before = after = list(pair("conv2d", "padding", padding, 0))[::-1]',
            ),
            'odd cell of padding "same" before': (
                "[t // 2 for t in totals], [t - t // 2 for t in totals]",
                "[t - t // 2 for t in totals], [t // 2 for t in totals]",
            ),
            "stride and dilation exchanged": (
                "strides, before, after, dilations, strict=True",
                "dilations, before, after, strides, strict=True",
            ),
            "dilation of rows and columns exchanged": (
                "strides, before, after, dilations, strict=True",
                "strides, before, after, dilations[::-1], strict=True",
            ),
            "weights of the latest call in backward": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = conv2d.__dict__.setdefault((w.shape, groups, w.dtype), "
                "w.reshape(groups, len(w) // groups, -1).copy())\n"
                "    w_rows[...] = w.reshape(w_rows.shape)",
            ),
            "dx in the memory of the call before": (
                "dx = memory.empty(x.shape, x.dtype) if need_dx else None",
                "dx = conv2d.__dict__.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))",
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
            ),
            "padding of ones": (
                "for patches in self._outside:\n            patches[...] = 0",
                "for patches in self._outside:\n            patches[...] = 1",
            ),
            "cells of the row before in the padding": (
                "for j, windows in self.columns.outside]",
                "for j, windows in []]",
            ),
            "cells of the image before in the padding": (
                "for i, windows in self.rows.outside]",
                "for i, windows in []]",
            ),
            "gradients of the padding folded into the image": (
                "self._zero_outside()\n        if len(self._sums)",
                "if len(self._sums)",
            ),
            "padding behind the image taken for image": (
                "(i, slice(inside.stop, self.output))",
                "(i, slice(inside.stop + 1, self.output))",
            ),
            "unfold mirrored": (
                "patches[...] = taps",
                "patches[...] = taps[:, :, ::-1]",
            ),
            "next tap of a phase as if it were not dilated": (
                "step * self.dilation // self.stride,",
                "step // self.stride,",
            ),
            "taps of a phase in another": (
                "i * self.dilation % self.stride,",
                "i % self.stride,",
            ),
            "cells under no tap left as they were": (
                "if len(self._sums) < self.rows.stride * self.columns.stride:",
                "if False:",
            ),
            "fold without the first tap": (
                "np.add.reduce(taps[:, :, :, :, : len(dx)]",
                "np.add.reduce(taps[:, :, 1:, :, : len(dx)]",
            ),
            "fold off by one tap": (
                "next_r = taps_r.step * tap_r - step_r * row",
                "next_r = taps_r.step * tap_r - step_r * row - place",
            ),
            "fold reads what lies behind a run": (
                "self._memory[:, :, self.length :] = 0",
                "self._memory[:, :, self.length :] = 1",
            ),
            "fold into the channels of another group": (
                "group = channels * channel + tap_c",
                "group = channels * channel",
            ),
            "rows too near to each other": (
                "- self.first + 1, self.output)",
                "- self.first, self.output)",
            ),
            "taps of a phase not shifted down": (
                "return down * self.columns.pitch + right",
                "return down + right",
            ),
            "cells of a phase on the wrong side of the padding": (
                "range((a - self.before) % self.stride, self.size, self.stride)",
                "range((a + self.before) % self.stride, self.size, self.stride)",
            ),
            "windows of the first image in all": (
                "return grid[:, :images, :",
                "return grid[:, [0] * images, :",
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
            ),
            "divisor of a whole window everywhere": (
                "np.outer(rows.cells(padded), columns.cells(padded))",
                "np.full((rows.output, columns.output), rows.kernel * columns.kernel)",
            ),
            "divisor_override ignored": (
                "if divisor_override is None:",
                "if True:",
            ),
            "stride 1 by default": (
                "kernels if stride is None else stride",
                "1 if stride is None else stride",
            ),
            "dx not divided": (
                "dy[n] / divisor",
                "dy[n] / 1",
            ),
            "dx divided twice": (
                "dy[n] / divisor",
                "dy[n] / divisor**2",
            ),
            "rows before columns in dx": (
                "scatter(columns, 3, dy[n] / divisor, sums)",
                "scatter(rows, 3, dy[n] / divisor, sums)",
            ),
            "one entry of dx off by 1e-12": (
                "scatter(rows, 2, sums, dx[n])",
                "scatter(rows, 2, sums, dx[n])\n                dx[n][0, 0, 0, 0] *= 1 + 1e-12",
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
            ),
            "last tap forgotten where all are inside": (
                "[x[cells] for _, cells in taps]",
                "[x[cells] for _, cells in taps[:-1]]",
            ),
            "dx overwritten where windows overlap": (
                "dx[cells] += dy[windows]",
                "dx[cells] = dy[windows]",
            ),
            "dx of overlapping windows as if they tiled the image": (
                "self.kernel == self.stride and",
                "self.kernel >= self.stride and",
            ),
            "dx of windows that leave cells over as if they tiled the image": (
                "self.output * self.stride == self.size",
                "self.output * self.stride <= self.size",
            ),
            "last window empty": (
                "last = min(self.output - 1,",
                "last = min(self.output - 2,",
            ),
            "windows one cell too far": (
                "offset = i * self.dilation - self.before",
                "offset = i * self.dilation - self.before + 1",
            ),
            "cell behind the edge counted": (
                "(taps < high)",
                "(taps <= high)",
            ),
            "windows sticking out start in the padding behind": (
                "return windows - last_starts_outside",
                "return windows",
            ),
            "ceil_mode goes by the image without padding": (
                ">= self.size + self.before",
                ">= self.size",
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
            ),
            "largest by absolute value": (
                "(candidate.real > best.real)",
                "(abs(candidate) > abs(best))",
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
            ),
            "padding of zeros may be chosen": (
                "choice[n] = -1",
                "choice[n] = -1\n"
                "            inside = rows.cells()[:, None] * columns.cells()\n"
                "            padded = inside < rows.kernel * columns.kernel\n"
                "            y[n][..., padded], choice[n][..., padded] = 0, 99",
            ),
            "starts from zero": (
                "choice[n] = -1",
                "y[n], choice[n] = 0, 0",
            ),
            "choice off by one": (
                "np.copyto(chosen, tap, where=better)",
                "np.copyto(chosen, tap + 1, where=better)",
            ),
            "taps numbered alike": (
                "i * columns.kernel + j",
                "i * rows.kernel + j",
            ),
            "dy to all equal cells": (
                "choice[n][windows] == tap",
                "x[n][cells].real == y[n][windows].real",
            ),
            "dx overwritten where windows overlap": (
                "dx[n][cells] += np.where",
                "dx[n][cells] = np.where",
            ),
            "one entry of dx off by 1e-12": (
                "np.where(choice[n][windows] == tap, dy[n][windows], 0)",
                "np.where(choice[n][windows] == tap, dy[n][windows] * (1 + 1e-12 * (tap == 0)), 0)",
            ),
            "ceil_mode ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, d, False)",
            ),
            "dilation ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, 1, bool(ceil_mode))",
            ),
            "choices of the latest call in backward": (
                "choice = np.empty(y.shape, np.int32)",
                "choice = max_pool2d.__dict__.setdefault(y.shape, np.empty(y.shape, np.int32))",
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
            ),
            "dx by the transposed weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = (dy @ w.T.reshape(w.shape))[:, i]",
            ),
            "dx by the conjugated weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = dy @ w[:, i].conj()",
            ),
            "dw transposed": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "dw[o] = (x.T @ dy).reshape(w.shape)[o]",
            ),
            "dw averaged over the batch": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T / len(x), x, out=dw[o])",
            ),
            "one entry of dw off by 1e-12": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T, x, out=dw[o])\n            dw[0, 0] *= 1 + 1e-12",
            ),
            "db averaged over the batch": (
                "dy.sum(axis=0)",
                "dy.mean(axis=0)",
            ),
            "db of the first row only": (
                "dy.sum(axis=0)",
                "dy[0].copy()",
            ),
            "db in double precision": (
                "dy.sum(axis=0)",
                "dy.sum(axis=0, dtype=np.result_type(dy, np.float64))",
            ),
            "y in the memory of the call before": (
                "y = memory.empty((len(x), len(w)), x.dtype)",
                "y = linear.__dict__.setdefault("
                "(len(x), len(w), x.dtype), np.empty((len(x), len(w)), x.dtype))",
            ),
            "db where there is no bias": (
                "None if b is None else dy.sum(axis=0)",
                "dy.sum(axis=0)",
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
            ),
            "memory handed out twice": (
                "memory, _ = free.pop()",
                "memory, _ = free[-1]",
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
            ),
            "columns first in backward": (
                "return dy.reshape(x.shape)",
                'return dy.reshape(x.shape, order="F")',
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
            ),
            "leaky": (
                "np.maximum(x_rows[part], zeros, out=y_rows[part])",
                "np.maximum(x_rows[part], 0.01 * x_rows[part], out=y_rows[part])",
            ),
            "dy passes at zero": (
                "~(x_rows[part].real <= 0)",
                "~(x_rows[part].real < 0)",
            ),
            "dy passes everywhere": (
                "~(x_rows[part].real <= 0)",
                "True",
            ),
            "dy decides, not x": (
                "~(x_rows[part].real <= 0)",
                "~(dy_rows[part].real <= 0)",
            ),
            "x is overwritten": (
                "y = memory.empty(x.shape, x.dtype)",
                "y = x",
            ),
            "dy is overwritten": (
                "dx = memory.empty(x.shape, x.dtype)",
                "dx = dy",
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
            ),
            "dx without the mean": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * dy",
            ),
            "mean of dy not weighted": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * (dy - dy.mean(axis=axis, keepdims=True))",
            ),
            "mean along the last axis": (
                "(dy * p).sum(axis=axis, keepdims=True)",
                "(dy * p).sum(axis=-1, keepdims=True)",
            ),
            "outputs of the latest call in backward": (
                'p = np.exp(_less_maximum("softmax", x, axis))',
                "p = softmax.__dict__.setdefault((x.shape, x.dtype), x.copy())\n"
                '    np.exp(_less_maximum("softmax", x, axis), out=p)',
            ),
            "outputs may be written to": (
                "return p.copy(), backward",
                "return p, backward",
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
            ),
            "dx without the sum": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "return dy - p",
            ),
            "one entry of dx off by 1e-12": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "dx = dy - p * dy.sum(axis=axis, keepdims=True)\n"
                "        dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx",
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
            ),
            "bilinear with the corners aligned": (
                "offset = (r + 0.5) / factor - 0.5",
                "offset = r / factor",
            ),
            "bilinear dx with the weights exchanged": (
                "padded[start : start + size] += (1 - weight) * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += weight * dy[r::factor]",
                "padded[start : start + size] += weight * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += (1 - weight) * dy[r::factor]",
            ),
            "bilinear dx loses the first edge": (
                "dx[0] += padded[0]",
                "dx[0] += 0",
            ),
            "bilinear dx loses the last edge": (
                "dx[-1] += padded[-1]",
                "dx[-1] += 0",
            ),
            "nearest dx averaged": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "gather(columns, 3, gather(rows, 2, dy)) / f**2",
            ),
            "nearest dx of the blocks' first cells": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "dy[:, :, ::f, ::f].copy()",
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
            ),
            "rows and columns of a block exchanged": (
                "blocks.transpose(0, 1, 4, 2, 5, 3)",
                "blocks.transpose(0, 1, 4, 3, 5, 2)",
            ),
            "rows and columns of a block exchanged in dx": (
                "transpose(0, 1, 3, 5, 2, 4)",
                "transpose(0, 1, 5, 3, 2, 4)",
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
            ),
            "value by absolute values": (
                "sum_of_squares(delta.ravel(), 0.5 * factor / divisor)",
                "sum_of_squares(np.abs(delta).ravel(), 0.5 * factor / divisor)",
            ),
            "value in double precision": (
                "value = 0.5 * factor * delta * delta",
                "value = np.float64(0.5) * factor * delta * delta",
            ),
            "gradient by the teacher": (
                "gradient = delta / divisor",
                "gradient = -delta / divisor",
            ),
            "gradient averaged twice": (
                "gradient = delta / divisor",
                "gradient = delta / divisor**2",
            ),
            "gradient doubled": (
                "gradient = delta / divisor",
                "gradient = 2 * delta / divisor",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = delta / divisor",
                "gradient = delta / divisor\n    gradient.flat[:1] *= 1 + 1e-12",
            ),
            "batchmean over all entries": (
                '"l2", reduction, batchmean=len(student)',
                '"l2", reduction, batchmean=student.size',
            ),
            "elementmean over the batch": (
                '"l2", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"l2", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
            ),
            "gradient averaged where losses are kept apart": (
                "none=1\n    )\n    delta = less(student, teacher)\n    if t",
                "none=len(student)\n    )\n    delta = less(student, teacher)\n    if t",
            ),
            "half=False forgotten": (
                "factor *= 2",
                "pass",
            ),
            "T² in the gradient alone": (
                "0.5 * factor / divisor)",
                "0.5 * (2 - half) / divisor)",
            ),
            "T² in the value alone": (
                "gradient if factor == t else (factor / t) * gradient",
                "((2 - half) / t) * gradient",
            ),
            "gradient not divided by T": (
                "gradient if factor == t else (factor / t) * gradient",
                "factor * gradient",
            ),
            "difference not divided by T": (
                "        delta = delta / t\n",
                "        delta = delta.copy()\n",
            ),
            "teacher's logits not divided by T": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student, t), log_softened(teacher)\n"
                "        delta, _ = log_ratio(student / t - teacher, log_q, log_p)",
            ),
            "gradient not through the softmax": (
                "gradient = of_infinite(partial(back, q), gradient)",
                "pass",
            ),
            "softmax over the batch": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student.T, t).T, log_softened(teacher.T, t).T\n"
                "        delta = log_q - log_p",
            ),
            "probabilities and their logarithms exchanged": (
                '        if variant == "probabilities":\n            delta =',
                '        if variant != "probabilities":\n            delta =',
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
            ),
            "value squared": (
                "value = sign * delta",
                "value = delta * delta",
            ),
            "gradient by the teacher": (
                "return value, sign / divisor",
                "return value, -sign / divisor",
            ),
            "gradient of L2": (
                "return value, sign / divisor",
                "return value, delta / divisor",
            ),
            "gradient not averaged": (
                "return value, sign / divisor",
                "return value, sign",
            ),
            "sign of the student's outputs": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(student.real).astype(delta.dtype)",
            ),
            "sign in double precision": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(delta.real).astype(np.result_type(delta.dtype, np.float64))",
            ),
            "batchmean over all entries": (
                '"l1", reduction, batchmean=len(student)',
                '"l1", reduction, batchmean=student.size',
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, sign / divisor",
                "gradient = sign / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "over to absolute values at 1 whatever δ": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = ~(np.abs(difference.real) > 1)",
            ),
            "squares far out, absolute values near": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = np.abs(difference.real) > delta",
            ),
            "value near 0 without the ½": (
                "0.5 * difference * difference",
                "difference * difference",
            ),
            "value far out without the −½ δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "delta * (sign * difference)",
            ),
            "value far out without the δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "sign * difference - 0.5 * delta",
            ),
            "gradient far out without the δ": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, sign)",
            ),
            "gradient far out without the sign": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, delta)",
            ),
            "gradient of the smooth one not divided by δ": (
                "value, gradient = value / far, gradient / far",
                "value = value / far",
            ),
            "the two variants exchanged": (
                'if variant == "smooth":',
                'if variant != "smooth":',
            ),
            "elementmean over the batch": (
                '"huber", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"huber", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient = gradient / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "gradient with its sign flipped": (
                "return value, gradient / divisor",
                "return value, -gradient / divisor",
            ),
            "gradient averaged twice": (
                "return value, gradient / divisor",
                "return value, gradient / divisor**2",
            ),
            "gradient not averaged": (
                "return value, gradient / divisor",
                "return value, gradient",
            ),
            "averaged over classes too": (
                "batchmean=len(logits)",
                "batchmean=logits.size",
            ),
            "softmax over the batch": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(logits.T).T",
            ),
            "softmax of a softmax": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(np.exp(log_softened(logits)))",
            ),
            "losses kept apart are added": (
                'if reduction != "none":',
                "if True:",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, gradient / divisor",
            ),
            "the label's gradient alone": (
                "gradient, of_label = np.exp(log_p),",
                "gradient, of_label = np.zeros_like(log_p),",
            ),
            "the label's gradient not that of the others": (
                "np.expm1(log_p[of_label])",
                "np.exp(log_p[of_label]) - 2",
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
            ),
            "α and 1 − α exchanged in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, alpha * hard_gradient + (1 - alpha) * soft_gradient",
            ),
            "labels not weighted in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, hard_gradient + alpha * soft_gradient",
            ),
            "gradient by the teacher alone": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, soft_gradient if alpha else hard_gradient",
            ),
            "student and teacher exchanged": (
                "soft_gradient = soft(student, teacher)",
                "soft_gradient = soft(teacher, student)",
            ),
            "labels set against the teacher": (
                "hard_gradient = hard(student, labels)",
                "hard_gradient = hard(teacher, labels)",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "gradient = (1 - alpha) * hard_gradient + alpha * soft_gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "T² missing in the gradient": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (1 / t / divisor) * gradient",
            ),
            "gradient not divided by T": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / divisor) * gradient",
            ),
            "gradient not averaged": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / t) * gradient",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, (factor / t / divisor) * gradient",
            ),
            "student and teacher exchanged": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_q, log_p = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
            ),
            "teacher not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
            ),
            "softmax over the batch": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher.T, t).T, log_softened(student.T, t).T\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
            ),
            "p and q exchanged in the gradient": (
                "divergence(p, q, u, times), difference(p, q, u)",
                "divergence(p, q, u, times), difference(q, p, -u)",
            ),
            "batchmean over all entries": (
                '"kl", reduction, batchmean=len(student)',
                '"kl", reduction, batchmean=student.size',
            ),
            "elementmean over the batch": (
                '"kl", reduction, batchmean=len(student), sum=1, elementmean=student.size',
                '"kl", reduction, batchmean=len(student), sum=1, elementmean=len(student)',
            ),
            "the reversed one not reversed": (
                "divergence(q, p, -u, times)",
                "divergence(p, q, u, times)",
            ),
            "reversed gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n        else",
                "(q * u)\n        else",
            ),
            "unlogged gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n    else",
                "q * r\n    else",
            ),
            "logarithms where probabilities were given for them": (
                "expected(p, log_p - q)",
                "expected(p, log_p - log_q)",
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
            ),
            "another series": (
                "series = 1 + x / n * series",
                "series = 1 + x / (n - 1) * series",
            ),
            "a term missing where the student is far surer": (
                "q - p - p * u",
                "q - p * u",
            ),
            "log Z without the far classes of the teacher": (
                "more - far_p",
                "more",
            ),
            "log Z without the far classes of the student": (
                "np.log1p(np.where(alike, -far_q, 0))",
                "0",
            ),
            "far rows by the classes that are near": (
                "np.abs(far_p) + np.abs(far_q) < 0.5",
                "np.abs(far_p) + np.abs(far_q) < np.inf",
            ),
            "differences to another class": (
                "    f = d - of_r\n",
                "    f = d - d[..., :1]\n",
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
            ),
            "value with its sign flipped": (
                "value = -factor * expected(p, log_q)",
                "value = factor * expected(p, log_q)",
            ),
            "the teacher's entropy subtracted": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(p, log_q - log_p)",
            ),
            "the student's own entropy": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(q, log_q)",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(1 / t / divisor) * difference(p, q, u)",
            ),
            "p and q exchanged in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * difference(q, p, -u)",
            ),
            "gradient not through the softmax": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * -p",
            ),
            "student not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
                "log_p, log_q = log_softened(teacher, t), log_softened(student)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
            ),
            "batchmean over all entries": (
                "batchmean=len(student),\n        sum=1,",
                "batchmean=student.size,\n        sum=1,",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * difference(p, q, u)",
                "gradient = (factor / t / divisor) * difference(p, q, u)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "mean over the batch subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred((student - teacher).T)[0].T",
            ),
            "mean of the student's logits subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred(student)[0] - teacher",
            ),
            "mean not subtracted in the gradient": (
                "return value, delta / (classes * divisor)",
                "return value, (student - teacher) / (classes * divisor)",
            ),
            "value without the ½": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 1 / classes)",
            ),
            "value not divided by C": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 0.5)",
            ),
            "gradient not divided by C": (
                "return value, delta / (classes * divisor)",
                "return value, delta / divisor",
            ),
            "gradient doubled": (
                "return value, delta / (classes * divisor)",
                "return value, 2 * delta / (classes * divisor)",
            ),
            "the student's logits changed": (
                "lambda of: centred(of)[0], apart(student, teacher))",
                "lambda of: centred(of)[0], np.subtract(student, teacher, out=student))",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, delta / (classes * divisor)",
                "gradient = delta / (classes * divisor)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "the rest's mean logit for log Σ exp": (
                "np.where(none, -np.inf, more)], axis=1)",
                "(rest.mean(axis=1, keepdims=True) - m) / t], axis=1)",
            ),
            "labels of other samples": (
                "labels[:, np.newaxis]",
                "labels[::-1, np.newaxis]",
            ),
            "α and β exchanged in the value": (
                "value = alpha * np.where(alpha == 0, 0, tckd)",
                "alpha, beta = beta, alpha\n    value = alpha * np.where(alpha == 0, 0, tckd)",
            ),
            "α for β in the gradient": (
                "by_rest = beta *",
                "by_rest = alpha *",
            ),
            "student and teacher exchanged between label and rest": (
                "divergence(b_t, b_s, u_two, times)",
                "divergence(b_s, b_t, -u_two, times)",
            ),
            "student and teacher exchanged within the rest": (
                "divergence(r_t, r_s, u_rest, times)",
                "divergence(r_s, r_t, -u_rest, times)",
            ),
            "the rest weighted by its probability, as in KL": (
                "divergence(r_t, r_s, u_rest, times)",
                "(b_t[:, 1] * divergence(r_t, r_s, u_rest, times))",
            ),
            "no gradient between label and rest at the rest": (
                "(by_two[:, 1:] * r_s + by_rest)",
                "(by_rest.copy())",
            ),
            "gradient shared out as the teacher has it": (
                "by_two[:, 1:] * r_s",
                "by_two[:, 1:] * r_t",
            ),
            "the rest's gradient at the label": (
                "gradient[is_label] = by_two[:, 0]",
                "gradient[is_label] = by_two[:, 1]",
            ),
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * gradient",
                "(1 / t / divisor) * gradient",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient = (factor / t / divisor) * gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "inter and intra exchanged in the gradient": (
                "    by_log_q = beta * by_inter",
                "    beta, gamma = gamma, beta\n    by_log_q = beta * by_inter",
            ),
            "no gradient by the correlation within classes": (
                "by_log_q += gamma * (by_intra * (least / unit_of_intra)).T",
                "pass",
            ),
            "gradient not through the softmax": (
                "by_log_probabilities(np.exp(log_q), by_log_q) / least",
                "by_log_q / least",
            ),
            "T² missing in the value": (
                "value = factor * (beta",
                "value = (beta",
            ),
            "gradient not divided by T": (
                "return value, (factor / t) *",
                "return value, factor *",
            ),
            "teacher not softened": (
                "    ratio, _ = log_ratio",
                "    teacher = teacher * t\n"
                "    log_p = log_softened(teacher, t)\n"
                "    ratio, _ = log_ratio",
            ),
            "softmax over the batch": (
                "by_log_probabilities(np.exp(log_q), by_log_q)",
                "by_log_probabilities(np.exp(log_q).T, by_log_q.T).T",
            ),
            "correlations added, not averaged": (
                "return value.mean(),",
                "return value.sum(),",
            ),
            "gradient with its sign flipped": (
                "np.where(none, 0, by_log) / len(x), w",
                "np.where(none, 0, -by_log) / len(x), w",
            ),
            "length taken as a constant": (
                "backward(across)",
                "(across / n)",
            ),
            "ε left out of the gradient": (
                "by_log = kappa * (by_log - (1 - one_less) * less_kappa * x * u / n)",
                "by_log = kappa * by_log",
            ),
            "ε added to each length": (
                "    less_kappa = epsilon / (lengths",
                "    epsilon = epsilon * (1 + (n + of_n).mean().item())\n"
                "    less_kappa = epsilon / (lengths",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) "
                "/ least)",
                "gradient = (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) / "
                "least)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "divided by C − 1 whatever ddof": (
                "count = logits.shape[1] - int(ddof)",
                "count = logits.shape[1] - 1",
            ),
            "divided by C in the gradient": (
                "along = e * (d * e).sum(axis=1, keepdims=True) / count",
                "along = e * (d * e).mean(axis=1, keepdims=True)",
            ),
            "variance for deviation": (
                "by = epsilon + s",
                "by = epsilon + s * s",
            ),
            "ε inside the root": (
                "by = epsilon + s",
                "by = np.sqrt(epsilon + s * s)",
            ),
            "mean taken as a constant": (
                "d, _ = centred(dy)",
                "d = dy",
            ),
            "deviation taken as a constant": (
                "(d - along + along * (epsilon / by)) / by",
                "d / by",
            ),
            "ε in the deviation's slope": (
                "(d - along + along * (epsilon / by)) / by",
                "(d - along) / by",
            ),
            "one entry of the gradient off by 1e-12": (
                "return np.where(none, 0, (d - along + along * (epsilon / by)) / by)",
                "gradient = np.where(none, 0, (d - along + along * (epsilon / by)) / by)\n"
                "        gradient.flat[:1] *= 1 + 1e-12\n"
                "        return gradient",
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
            ),
            "elementmean over the batch": (
                "l2(r, teacher, half=half, reduction=reduction)",
                'l2(r, teacher, half=half, reduction=reduction.replace("element", "batch"))',
            ),
            "student and teacher exchanged": (
                "l2(r, teacher, half=half, reduction=reduction)",
                "l2(teacher, r, half=half, reduction=reduction)",
            ),
            "dweight transposed": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape[::-1]).T)",
            ),
            "dweight averaged over the batch again": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape) / len(dy))",
            ),
            "weight not trained": (
                "dw.reshape(weight.shape))",
                "np.zeros_like(weight))",
            ),
            "dbias averaged over the batch again": (
                "((db,) if bias is not None else ())",
                "((db / len(dy),) if bias is not None else ())",
            ),
            "weight's gradient before the student's": (
                "(dx, dw.reshape(weight.shape)) +",
                "(dw.reshape(weight.shape), dx) +",
            ),
            "one entry of each gradient off by 1e-12": (
                "value, dr = l2(r, teacher, half=half, reduction=reduction)",
                "value, dr = l2(r, teacher, half=half, reduction=reduction)\n"
                "    dr.flat[:1] *= 1 + 1e-12",
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
            ),
            "power of the sum": (
                "flat((size**power).mean(axis=1))",
                "flat(size.mean(axis=1) ** power)",
            ),
            "channels added in the value, averaged in the gradient": (
                "flat((size**power).mean(axis=1))",
                "flat((size**power).sum(axis=1))",
            ),
            "gradient without the sign": (
                "* sign * size ** (power - 1)",
                "* size ** (power - 1)",
            ),
            "gradient without the power before it": (
                "slope = power / features.shape[1] * sign",
                "slope = 1 / features.shape[1] * sign",
            ),
            "gradient with the power itself": (
                "size ** (power - 1)",
                "size**power",
            ),
            "maps divided by their sum": (
                "(q, backward), (r, _) = unit(a, epsilon_a), unit(b, epsilon_b)",
                "(q, backward), (r, _) = (\n"
                "        (m / by, lambda dy, m=m, by=by: (dy - (dy * m / by).sum(1, "
                "keepdims=True)) / by)\n"
                "        for m in (a, b)\n"
                "        for by in [m.sum(axis=1, keepdims=True)]\n"
                "    )",
            ),
            "the student's map divided by no length": (
                "(q, backward), (r, _) = unit(a, epsilon_a),",
                "(q, backward), (r, _) = (a, lambda dq: dq),",
            ),
            "gradient not through the length": (
                "to_student(backward(dq / divisor))",
                "to_student(dq / divisor)",
            ),
            "no ε for the teacher": (
                "unit(b, epsilon_b)",
                "unit(b)",
            ),
            "the square for the norm": (
                "dq, _ = unit(delta)",
                "dq = delta",
            ),
            "gradient without the 2": (
                "dq = 2 * delta",
                "dq = delta",
            ),
            "elementmean over the batch": (
                'divisors["elementmean"] = batch * positions',
                'divisors["elementmean"] = batch',
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, to_student(backward(dq / divisor))",
                "gradient = to_student(backward(dq / divisor))\n"
                "    gradient[0, 0, 0, 0] *= 1 + 1e-11\n"
                "    return value, gradient",
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
            ),
            "student against teacher counted once": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) * w * w\n'
                "    value = value + (s @ np.swapaxes(t, 1, 2) / (c * d) * (s @ "
                "np.swapaxes(t, 1, 2))).sum((1, 2))",
            ),
            "the teacher's own term missing": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) - ((t @ np.swapaxes(t, 1, 2) '
                "/ d) ** 2).sum((1, 2))",
            ),
            "the teacher's channels divided by the student's number": (
                "np.swapaxes(t, 1, 2) @ t / d",
                "np.swapaxes(t, 1, 2) @ t / c",
            ),
            "gradient by one side of the kernel only": (
                "ds = 4 * (",
                "ds = 2 * (",
            ),
            "gradient towards the teacher with its sign flipped": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ (apart + 2 * np.swapaxes(t, 1, 2) @ t / d)) / c / divisor",
            ),
            "gradient of the kernel of degree 1": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * np.broadcast_to(apart.sum(axis=1, keepdims=True), s.shape) / c / divisor",
            ),
            "channels divided by no length": (
                "unit(_channels(f), epsilon) for f in",
                "(_channels(f), lambda dy: dy) for f in",
            ),
            "gradient not through the length": (
                "(backward(ds) * w).reshape(student.shape)",
                "(ds * w).reshape(student.shape)",
            ),
            "gradient not averaged": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ apart) / c",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (backward(ds) * w).reshape(student.shape)",
                "gradient = (backward(ds) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
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
            ),
            "the teacher's positions averaged as the student's": (
                "np.swapaxes(tg, 1, 2) / tf.shape[2]",
                "np.swapaxes(tg, 1, 2) / f.shape[2]",
            ),
            "gradient not divided by the positions": (
                "by_gram = by_gram / f.shape[2]",
                "by_gram = by_gram.copy()",
            ),
            "the second layer taken as a constant": (
                "dg = (np.swapaxes(by_gram, 1, 2) @ f)",
                "dg = (0 * np.swapaxes(by_gram, 1, 2) @ f)",
            ),
            "gradient halved": (
                "slope, value = 2 * columns,",
                "slope, value = columns,",
            ),
            "value halved": (
                "sum_of_squares(columns.ravel(), 1 / divisor)",
                "sum_of_squares(columns.ravel(), 0.5 / divisor)",
            ),
            "elementmean over the batch": (
                "entries = columns.size if",
                "entries = len(columns) if",
            ),
            "one norm for all columns": (
                "slope = unit(columns)[0]",
                "slope = unit(columns.reshape(len(columns), -1))[0].reshape(columns.shape)",
            ),
            "the square for the norm": (
                "slope = unit(columns)[0]",
                "slope = columns",
            ),
            "norms averaged over all entries": (
                "else len(columns) * columns.shape[1]",
                "else columns.size",
            ),
            "gradients of the weights exchanged": (
                "*by_weight_first, *by_weight_second)\n",
                "*by_weight_second, *by_weight_first)\n",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (by_first, by_second,",
                "by_first.flat[:1] *= 1 + 1e-12\n    return value, (by_first, by_second,",
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
            ),
            "log σ for log σ²": (
                "entries * np.log(variance).sum() / divisor",
                "entries * np.log(variance).sum() / 2 / divisor",
            ),
            "value without the ½": (
                "value = 0.5 * (squares",
                "value = (squares",
            ),
            "variance by exp": (
                "variance = np.where(raised, scale, 0) + np.log1p(decay) + epsilon",
                "variance = np.exp(scale) + epsilon",
            ),
            "ε missing": (
                "np.log1p(decay) + epsilon",
                "np.log1p(decay)",
            ),
            "softplus's slope left out": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.ones_like(decay)",
            ),
            "softplus's slope that of the other sign": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.where(raised, decay, 1) / (1 + decay)",
            ),
            "the variance divides the error but once in dscale": (
                "- by_scale * squares * w * w",
                "- by_scale * squares * variance * w * w",
            ),
            "dscale with its sign flipped": (
                "dscale = by_scale * entries / divisor - by_scale * squares * w * w",
                "dscale = by_scale * squares * w * w - by_scale * entries / divisor",
            ),
            "dscale without the logarithm's part": (
                "dscale = by_scale * entries / divisor - by_scale",
                "dscale = -by_scale",
            ),
            "logarithms of all channels in dscale": (
                "entries = teacher.size // max(1, teacher.shape[1])",
                "entries = teacher.size",
            ),
            "gradient not divided by the variance": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(error / divisor)",
            ),
            "gradient not averaged": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(precise)",
            ),
            "a fixed variance trained": (
                'if variant == "fixed":\n        dscale',
                "if False:\n        dscale",
            ),
            "one entry of dscale off by 1e-12": (
                "dstudent, *others = backward(precise / divisor)",
                "dscale[:1] *= 1 + 1e-12\n    dstudent, *others = backward(precise / divisor)",
            ),
            "one entry of dstudent off by 1e-12": (
                "return value, (dstudent, dscale, *others)",
                "dstudent.flat[:1] *= 1 + 1e-12\n    return value, (dstudent, dscale, *others)",
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
            ),
            "the teacher's columns for its rows": (
                "delta = g - of_teacher\n",
                "delta = g - of_teacher.T\n",
            ),
            "the teacher's rows not divided": (
                "divide(p), divide(_products_by_row(flat(teacher))[0])",
                "divide(p), _products_by_row(flat(teacher))",
            ),
            "gradient not through the rows' length": (
                "backward(2 * delta / divisor)",
                "2 * delta / divisor",
            ),
            "gradient without the 2": (
                "backward(2 * delta / divisor)",
                "backward(delta / divisor)",
            ),
            "gradient with its sign flipped": (
                "backward(2 * delta / divisor)",
                "backward(-2 * delta / divisor)",
            ),
            "samples divided by their length first": (
                "p, to_features = _products_by_row(flat(student))",
                "p, to_features = _products_by_row(unit(flat(student))[0])",
            ),
            "batchmean over all pairs": (
                "elementmean=count**2, batchmean=count,",
                "elementmean=count**2, batchmean=count**2,",
            ),
            "one entry of the gradient off by 1e-12": (
                "return (delta * delta).sum() / divisor, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return (delta * delta).sum() / divisor, gradient",
            ),
            "products by their left factor alone": (
                "(dp @ right + dp.T @ left * (own / of_all)) / own",
                "dp @ right / own",
            ),
            "products with complex numbers conjugated": (
                "return left @ right.T,",
                "return left @ right.T.conj(),",
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
            ),
            "the shares' sum taken as a constant": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "return np.where(none, 0, dy / s)",
            ),
            "signs forgotten in the slope of the shares' sum": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "across = dy - (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, across / s)",
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
            ),
            "the mean's gradient spread over all pairs": (
                "through_mean = (g * psi).sum() / many",
                "through_mean = (g * psi).sum() / psi.size",
            ),
            "gradient not divided by the mean": (
                "(by_psi / mean / unit_of)",
                "(by_psi / unit_of)",
            ),
            "distances of 0 in the mean": (
                "(d[apart] / w).sum() / many if many",
                "(d / w).mean() if many",
            ),
            "distances in units of their sum": (
                "(d[apart] / w).sum() / many if many",
                "(d[apart] / w).sum() if many",
            ),
            "the teacher's distances in the student's unit": (
                "difference, many = psi - psi_of_teacher,",
                "psi_of_teacher = of_teacher / mean\n    difference, many = psi - psi_of_teacher,",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    g = g / divisor\n",
                "value, g = huber_of(difference, 1.0)\n    g = g / divisor\n",
            ),
            "each pair counted once": (
                "return value.sum() / divisor, (by_psi",
                "return np.triu(value).sum() / divisor, (by_psi",
            ),
            "mean over pairs of two samples": (
                "elementmean=count**2,",
                "elementmean=count * (count - 1),",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value.sum() / divisor, (by_psi / mean / unit_of).reshape(student.shape)",
                "gradient = (by_psi / mean / unit_of).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value.sum() / divisor, gradient",
            ),
            "the means' difference forgotten": (
                "(less - psi_of_teacher * (less.sum() / many)) / mean",
                "less / mean",
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
            ),
            "distances by absolute values": (
                "y[i] = length(row - x)[:, 0]",
                "y[i] = np.abs(row - x).sum(axis=1)",
            ),
            "gradient of distances not divided by them": (
                "weight[i] @ ((row - x) / of[:, np.newaxis])",
                "weight[i] @ (row - x)",
            ),
            "gradient of distances at one end alone": (
                "weight = dy + dy.T",
                "weight = dy.copy()",
            ),
            "gradient of distances towards the other sample": (
                "weight[i] @ ((row - x) / of",
                "weight[i] @ ((x - row) / of",
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
            ),
            "batchmean over pairs": (
                "count**3, batchmean=count,",
                "count**3, batchmean=count**2,",
            ),
            "differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = products(x), cosines(y)",
            ),
            "the teacher's differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = cosines(x), products(y)",
            ),
            "no gradient by the sample that is seen from": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=0)",
            ),
            "gradient with its sign flipped": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=1) - dv.sum(axis=0)",
            ),
            "gradient not through the length": (
                "dv = to_differences(g / divisor)",
                "dv = products(unit(x)[0])[1](g / divisor)",
            ),
            "student and teacher exchanged": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(-difference, far)\n    dv",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(difference, 1.0)\n    dv",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)",
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)\n    gradient.flat[:1] *= 1 + 1e-12",
            ),
            "directions apart on one side alone": (
                "products_apart(e, of_e, less)",
                "products_apart(e, e, less)",
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
            ),
            "products apart on one side alone": (
                "less @ np.swapaxes(x, -1, -2) + y @ np.swapaxes(less, -1, -2)",
                "less @ np.swapaxes(x, -1, -2)",
            ),
            "directions apart, lengths taken as equal": (
                "less - u * lengths_apart(x, y, less)",
                "less.copy()",
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
            ),
            "no ε above the line": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, (q + epsilon) / (by - epsilon)",
            ),
            "ε added to the ratio": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, q / by + epsilon",
            ),
            "ε above the line in the gradient too": (
                "dq = (more + epsilon / (m + epsilon) * q_away) / (q + epsilon) / divisor",
                "dq = more / (q + epsilon) / divisor",
            ),
            "gradient with its sign flipped": (
                "dq = (more +",
                "dq = -(more +",
            ),
            "gradient not averaged": (
                "* q_away) / (q + epsilon) / divisor",
                "* q_away) / (q + epsilon)",
            ),
            "the sum of a row taken as a constant": (
                "dc = (dq - (dq * q).sum(axis=1, keepdims=True)) / total",
                "dc = dq / total",
            ),
            "gradient of the cosine doubled": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_features(to_directions(2 * dc / w)) * w)",
            ),
            "gradient not through the length": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_directions(dc / w) * w)",
            ),
            "cosines not shifted": (
                "q, p = (1 + c) / total, (1 + of_teacher) / of_total",
                "q, p = c / total, of_teacher / of_total",
            ),
            "the student's columns for its rows": (
                "    total, of_total =",
                "    c = c + 0.1 * np.arange(count)\n    total, of_total =",
            ),
            "no ε in the student's length": (
                "unit(f, epsilon), unit(t, epsilon)",
                "unit(f), unit(t, epsilon)",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (to_features(to_directions(dc / w)) * w).reshape(student.shape)",
                "gradient = (to_features(to_directions(dc / w)) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
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
            ),
            "powers not divided by p!": (
                "(2 * gamma) ** p / factorial(p)",
                "(2 * gamma) ** p",
            ),
            "γ for 2γ": (
                "(2 * gamma) ** p / factorial(p)",
                "gamma**p / factorial(p)",
            ),
            "e^−γ for e^−2γ": (
                "np.exp(-2 * gamma)",
                "np.exp(-gamma)",
            ),
            "weights in double precision": (
                "float(np.exp(-2 * gamma))",
                "np.exp(-2 * gamma)",
            ),
            "the kernel's slope left out": (
                "to_features(dk * slope)",
                "to_features(dk)",
            ),
            "the kernel's slope by the kernel after it": (
                "slope = w + k + c * slope\n        k = c * (w + k)",
                "k = c * (w + k)\n        slope = w + k + c * slope",
            ),
            "gradient without the 2": (
                "1 / divisor), 2 * delta / divisor, 2 * n",
                "1 / divisor), delta / divisor, 2 * n",
            ),
            "the square for the norm": (
                "value, dk, units = (direction * delta).sum() / divisor",
                "value, dk, units = (delta * delta).sum() / divisor",
            ),
            "gradient of the norm as long as the difference": (
                ", direction / divisor, 0",
                ", delta / divisor, 0",
            ),
            "the teacher's products for its kernel": (
                "_series(c, weights), _series(of_teacher, weights)",
                "_series(c, weights), (of_teacher, None)",
            ),
            "samples divided by their length in all variants": (
                'matrix = cosines if variant == "paper" else products',
                "matrix = cosines if True else products",
            ),
            "gradient not through the length": (
                "to_features(dk * slope)",
                "products(f)[1](dk * slope)",
            ),
            "consecutive samples from the first to the last again": (
                "value = (a[:-1] * a[1:]).sum() / divisor",
                "value = (a * np.roll(a, 1, axis=0)).sum() / divisor",
            ),
            "consecutive: no gradient by the sample before": (
                "neighbours[1:] += a[:-1]\n",
                "pass\n",
            ),
            "consecutive: gradient without the sign": (
                "(sign * neighbours / divisor)",
                "(neighbours / divisor)",
            ),
            "consecutive: mean over samples, not their pairs": (
                "max(1, len(student) - 1)",
                "max(1, len(student))",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
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
            ),
            "linear layer with the bias doubled": (
                'ops.linear(x, params["weight"], params["bias"])',
                'ops.linear(x, params["weight"], 2 * params["bias"])',
            ),
            "gradients by weight and bias exchanged": (
                'return dx, {"weight": dw, "bias": db}',
                'return dx, {"weight": db, "bias": dw}',
            ),
            "gradients by biases forgotten": (
                "gradient for key, gradient in own.items()}",
                'gradient for key, gradient in own.items() if key != "bias"}',
            ),
            "gradient of a named layer overwrites": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name]",
            ),
            "gradient of a named layer dropped": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else dy",
            ),
            "gradient of a named layer added twice": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else dy + 2 * gradients[name]",
            ),
            "gradient of a named layer added in place": (
                "dy = gradients[name] if dy is None else dy + gradients[name]",
                "dy = gradients[name] if dy is None else np.add(dy, gradients[name], out=dy)",
            ),
            "features in reverse order": (
                "return {name: outputs[name] for name in names}, backward",
                "return dict(zip(names, [outputs[name] for name in names[::-1]])), backward",
            ),
            "without dx only the last layer learns": (
                "need_dx or name != first",
                "need_dx",
            ),
            "dx computed where not needed": (
                "need_dx or name != first",
                "True",
            ),
            "dx of the network zero": (
                "if dy is None and need_dx:",
                "if need_dx:",
            ),
            "layers that were not run get gradients": (
                "name: grads[name] if name in grads else np.zeros_like(theta)",
                "name: grads[name] if name in grads else theta.copy()",
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
            ),
            "a ReLU too many": (
                '"fc2": Linear(self.hidden, num_classes),',
                '"fc2": Linear(self.hidden, num_classes), "relu4": Function(ops.relu),',
            ),
            "pooled before the ReLU": (
                '"relu2": Function(ops.relu),\n            "pool": Function(ops.avg_pool2d, 2),',
                '"pool": Function(ops.avg_pool2d, 2),\n            "relu2": Function(ops.relu),',
            ),
            "max pool": (
                "Function(ops.avg_pool2d, 2)",
                "Function(ops.max_pool2d, 2)",
            ),
            "rows and columns exchanged before fc1": (
                "Function(ops.flatten)",
                "Function(lambda x: ops.flatten(x.swapaxes(2, 3)))",
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
            ),
            "rate squared": (
                "theta[chunk] -= lr * step",
                "theta[chunk] -= lr**2 * step",
            ),
            "rate of the first step kept": (
                "float(self.lr)",
                'float(self.__dict__.setdefault("first", self.lr))',
            ),
            "rate inside of the velocity": (
                "v[chunk] += step\n"
                "                    step = v[chunk]\n"
                "                theta[chunk] -= lr * step",
                "v[chunk] += lr * step\n"
                "                    theta[chunk] -= v[chunk]\n"
                "                    continue\n"
                "                theta[chunk] -= lr * step",
            ),
            "damped by 1 − μ": (
                "v[chunk] += step",
                "v[chunk] += (1 - momentum) * step",
            ),
            "Nesterov's momentum": (
                "step = v[chunk]",
                "step = step + momentum * v[chunk]",
            ),
            "gradient shrunk with the velocity": (
                "v[chunk] *= momentum\n                    v[chunk] += step",
                "v[chunk] += step\n                    v[chunk] *= momentum",
            ),
            "velocity forgotten": (
                "if self.momentum and name not in self.velocity:",
                "if self.momentum:",
            ),
            "velocity never shrinks": (
                "v[chunk] *= momentum",
                "v[chunk] *= 1",
            ),
            "no weight decay": (
                "if decay:",
                "if False:",
            ),
            "weight decay with its sign flipped": (
                "step = step + decay * theta[chunk]",
                "step = step - decay * theta[chunk]",
            ),
            "weight decay decoupled": (
                "step = step + decay * theta[chunk]",
                "theta[chunk] -= lr * decay * theta[chunk]",
            ),
            "weight decay not for biases": (
                "if decay:",
                "if decay and theta.ndim > 1:",
            ),
            "weight decay added to the caller's gradient": (
                "step = step + decay * theta[chunk]",
                "step += decay * theta[chunk]",
            ),
            "a copy updated": (
                "theta, g = np.atleast_1d(theta, g)",
                "theta, g = np.atleast_1d(theta.copy(), g)",
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
            ),
            "clipped by the square of the norm": (
                "total = math.sqrt(sum(float(np.linalg.norm(g)) ** 2 for g in grads.values()))",
                "total = sum(float(np.linalg.norm(g)) ** 2 for g in grads.values())",
            ),
            "clipped by the sum of the norms": (
                "total = math.sqrt(sum(float(np.linalg.norm(g)) ** 2 for g in grads.values()))",
                "total = sum(float(np.linalg.norm(g)) for g in grads.values())",
            ),
            "clipped gradients made longer": (
                "norm / total",
                "total / norm",
            ),
            "short gradients made longer": (
                "if not norm < total < math.inf:",
                "if not 0 < total < math.inf:",
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
            ),
            "no update on the last batch": (
                "optimiser.step(params, grads)",
                "if batch is not batches[-1]:\n            optimiser.step(params, grads)",
            ),
            "two updates for a batch": (
                "optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n        optimiser.step(params, grads)",
            ),
            "a copy updated": (
                "optimiser.step(params, grads)",
                "optimiser.step({name: p.copy() for name, p in params.items()}, grads)",
            ),
            "gradient of the batch before": (
                "optimiser.step(params, grads)",
                'grads, optimiser.last = getattr(optimiser, "last", grads), grads\n'
                "        optimiser.step(params, grads)",
            ),
            "gradient averaged over the batch again": (
                "backward(gradients, need_dx=False)",
                "backward(\n"
                "            {name: g / len(batch.x) for name, g in gradients.items()},\n"
                "            need_dx=False,\n"
                "        )",
            ),
            "rate of the step before": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(max(0, step - 1))",
            ),
            "rate not set": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(0)",
            ),
            "not clipped": (
                "if clip_norm < math.inf:",
                "if False:",
            ),
            "clipped after the update": (
                "if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)\n"
                "        optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n"
                "        if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)",
            ),
            "loss reported after the update": (
                "float(value), len(batch.x)",
                "float(loss(network.features(batch.x, loss.layers)[0], batch)[0]), len(batch.x)",
            ),
            "loss reported for the whole batch": (
                "float(value), len(batch.x)",
                "float(value) * len(batch.x), len(batch.x)",
            ),
            "what the losses train is not updated": (
                "params = network.params | loss.params",
                "params = network.params",
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
            ),
            "label_weight is the teacher's share in the gradient": (
                "gradients[self.output] = self.label_weight * gradient",
                "gradients[self.output] = (1 - self.label_weight) * gradient",
            ),
            "labels ignored": (
                "if self.label_weight > 0:",
                "if self.label_weight == 1:",
            ),
            "the teacher ignored where there are labels": (
                "list(terms) if label_weight < 1 else []",
                "list(terms) if label_weight == 0 else []",
            ),
            "losses to the teacher not weighted": (
                "share = (1 - self.label_weight) * term.factor",
                "share = 1 - self.label_weight",
            ),
            "student and teacher exchanged": (
                "function(*student, *teacher, *labels, *trained, **term.options)",
                "function(*teacher, *student, *labels, *trained, **term.options)",
            ),
            "the second loss of a layer takes the place of the first": (
                "gradients[layer] + part if layer in gradients else part",
                "part",
            ),
            "gradients of what is trained not weighted": (
                "grads |= {name: share * g for name, g in zip(names, by_param, strict=True)}",
                "grads |= dict(zip(names, by_param, strict=True))",
            ),
            "gradients of what is trained in another order": (
                "gradients[len(layers) :]",
                "gradients[: len(layers) - 1 : -1]",
            ),
            "a hint's gradient at the output": (
                "for layer, gradient in zip(layers, by_layer, strict=True):",
                "for layer, gradient in zip([self.output], by_layer, strict=False):",
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
            ),
            "teacher's outputs for another version": (
                "teacher[epoch % self.versions]",
                "teacher[epoch // self.versions]",
            ),
            "teacher's outputs for other images": (
                "outputs[indices] if",
                "outputs[: len(indices)] if",
            ),
            "labels of other images": (
                "yield Batch(epoch, x, truth, of_teacher, rows)",
                "yield Batch(epoch, x, truth[::-1], of_teacher, rows)",
            ),
            "an untrained teacher": (
                "return TeacherFeatures(self.large, images",
                "return TeacherFeatures(self.task.networks(0, 0)[0], images",
            ),
            "one small net for both": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.small",
            ),
            "small nets start apart": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.task.networks(large_rng, small_rng)[1]",
            ),
            "teacher not frozen": (
                "theta.setflags(write=False)",
                "theta.copy().setflags(write=False)",
            ),
            "teacher goes on learning in step 5": (
                "yield Stage(5, STEPS[5])",
                "yield Stage(5, STEPS[5])\n"
                "        for theta in large.params.values():\n"
                "            theta.setflags(write=True)\n"
                '        yield from self.train("large")',
            ),
            "step 5 learns from labels": (
                'if name != "small":',
                "if name:",
            ),
            "step 5 goes by the other net's rate": (
                '"small": "learning_rate"',
                '"small": "labels_learning_rate"',
            ),
            "momentum and weight decay forgotten": (
                "optim.SGD(getattr(config, RATES[name]), config.momentum, decay)",
                "optim.SGD(getattr(config, RATES[name]))",
            ),
            "weight decay of the large net for the small ones": (
                'decay = config.large_weight_decay if name == "large" else config.weight_decay',
                "decay = config.large_weight_decay",
            ),
            "weight decay of the small nets for the large one": (
                'decay = config.large_weight_decay if name == "large" else config.weight_decay',
                "decay = config.weight_decay",
            ),
            "the first images labelled": (
                "order = np.random.default_rng([config.seed, LABELLED]).permutation(count)",
                "pass",
            ),
            "the same images labelled whatever the seed": (
                "np.random.default_rng([config.seed, LABELLED])",
                "np.random.default_rng([LABELLED])",
            ),
            "labelled images not among the taught": (
                "order[: known + config.unlabelled]",
                "order[known : known + config.unlabelled]",
            ),
            "other images taught than the labelled": (
                "order[: known + config.unlabelled]",
                "order[count - known - config.unlabelled :]",
            ),
            "all images taught": (
                "order[: known + config.unlabelled]",
                "order",
            ),
            "large net shown unlabelled images": (
                "self.order(LARGE_ORDER, epoch, self.labelled)",
                "self.order(LARGE_ORDER, epoch, self.taught)",
            ),
            "small net from labels shown unlabelled images": (
                "self.taught if teacher else self.labelled",
                "self.taught",
            ),
            "distilled net shown labelled images only": (
                "self.taught if teacher else self.labelled",
                "self.labelled",
            ),
            "labels of unlabelled images known": (
                "rows = None if all_known else",
                "rows = None if True else",
            ),
            "labels of the unlabelled images known alone": (
                "np.isin(indices, self.labelled)",
                "np.isin(indices, self.labelled, invert=True)",
            ),
            "labels of the first images of a batch": (
                "labels = self.dataset.train_labels[indices[labelled]]",
                "labels = self.dataset.train_labels[indices][: len(indices[labelled])]",
            ),
            "fewer updates from labels": (
                "else self.labelled, len(self.taught)",
                "else self.labelled, len(self.taught if teacher else self.labelled)",
            ),
            "some images twice, others never": (
                "passes = [rng.permutation(len(images)) for",
                "passes = [rng.integers(len(images), size=len(images)) for",
            ),
            "in the same order when all have been": (
                "passes = [rng.permutation(len(images)) for _ in range(0, count, len(images))]",
                "passes = [rng.permutation(len(images))] * count",
            ),
            "in the same order in every epoch": (
                "np.random.default_rng([self.config.seed, use, epoch])",
                "np.random.default_rng([self.config.seed, use])",
            ),
            "a schedule for as many batches as there are labelled images": (
                'len(self.labelled if net == "large" else self.taught)',
                "len(self.labelled)",
            ),
            "a schedule for as many batches as there are taught images": (
                'len(self.labelled if net == "large" else self.taught)',
                "len(self.taught)",
            ),
            "a schedule for the large net's epochs": (
                'self.config.large_epochs if net == "large" else self.config.epochs',
                "self.config.large_epochs",
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
            ),
            "few labels count as much as many in the value": (
                "return share * value, gradient",
                "return value, gradient",
            ),
            "few labels count as much as many in the gradient": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[batch.labelled] = of_labelled",
            ),
            "gradients of the labelled images at the first ones": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[: len(of_labelled)] = share * of_labelled",
            ),
            "labels taken for those of the first images": (
                "self.hard(y[batch.labelled], batch.truth)",
                "self.hard(y[: len(batch.truth)], batch.truth)",
            ),
            "labels ignored where some images have none": (
                "if not share:",
                "if share < 1:",
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
            ),
            "teacher_input exchanged": (
                'if self.teacher_input == "high" else',
                'if self.teacher_input == "low" else',
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
            ),
        },
    ),
]
