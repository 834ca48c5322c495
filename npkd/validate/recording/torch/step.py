"""A training step of one's own: both nets, the loss, its gradient and the update, judged."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from npkd.objectives import Objective
from npkd.validate.judging.verdicts import Report
from npkd.validate.program import Operation, clips, not_judged, sum_of
from npkd.validate.recording.objective import Part, loss_of
from npkd.validate.recording.torch import objective as objectives
from npkd.validate.recording.torch.own import judged
from npkd.validate.recording.torch.program import Gradients, Recording, backward, forward, recording
from npkd.validate.recording.torch.recorder import Recorder
from npkd.validate.recording.torch.tensors import array
from npkd.validate.recording.torch.update import Expected, Update, check_expected

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
    expected: Expected | None = None,
    scale: float | None = None,
    teacher_trained: bool = False,
    other_images: bool = False,
    student_evaluated: bool = False,
    rng: np.random.Generator | None = None,
) -> Report:
    """Judge one's own training step in PyTorch: both nets, the loss, its gradient, the update.

    `step` is run once, and really trains the student. It runs the student and the teacher once
    each, and returns the loss as one number, or None. teacher: the module, or its outputs where
    they were computed before. optimizer: SGD, Adam or AdamW of torch.optim; the update by another
    one is not judged. objective: what the loss should be; without it the loss and its gradient are
    taken as they are. Layers that it names are modules of the student, or of the teacher, by their
    paths; labels: what it takes for the truth.

    The optimizer's settings are taken as they are too, but for those that are `expected`: lr,
    momentum (of Adam: β₁), weight_decay, nesterov. Each is a number, or a function of a parameter's
    name, as where biases do not decay. max_norm: that to which gradients should be clipped.

    The report is not `ok`, and says why, where something of this was not judged: the loss or the
    update, a parameter that requires a gradient and gets none, or no update; a net of which nothing
    was recorded, or that is compiled. So it does, unless these arguments say that it is meant,
    where the teacher changes and the optimizer does not have it (teacher_trained: an average of the
    student, mutual learning), where the nets take images of one shape that are not the same
    (other_images), and where the student runs in evaluation mode (student_evaluated).

    A frozen teacher must stay as it is, statistics of batch norm too, and drop nothing out.

    scale: by which the loss was multiplied before the backward pass, and gradients divided after,
    as torch.amp.GradScaler does. That of a GradScaler is recognised, and a power of two if `step`
    returns the loss as it was before.
    Gradients that were shortened before the update, clipped by their norm or by value, are taken
    as they are. So are those that were multiplied by a factor between 0 and 1, one for all or one
    for each parameter, which cannot be told from clipping: the report lists it as not judged, with
    the factor. All other changes of gradients show as BUG: a factor of 0, or of more than 1, and
    what hooks of tensors change.

    Raises ValueError where the objective needs labels, a teacher or layers that are not there, for
    labels that are not the classes of the samples, where `step` returns something else, and for
    settings that it does not know.

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
    check_expected(expected)
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
        unchanged, after = _teacher_unchanged(
            recorder, update, nets.get("teacher"), teacher_trained
        )
        doubts = _doubts(recorder, nets, other_images, student_evaluated)
        settings, wanted, is_set = update.settings(expected)
        recorded = _recorded(
            recorder,
            update,
            loss,
            objective,
            labels,
            scale,
            (expected or {}).get("max_norm"),
            (*doubts, *unchanged, *settings),
            wanted,
            after | is_set,
        )
        return judged(recorded, rng)
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
    loss: np.ndarray | None,
    objective: Objective | None,
    labels: Any,
    scale: float | None,
    max_norm: Any,
    others: Iterable[Operation],
    given: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
) -> Recording:
    """The step's program: forward, the loss, backward, the update, and other operations.

    given, found: what these take and make.
    """
    given = given | {BEFORE.format(name): gradient for name, gradient in update.before.items()}
    why = objectives.why_not(objective, recorder)
    parts = []
    if objective is not None and not why:
        parts = objectives.parts(objective, recorder, labels, given)
    trained = dict.fromkeys(layer for part in parts for layer in part.student)
    for tensor in trained:  # a student that is detached has no gradient
        recorder.totals.setdefault(tensor, np.zeros_like(recorder.values(tensor)))
    if not parts:
        recorder.untracked |= recorder.outside
    left_out = update.left_out(recorder.totals)
    scale = _scale(recorder, loss) if scale is None else scale
    if loss is not None and recorder.scale and np.array_equal(recorder.started[-1:], [loss]):
        loss = loss / loss.dtype.type(scale)  # returned as it was scaled
    if max_norm is None:
        notes = _compare_gradients(recorder, update, scale)
    else:
        notes = Notes([], [], list(update.gradients) if scale != 1 else [], scale)
    gradients = Gradients(recorder, trained, AFTER)
    operations = forward(recorder.calls, gradients)
    if parts:
        operations += _loss(parts, trained, gradients, notes.scale)
    else:
        operations.append(not_judged("loss", why, asked=objective is not None))
    if parts and loss is not None:
        found["loss"] = loss
    operations += backward(recorder.calls, gradients)
    names = {name: gradients.total(name) for name in update.gradients if gradients.exists(name)}
    for name in notes.clipped:
        names[name] = f"{name}.grad, clipped"
        gradients.given[names[name]] = update.gradients[name]
    for name in notes.unscaled:
        total, names[name] = names[name], f"{name}.grad, unscaled"
        made = {"y": names[name]}
        divided = {"divisor": notes.scale}
        operations.append(Operation(names[name], "unscale", {"x": total}, made, divided))
    if max_norm is not None:
        shortened = {name: f"{name}.grad, clipped" for name in names}
        operations += clips({names[n]: of for n, of in shortened.items()}, float(max_norm))
        names = shortened
    found |= {of: update.gradients[n] for n, of in names.items() if of != gradients.total(n)}
    updates, states, updated = update.program(names)
    operations += [*notes.operations, *left_out, *updates, *others]
    about = "a training step in PyTorch"
    given, found = given | states, found | updated
    return recording(recorder, gradients, operations, "training step", about, given, found)


def _loss(
    parts: Sequence[Part], trained: Iterable[str], gradients: Gradients, scale: float
) -> list[Operation]:
    """The loss and its gradients, multiplied by the scale."""
    if scale == 1:
        return loss_of(parts, gradients.from_outside)
    operations = loss_of(parts, lambda tensor: f"{gradients.from_outside(tensor)}, not scaled")
    for tensor in trained:
        total = gradients.from_outside(tensor)
        operations.append(sum_of([f"{total}, not scaled"], total, divisor=1 / scale))
    return operations


def _scale(recorder: Recorder, loss: np.ndarray | None) -> float:
    """What the loss was multiplied by before the backward pass: GradScaler's, or a power of two."""
    if recorder.scale is not None:
        return recorder.scale
    if loss is None or len(recorder.started) != 1 or not loss:
        return 1.0
    scale = float(recorder.started[0]) / float(loss)
    return scale if scale > 0 and math.frexp(scale)[0] == 0.5 else 1.0


class Notes(NamedTuple):
    """What is said about gradients: operations that are not judged, and parameters.

    clipped, unscaled  the parameters whose gradients are
    scale              by which the loss was multiplied
    """

    operations: list[Operation]
    clipped: list[str]
    unscaled: list[str]
    scale: float


def _compare_gradients(recorder: Recorder, update: Update, scale: float) -> Notes:
    """Take the gradients that the optimiser had for those of the backward pass.

    Where they differ, beside the scale, by one factor below 1 throughout, by one for each of them,
    or by the largest value there is, they were clipped, and are an input of the update. Where they
    differ otherwise, that they were unscaled, or the backward pass, is a bug. Those of several
    backward passes are not compared, and of those that are used in ways that were not seen it is
    only said that they differ.
    """
    notes: list[str] = []
    clipped: list[str] = []
    totals = recorder.totals
    known = {n: g for n, g in update.gradients.items() if n in totals}
    repeated = recorder.repeated.intersection(known)
    if repeated:
        totals.update({n: known.pop(n) for n in repeated})
        notes.append("summed over several backward passes, which is taken as it is")

    def is_times(name: str, factor: float) -> bool:
        return _is_close(known[name], factor * own[name], update.parameters[name].dtype)

    own = {n: totals[n] / scale for n in known}
    if scale < 1 and not all(is_times(n, 1) for n in known):  # of the loss alone: no scale at all
        scale, own = 1.0, totals
    differ = [n for n, g in known.items() if not np.array_equal(g, own[n])]
    norms = [_norm([of[name] for name in known]) for of in (known, own)]
    factor = norms[0] / norms[1] if norms[1] else math.inf
    largest = max((np.max(np.abs(known[n])) for n in differ), default=0)
    shares = {n: _norm([known[n]]) / _norm([own[n]]) for n in differ if np.any(own[n])}
    if scale != 1 and all(is_times(n, 1) for n in known):
        differ = []
    if differ and 0 < factor < 1 and all(is_times(n, factor) for n in known):
        clipped = list(known)
        notes.append(f"shortened by the factor {factor:.6g}, which is taken as it is")
    elif largest > 0 and all(
        np.array_equal(known[n], np.clip(own[n], -largest, largest)) for n in differ
    ):
        clipped = list(known)
        notes.append(f"clipped by value, at {largest:.6g}, which is taken as it is")
    elif differ and all(0 < shares.get(n, 0) < 1 and is_times(n, shares[n]) for n in differ):
        clipped = list(known)
        few, many = min(shares.values()), max(shares.values())
        notes.append(
            f"{len(differ)} of {len(known)} are shortened, each by a factor of its own, from "
            f"{few:.6g} to {many:.6g}, which is taken as it is"
        )
    elif scale == 1:
        totals.update({n: known[n] for n in differ})
        if recorder.untracked.intersection(differ):
            notes.append("not those of the backward pass, and taken as they are")
    if scale != 1 and clipped:
        notes = [f"divided by the scale, {scale:g}, and {why}" for why in notes]
    operations = [not_judged("gradients before the update", why) for why in notes]
    unscaled = [] if scale == 1 or clipped else list(known)
    return Notes(operations, clipped, unscaled, scale)


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return math.sqrt(sum(float(np.sum(np.square(one, dtype=np.float64))) for one in arrays))


def _is_close(found: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> bool:
    """Whether these are the same but for a product's rounding, and that of the factor."""
    limits = torch.finfo(dtype)
    rtol, atol = max(1e-4, 2 * limits.eps), limits.tiny * limits.eps
    return np.allclose(found, expected, rtol=rtol, atol=atol)


def _teacher_unchanged(
    recorder: Recorder, update: Update, teacher: torch.nn.Module | None, trained: bool
) -> tuple[list[Operation], dict[str, np.ndarray]]:
    """That the teacher's parameters and buffers are as before, and its outputs have no gradient.

    Not so if it is trained, as is said, or by what the judge does not see: then it is only listed.
    Returned are the operations, and the parameters and buffers after the step.
    """
    operations: list[Operation] = []
    found: dict[str, np.ndarray] = {}
    if teacher is None:
        return operations, found
    groups = [] if update.optimizer is None else update.optimizer.param_groups
    ours = {id(p) for group in groups for p in group["params"]}
    ours -= {id(p) for p in update.parameters.values()}
    elsewhere = [
        name
        for name, p in teacher.named_parameters()
        if id(p) not in ours
        and not np.array_equal(array(p), recorder.given[f"teacher.{name}"], equal_nan=True)
    ]
    if trained or elsewhere:
        for call in recorder.calls:  # that drop something out, as a net may that is trained
            if call.op == "dropout" and call.root == "teacher":
                x, y = (recorder.values(of) for of in (call.inputs["x"], call.outputs["y"]))
                call.op = call.op if np.array_equal(x, y, equal_nan=True) else "unknown"
        why = "trained, as was said"
        if not trained:
            why = (
                "its parameters change, and not as a part of the optimizer's beside the student's; "
                "teacher_trained=True says that this is meant, as where it is an average of the "
                "student, learns on its own, or shares layers with the student"
            )
        return [not_judged("teacher", why, asked=not trained)], found
    buffers = dict(teacher.named_buffers())
    for name, tensor in [*teacher.named_parameters(), *buffers.items()]:
        before, after = f"teacher.{name}", f"teacher.{name}, after the step"
        found[after] = array(tensor)
        op = "statistics" if name in buffers else "copy"
        operations.append(Operation(after, op, {"x": before}, {"y": after}))
    output = recorder.outputs.get("teacher")
    if isinstance(output, Tensor) and recorder.name_of(output) in recorder.totals:
        why = "its outputs get a gradient; torch.no_grad() would spare that"
        operations.append(not_judged("teacher", why))
    return operations, found


def _doubts(
    recorder: Recorder,
    nets: Mapping[str, torch.nn.Module],
    other_images: bool,
    student_evaluated: bool,
) -> list[Operation]:
    """Where a net was not seen, or is in the wrong mode, or the two take other images."""
    doubts = []
    for net in nets:
        if all(call.op == "unknown" for call in recorder.calls if call.root == net):
            doubts.append(not_judged(net, "nothing that it computes was judged", asked=True))
    own = [mode for path, mode in recorder.modes.items() if path.split(".")[0] == "student"]
    mode = recorder.modes.get("student", any(own) or not own)
    if not mode and not student_evaluated:
        why = "it runs in evaluation mode; student_evaluated=True says that this is meant"
        doubts.append(not_judged("student", why, asked=True))
    images, others = (recorder.taken.get(net, []) for net in ("student", "teacher"))
    if not other_images and len(images) == len(others):
        pairs = zip(map(array, images), map(array, others), strict=True)
        if why := next(filter(None, (_differ(x, y) for x, y in pairs)), ""):
            doubts.append(not_judged("teacher", why, asked=True))
    return doubts


def _differ(x: np.ndarray, y: np.ndarray) -> str:
    """How the teacher's images y differ from the student's x, if they are of one shape."""
    if x.shape != y.shape or x.dtype != y.dtype or np.array_equal(x, y, equal_nan=True):
        return ""
    how = f"by up to {np.max(np.abs(x.astype(np.float64) - y)):.3g}"
    if x.ndim == 4 and np.array_equal(x[..., ::-1], y):
        how = "mirrored"
    meant = "other_images=True says that this is meant"
    return f"it takes other images than the student, of the same shape ({how}); {meant}"
