"""Checks of updates and of trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import npkd
from npkd import definitions, gradcheck, objectives, optim, training
from npkd.nets import Network
from npkd.objectives import Batch, Objective, Term
from npkd.proofs.cases import Drawn, arrays
from npkd.proofs.checks import Check, Finding, _gradients, _worst, close
from npkd.proofs.of_nets import cnn, with_params


def steps_by(definition: Callable[..., Any], *kept: str, counted: bool = False) -> Check:
    """Steps of an optimiser, and what it remembers, are those of its definition.

    kept: what is remembered, in the definition's order. counted: whether it takes the step's
    number. After some of the steps another optimiser takes over.
    """

    def steps(kind: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
        options = dict(case.options)
        lrs, handed_over = options.pop("lrs"), options.pop("handed_over")
        params = arrays(case, rng)
        expected = {name: theta.copy() for name, theta in params.items()}
        memory = [{name: np.zeros_like(theta) for name, theta in params.items()}] * len(kept)
        optimiser = kind(lr=1.0, **options)
        for step, lr in enumerate(lrs, 1):
            grads = arrays(case, rng)
            optimiser.lr = lr
            optimiser.step(params, grads)
            number = {"step": step} if counted else {}
            expected, *memory = definition(expected, grads, *memory, lr=lr, **number, **options)
            if step == handed_over:
                before, optimiser = optimiser, kind(lr=1.0, **options)
                optimiser.load(before.state(), before.updates)
        found = params | optimiser.state()
        if options.get("momentum", 1):
            for what, of_params in zip(kept, memory, strict=True):
                expected |= {f"{what}/{name}": array for name, array in of_params.items()}
        if found.keys() != expected.keys():
            raise AssertionError(f"it has {sorted(found)}, expected {sorted(expected)}")
        return _worst([close(found[name], expected[name], name) for name in expected])

    return steps


@dataclass(frozen=True)
class Training:
    """What makes an update: the loop, the optimiser, the bound of the gradients, the losses."""

    train: Callable[..., Any] = training.train
    sgd: type[optim.SGD] = optim.SGD
    objective: Callable[..., Any] = objectives.Objective


def _batches(case: Drawn, rng: np.random.Generator) -> list[Batch]:
    count, *image = case.shapes["x"]
    outputs = case.options["outputs"]
    _, *of_map = (
        cnn(npkd, case, rng).features(np.zeros(case.shapes["x"]), ["pool"])[0]["pool"].shape
    )
    of_map[0] += 1  # the teacher has a channel more
    return [
        Batch(
            0,
            rng.standard_normal((size, *image)),
            rng.integers(outputs, size=size),
            {
                "fc2": rng.standard_normal((size, outputs)),
                "pool": rng.standard_normal((size, *of_map)),
            },
        )
        for size in (count, count, count - 1)
    ]


def _objective(training: Training, case: Drawn, rng: np.random.Generator) -> Objective:
    """L2 and a share of the labels, and with "hint" half of a hint, its regressor trained along."""
    terms, params = [Term()], {}
    if case.options["hint"] and case.options["label_weight"] < 1:
        terms.append(Term("hint", 0.5, ("pool",), ("pool",)))
        channels = case.options["channels"]
        params = {
            "hint.weight": rng.standard_normal((channels + 1, channels)),
            "hint.bias": rng.standard_normal(channels + 1),
        }
    objective: Objective = training.objective(
        case.options["label_weight"], terms=terms, params=params
    )
    return objective


def training_gradient(training: Training, case: Drawn, rng: np.random.Generator) -> Finding:
    """From images and parameters through network and loss to one number."""
    network, batch = cnn(npkd, case, rng), _batches(case, rng)[0]
    loss = _objective(training, case, rng)
    args = {"x": batch.x, "params": network.params | loss.params}

    def function(x: np.ndarray, params: dict[str, np.ndarray]) -> Any:
        assert batch.teacher is not None
        loss.params = {name: params[name] for name in loss.params}
        outputs, backward = with_params(
            network, {name: params[name] for name in network.params}
        ).features(x, loss.layers)
        teacher = {name: y.astype(x.dtype) for name, y in batch.teacher.items()}
        value, gradients, of_loss = loss(outputs, Batch(0, x, batch.truth, teacher))
        dx, grads = backward(gradients)
        return value, (dx, grads | of_loss)

    return _gradients(function, args, rng)


def training_steps(training: Training, case: Drawn, rng: np.random.Generator) -> Finding:
    """Updates by the loop are those by derivatives of the loss's definition and SGD's.

    No backward pass, no loss, no optimiser of npkd takes part in what is expected.
    """
    network, batches, options = cnn(npkd, case, rng), _batches(case, rng), case.options
    loss = _objective(training, case, rng)
    params = {name: theta.copy() for name, theta in (network.params | loss.params).items()}
    velocity = {name: np.zeros_like(theta) for name, theta in params.items()}
    optimiser = training.sgd(1.0, options["momentum"], options["weight_decay"])
    updates = training.train(
        network,
        batches,
        loss=loss,
        optimiser=optimiser,
        schedule=lambda step: options["lrs"][step],
        clip_norm=options["clip_norm"],
    )
    findings = []
    for step, (batch, update) in enumerate(zip(batches, updates, strict=True)):
        value, grads = _defined_gradient(network, params, batch, options["label_weight"])
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        shorter = min(1.0, options["clip_norm"] / norm)
        params, velocity = definitions.sgd(
            params,
            {name: shorter * g for name, g in grads.items()},
            velocity,
            lr=options["lrs"][step],
            momentum=options["momentum"],
            weight_decay=options["weight_decay"],
        )
        findings.append(close(update.loss, value, f"the loss of step {step}"))
        found = network.params | loss.params
        findings += [
            close(found[name], params[name], f"{name} after step {step}") for name in params
        ]
    return _worst(findings)


def _defined_gradient(
    network: Network, params: dict[str, np.ndarray], batch: Batch, label_weight: float
) -> tuple[float, dict[str, np.ndarray]]:
    """The loss and its derivative by every parameter, by the complex step, forward only."""
    assert batch.teacher is not None
    x = batch.x.astype(complex)
    teacher = {name: y.astype(complex) for name, y in batch.teacher.items()}

    def value(changed: dict[str, np.ndarray]) -> Any:
        y, _ = with_params(network, changed).features(x, ["pool", "fc2"])
        total = definitions.mix(y["fc2"], teacher["fc2"], batch.truth, alpha=1 - label_weight)
        if "hint.weight" in changed:
            regressor = changed["hint.weight"], changed["hint.bias"]
            hint = definitions.hint(y["pool"], teacher["pool"], *regressor)
            total += (1 - label_weight) * 0.5 * hint
        return total

    stepped = {name: theta.astype(complex) for name, theta in params.items()}
    grads = {name: np.empty_like(theta) for name, theta in params.items()}
    for name, theta in stepped.items():
        for index in np.ndindex(theta.shape):
            theta[index] += 1j * gradcheck.STEP
            grads[name][index] = value(stepped).imag / gradcheck.STEP
            theta[index] = theta[index].real
    return float(value(stepped).real), grads
