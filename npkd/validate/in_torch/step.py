"""A training step of one's own: both nets, the loss, its gradient and the update, judged."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from npkd.objectives import Objective
from npkd.validate.in_torch.objective import loss_of, parts_of, why_not
from npkd.validate.in_torch.operations import Gradients, Recording, backward, forward, recording
from npkd.validate.in_torch.own import judged
from npkd.validate.in_torch.recorder import Recorder
from npkd.validate.in_torch.tensors import array
from npkd.validate.in_torch.update import Update, not_judged
from npkd.validate.program import Operation
from npkd.validate.verdicts import Report

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

        def step():
            optimizer.zero_grad()
            loss = loss_of(student(x), teacher(x))
            loss.backward()
            optimizer.step()
            return loss

        objective = Objective(0.5, terms=[Term("kl", options={"temperature": 2.0})])
        torch_step(step, student, teacher=teacher, optimizer=optimizer, objective=objective,
                   labels=labels).check()

    `step` is run once, and really trains the student. teacher: the module, or its outputs where
    they were computed before. optimizer: a torch.optim.SGD; the update by another one is not
    judged. objective: what the loss should be; without it the loss and its gradient are taken as
    they are. Layers that it names are modules of the student, or of the teacher, by their paths;
    labels: what it takes for the truth.

    Judged are also that the teacher stays as it is and drops nothing out.

    Raises ValueError where the objective needs labels, a teacher or layers that are not there.
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
            loss = step()
        return judged(
            _recorded(recorder, update, nets.get("teacher"), loss, objective, labels), rng
        )
    finally:
        recorder.release()


def _recorded(
    recorder: Recorder,
    update: Update,
    teacher: torch.nn.Module | None,
    loss: Any,
    objective: Objective | None,
    labels: Any,
) -> Recording:
    """The step's program: forward, the loss, backward, the update, and that the teacher stays."""
    given = {BEFORE.format(name): gradient for name, gradient in update.before.items()}
    found: dict[str, np.ndarray] = {}
    why = why_not(objective)
    parts = []
    if objective is not None and not why:
        parts = parts_of(objective, recorder, labels, given)
    trained = dict.fromkeys(layer for part in parts for layer in part.student)
    for tensor in trained:  # a student that is detached has no gradient
        recorder.totals.setdefault(tensor, np.zeros_like(recorder.found[tensor]))
    if not parts:
        recorder.untracked |= recorder.outside
    notes = _compare_gradients(recorder, update)
    gradients = Gradients(recorder, trained, AFTER)
    operations = forward(recorder.calls, gradients)
    operations += loss_of(parts, gradients) if parts else [not_judged("loss", why)]
    if parts and loss is not None:
        found["loss"] = array(torch.as_tensor(loss)).reshape(())
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

    Where they differ by one factor below 1 throughout they were clipped, and are an input of the
    update; where they differ otherwise that shows in the verdict on the backward pass.
    """
    known = {n: g for n, g in update.gradients.items() if n in recorder.totals}
    differ = [n for n, g in known.items() if not np.array_equal(g, recorder.totals[n])]
    if not differ:
        return Notes([], [])
    norms = [
        np.sqrt(sum(float(np.sum(np.square(of[n], dtype=np.float64))) for n in known))
        for of in (known, recorder.totals)
    ]
    factor = norms[0] / norms[1] if norms[1] else math.inf
    close = all(np.allclose(g, factor * recorder.totals[n], rtol=1e-4) for n, g in known.items())
    if factor < 1 and close:
        why = f"shortened by the factor {factor:.6g}, which is taken as it is"
        return Notes([not_judged("gradients before the update", why)], list(known))
    recorder.totals.update({n: known[n] for n in differ})
    return Notes([], [])


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
