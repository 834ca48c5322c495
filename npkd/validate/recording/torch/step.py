"""A training step of one's own: both nets, the loss, its gradient and the update, judged."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from npkd.objectives import Objective
from npkd.validate.judging.verdicts import Report
from npkd.validate.program import Operation
from npkd.validate.recording.objective import loss_of
from npkd.validate.recording.torch import objective as objectives
from npkd.validate.recording.torch.own import judged
from npkd.validate.recording.torch.program import Gradients, Recording, backward, forward, recording
from npkd.validate.recording.torch.recorder import Recorder
from npkd.validate.recording.torch.tensors import array
from npkd.validate.recording.torch.update import Update, not_judged

# The gradients before and after the step are named as in a program of two steps, in which the judge
# recognises those that were not zeroed.
BEFORE, AFTER = "step1/{}.grad", "step2/{}.grad"


def torch_step(
    step: Callable[[], Any],
    student: torch.nn.Module,
    *,
    teacher: torch.nn.Module | Tensor | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    objective: Objective | None = None,
    labels: Any = None,
    rng: np.random.Generator | None = None,
) -> Report:
    """Judge one's own training step in PyTorch: both nets, the loss, its gradient, the update.

    `step` is run once, and really trains the student. It runs the student and the teacher once
    each, and returns the loss as one number, or None. teacher: the module, or its outputs where
    they were computed before. optimizer: a torch.optim.SGD; the update by another one is not
    judged. objective: what the loss should be; without it, or where a net of its runs more than
    once, the loss and its gradient are taken as they are. Layers that it names are modules of the
    student, or of the teacher, by their paths; labels: what it takes for the truth.

    It is judged, too, that the teacher stays as it is and drops nothing out.

    Gradients that were shortened before the update, clipped by their norm or by value, are taken
    as they are. So are those that were all multiplied by one factor between 0 and 1, which cannot
    be told from clipping: the report lists it as not judged, with the factor. All other changes
    of gradients show as BUG: a factor of 0, or of more than 1, and what hooks of tensors change.

    Raises ValueError where the objective needs labels, a teacher or layers that are not there, for
    labels that are not the classes of the samples, and where `step` returns something else.

    Example
        >>> import torch
        >>> student, x, y = torch.nn.Linear(3, 2), torch.ones(4, 3), torch.zeros(4, 2)
        >>> sgd = torch.optim.SGD(student.parameters(), lr=0.1)
        >>> def step():
        ...     sgd.zero_grad()
        ...     loss = ((student(x) - y) ** 2).sum() / 4  # the ½ of l2 is missing
        ...     loss.backward()
        ...     sgd.step()
        ...     return loss
        >>> objective = objectives.Objective(0)  # l2 to the teacher, nothing to the labels
        >>> report = validate.torch_step(
        ...     step, student, teacher=y, optimizer=sgd, objective=objective
        ... )
        >>> report.causes[0].faults
        ('½ missing in L2',)
    """
    rng = np.random.default_rng(0) if rng is None else rng
    nets = {"student": student}
    if isinstance(teacher, torch.nn.Module):
        nets["teacher"] = teacher
    recorder = Recorder(nets, everything=False)
    update = Update(optimizer, {f"student.{n}": p for n, p in student.named_parameters()})
    try:
        for net, module in nets.items():
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                recorder.give(f"{net}.{name}", tensor)
        if isinstance(teacher, Tensor):
            recorder.outputs["teacher"] = teacher
            recorder.give("teacher", teacher)
        with update, recorder:
            loss = _as_number(step())
        return judged(
            _recorded(recorder, update, nets.get("teacher"), loss, objective, labels), rng
        )
    finally:
        recorder.release()


def _as_number(loss: Any) -> np.ndarray | None:
    """What the step returned. Raises ValueError unless that is one number, or None."""
    if loss is None:
        return None
    got = f"a {type(loss).__name__}"
    if isinstance(loss, Tensor | np.ndarray | np.number):
        got += f" {tuple(loss.shape)}"
        loss = array(loss) if isinstance(loss, Tensor) else np.asarray(loss)
        if loss.size == 1 and loss.dtype.kind in "fiu":
            return loss.reshape(())
    elif isinstance(loss, int | float) and not isinstance(loss, bool):
        return array(torch.as_tensor(loss))
    expected = "expected the loss as one number, or None"
    raise ValueError(f"torch_step: step returned {got}, {expected}")


def _recorded(
    recorder: Recorder,
    update: Update,
    teacher: torch.nn.Module | None,
    loss: np.ndarray | None,
    objective: Objective | None,
    labels: Any,
) -> Recording:
    """The step's program: forward, the loss, backward, the update, and that the teacher stays."""
    given = {BEFORE.format(name): gradient for name, gradient in update.before.items()}
    found: dict[str, np.ndarray] = {}
    why = objectives.why_not(objective, recorder)
    parts = []
    if objective is not None and not why:
        parts = objectives.parts(objective, recorder, labels, given)
    trained = dict.fromkeys(layer for part in parts for layer in part.student)
    for tensor in trained:  # a student that is detached has no gradient
        recorder.totals.setdefault(tensor, np.zeros_like(recorder.values(tensor)))
    if not parts:
        recorder.untracked |= recorder.outside
    notes = _compare_gradients(recorder, update)
    gradients = Gradients(recorder, trained, AFTER)
    operations = forward(recorder.calls, gradients)
    operations += loss_of(parts, gradients.from_outside) if parts else [not_judged("loss", why)]
    if parts and loss is not None:
        found["loss"] = loss
    operations += backward(recorder.calls, gradients)
    names = {name: gradients.total(name) for name in update.gradients if gradients.exists(name)}
    for name in notes.clipped:
        names[name] = f"{name}.grad, clipped"
        gradients.given[names[name]] = update.gradients[name]
    updates, velocities, updated = update.program(names)
    unchanged, after = _teacher_unchanged(recorder, teacher)
    operations += [*notes.operations, *updates, *unchanged]
    given, found = given | velocities, found | updated | after
    about = "a training step in PyTorch"
    return recording(recorder, gradients, operations, "training step", about, given, found)


class Notes(NamedTuple):
    """What is said about gradients: operations that are not judged, and parameters clipped."""

    operations: list[Operation]
    clipped: list[str]


def _compare_gradients(recorder: Recorder, update: Update) -> Notes:
    """Take the gradients that the optimiser had for those of the backward pass.

    Where they differ by one factor below 1 throughout, or by the largest value there is, they were
    clipped, and are an input of the update; where they differ otherwise that shows in the verdict
    on the backward pass. Those of several backward passes are not compared, and of those that are
    used in ways that were not seen it is only said that they differ.
    """
    notes: list[str] = []
    clipped: list[str] = []
    totals = recorder.totals
    known = {n: g for n, g in update.gradients.items() if n in totals}
    repeated = recorder.repeated.intersection(known)
    if repeated:
        totals.update({n: known.pop(n) for n in repeated})
        notes.append("summed over several backward passes, which is taken as it is")
    differ = [n for n, g in known.items() if not np.array_equal(g, totals[n])]
    norms = [
        np.sqrt(sum(float(np.sum(np.square(of[n], dtype=np.float64))) for n in known))
        for of in (known, totals)
    ]
    factor = norms[0] / norms[1] if norms[1] else math.inf
    largest = max((np.max(np.abs(known[n])) for n in differ), default=0)
    if (
        differ
        and 0 < factor < 1
        and all(
            _is_close(g, factor * totals[n], update.parameters[n].dtype) for n, g in known.items()
        )
    ):
        clipped = list(known)
        notes.append(f"shortened by the factor {factor:.6g}, which is taken as it is")
    elif largest > 0 and all(
        np.array_equal(known[n], np.clip(totals[n], -largest, largest)) for n in differ
    ):
        clipped = list(known)
        notes.append(f"clipped by value, at {largest:.6g}, which is taken as it is")
    else:
        totals.update({n: known[n] for n in differ})
        if recorder.untracked.intersection(differ):
            notes.append("not those of the backward pass, and taken as they are")
    return Notes([not_judged("gradients before the update", why) for why in notes], clipped)


def _is_close(found: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> bool:
    """Whether these are the same but for a product's rounding, and that of the factor."""
    limits = torch.finfo(dtype)
    rtol, atol = max(1e-4, 2 * limits.eps), limits.tiny * limits.eps
    return np.allclose(found, expected, rtol=rtol, atol=atol)


def _teacher_unchanged(
    recorder: Recorder, teacher: torch.nn.Module | None
) -> tuple[list[Operation], dict[str, np.ndarray]]:
    """That the teacher's parameters and buffers are as before, and its outputs have no gradient.

    Returned are the operations, and the parameters and buffers after the step.
    """
    operations: list[Operation] = []
    found: dict[str, np.ndarray] = {}
    if teacher is None:
        return operations, found
    for name, tensor in [*teacher.named_parameters(), *teacher.named_buffers()]:
        before, after = f"teacher.{name}", f"teacher.{name}, after the step"
        found[after] = array(tensor)
        operations.append(Operation(after, "copy", {"x": before}, {"y": after}))
    output = recorder.outputs.get("teacher")
    if isinstance(output, Tensor) and recorder.name_of(output) in recorder.totals:
        why = "its outputs get a gradient; torch.no_grad() would spare that"
        operations.append(not_judged("teacher", why))
    return operations, found
