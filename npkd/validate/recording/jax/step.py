"""A user's own training step, judged as a whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from npkd import losses
from npkd.objectives import Objective
from npkd.validate.bounds.rules import RULES
from npkd.validate.judging.verdicts import Report
from npkd.validate.program import Case, Operation, clips, not_judged, update_of
from npkd.validate.recording.jax.moves import DECIDED_BY_DATA
from npkd.validate.recording.jax.operations import RECORDED_AS, recorded
from npkd.validate.recording.jax.own import judged, name_of
from npkd.validate.recording.jax.program import Recorder
from npkd.validate.recording.jax.run import Run
from npkd.validate.recording.jax.trace import Trace, leaf_names
from npkd.validate.recording.objective import loss_of, parts_of

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def jax_step(
    update: Callable[..., Any],
    params: Any,
    state: Any,
    batches: Sequence[tuple[Any, ...]],
    *,
    apply: Callable[[Any, Any], Any],
    objective: Objective,
    lr: float | Callable[[int], float] | None,
    momentum: float = 0.0,
    weight_decay: float | Callable[[str], float] = 0.0,
    nesterov: bool = False,
    adam: Mapping[str, Any] | None = None,
    max_norm: float | None = None,
) -> Report:
    """The judge's verdict on a training step of one's own: every loss, and every parameter after.

    batches: three or more, of (x, y_teacher) or (x, y_teacher, labels).
    update: gives (params, state, loss) from (params, state, x, y_teacher), and the labels if the
    batch has any; it may be compiled, and its arguments are not used again. apply: the student, its
    logits from (params, x). objective: what the loss should be, on logits alone.

    The update is what these say. lr: the rate, or that of each step by its number from 0; None for
    an update of another kind, which is not judged, so that the report is not `ok`. momentum,
    nesterov, weight_decay: those of `npkd.SGD`, and of PyTorch and optax.sgd; the decay may be a
    function of a parameter's name, such as "params.bias". adam: Adam's instead, beta1, beta2,
    epsilon (0.9, 0.999 and 1e-8 where they are not given) and `decoupled`, whether the decay is
    AdamW's. max_norm: a common norm that gradients are clipped to.

    A step is judged as a whole, from its parameters and batch to its loss and the parameters that
    it gives, as nothing in between can be seen: the bound is carried through all of the net.

    Raises ValueError if `apply` has operations that the judge does not know, or the objective
    losses that are not on logits.

    Example
        >>> import jax
        >>> def apply(w, x):
        ...     return x @ w
        >>> def loss(w, x, y):
        ...     return ((apply(w, x) - y) ** 2).sum() / len(x)  # the ½ of l2 is missing
        >>> def update(w, state, x, y):
        ...     value, gradient = jax.value_and_grad(loss)(w, x, y)
        ...     return w - 0.1 * gradient, state, value
        >>> rng, w = np.random.default_rng(0), np.ones((3, 2), np.float32)
        >>> batches = [(rng.random((4, 3), "f4"), rng.random((4, 2), "f4")) for _ in range(3)]
        >>> objective = objectives.Objective(0)  # l2 to the teacher, nothing to the labels
        >>> report = validate.jax_step(
        ...     update, w, None, batches, apply=apply, objective=objective, lr=0.1
        ... )
        >>> report.causes[0].faults
        ('½ missing in L2',)
    """
    program = _Student(apply, objective)
    names = leaf_names("params", params)
    inputs = dict(zip(names, map(np.array, jax.tree_util.tree_leaves(params)), strict=True))
    before = dict(zip(names, names, strict=True))  # the tensors that hold the parameters
    operations: list[Operation] = []
    found: dict[str, np.ndarray] = {}
    for number, batch in enumerate(batches):
        at = f"step{number + 1}/"
        given = dict(zip(("x", "teacher", "labels"), map(np.asarray, batch), strict=False))
        inputs |= {at + name: array for name, array in given.items()}
        of_pass, gradients, constant = program.operations(params, given["x"], before, at, given)
        operations += of_pass
        inputs |= constant
        rate = lr(number) if callable(lr) else lr
        if rate is None:
            operations.append(not_judged(f"{at}update", "no rate was given", asked=True))
        elif max_norm is not None:
            shortened = {name: f"{gradients[name]}, clipped" for name in names}
            operations += clips({gradients[n]: of for n, of in shortened.items()}, max_norm)
            gradients = shortened
        for name in () if rate is None else names:
            options: dict[str, Any] = {"lr": rate}
            decay = weight_decay(name) if callable(weight_decay) else weight_decay
            options["weight_decay"] = float(decay)
            theta, g = before[name], gradients[name]
            if adam is not None:
                options |= ADAM | dict(adam) | {"step": number + 1}
                operations.append(_by_adam(name, number, theta, g, options))
                continue
            options |= {"momentum": momentum} | ({"nesterov": True} if nesterov else {})
            velocity = f"step{number}/velocity of {name}" if number else None
            of, made = f"{at}sgd {name}", f"{at}velocity of {name}"
            operations.append(update_of(of, theta, g, at + name, options, velocity, made))
        params, state, loss = update(params, state, *batch)
        after = map(np.array, jax.tree_util.tree_leaves(params))
        before = {name: at + name for name in names}
        (inputs if rate is None else found).update(zip(before.values(), after, strict=True))
        found[f"{at}loss"] = np.asarray(loss)
    name = name_of(update)
    about = f"{len(batches)} updates by {name}: {objective}"
    case = Case(name, name, about, inputs, tuple(operations), needed=frozenset(found))
    return judged([(case, found)], name)


def _by_adam(name: str, number: int, theta: str, g: str, options: Mapping[str, Any]) -> Operation:
    """The update of a parameter by Adam, in the step of this number."""
    at = f"step{number + 1}/"
    inputs = {"theta": theta, "g": g}
    inputs |= {key: f"step{number}/{key} of {name}" for key in "mv" if number}
    outputs = {"theta": at + name} | {key: f"{at}{key} of {name}" for key in "mv"}
    return Operation(f"{at}adam {name}", "adam", inputs, outputs, options)


class _Student:
    """The operations of one pass of a student, and of its loss."""

    def __init__(self, apply: Callable[[Any, Any], Any], objective: Objective):
        for term in objective.terms:
            if term.kind.layers != "output" or term.student or term.teacher or term.standardized:
                raise ValueError(f"jax_step: {term} is not a loss on logits as they are")
        if objective.hard is not losses.cross_entropy and objective.label_weight:
            raise ValueError("jax_step: the loss to the truth is not losses.cross_entropy")
        self.apply, self.objective = apply, objective
        self.recorders: dict[Any, Recorder] = {}  # by the shape of x

    def operations(
        self,
        params: Any,
        x: np.ndarray,
        before: Mapping[str, str],
        at: str,
        given: Mapping[str, np.ndarray],
    ) -> tuple[list[Operation], dict[str, str], dict[str, np.ndarray]]:
        """What is computed, the gradients by the parameters' names, and constants.

        before: the tensors that hold the parameters. at: what other tensors' names begin with.
        """
        recorder = self._recorder(params, x)
        unknown = [o for o in recorder.operations if o.op not in RULES]
        if unknown or len(recorder.trace.outputs) != 1:
            what = f"{unknown[0].name} is not known to the judge" if unknown else "it is no array"
            raise ValueError(f"jax_step: of what {name_of(self.apply)} gives, {what}")
        by_loss = f"{at}gradient by the loss"
        places = {**before, "x": f"{at}x", "upstream gradient": by_loss}

        def place(names: Mapping[str, str]) -> dict[str, str]:
            return {key: places.get(name, at + name) for key, name in names.items()}

        moved = [
            Operation(at + o.name, o.op, place(o.inputs), place(o.outputs), o.options)
            for o in recorder.operations
        ]
        many = len(recorder.forward)
        (logits,) = place({"y": recorder.trace.outputs[0]}).values()
        of_loss = self._loss(logits, by_loss, at, given)
        totals = {name: recorder.gradients.total[name] for name in before}
        constants = {
            at + name: array for name, array in recorder.inputs.items() if name not in places
        }
        return [*moved[:many], *of_loss, *moved[many:]], place(totals), constants

    def _recorder(self, params: Any, x: np.ndarray) -> Recorder:
        """The student's operations; those of one batch serve others, unless data decide on them."""

        def apply(params: Any, x: Any) -> Any:
            return self.apply(params, x)

        key = x.shape, x.dtype
        if key not in self.recorders:
            run = Run(Trace.of(apply, (params, x)))
            arguments = run.trace.arguments
            if any(step.primitive in DECIDED_BY_DATA for step in run.trace.steps):
                return recorded(run, arguments, np.ones)
            self.recorders[key] = Recorder(run, RECORDED_AS, arguments, run.zeros())
        return self.recorders[key]

    def _loss(
        self, logits: str, by_loss: str, at: str, given: Mapping[str, np.ndarray]
    ) -> list[Operation]:
        """The loss, with its gradient by the logits."""
        tensors = {"student": logits, "teacher": f"{at}teacher"}
        parts = parts_of(self.objective, lambda net, _: tensors[net], f"{at}labels")
        used = {name for part in parts for name in part.inputs.values()} - {logits}
        lacking = used - {at + name for name in given}
        if lacking:
            raise ValueError(f"jax_step: {self.objective} needs {sorted(lacking)}")
        return loss_of(parts, lambda _: by_loss, f"{at}loss")
