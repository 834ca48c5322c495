"""The ladder of proofs, for everything in the package: ops, losses, networks, SGD, training.

    value        it computes its formula: definitions.py, or the formula through what is proved
    direction    backward is the transpose of the derivative along a random direction, to 1e-14
    entries      and entry by entry, to 1e-13; both by the complex step
    difference   the same by an exact difference, where the function is affine in each argument
    adjoint      ⟨A v, dy⟩ = ⟨v, Aᵀ dy⟩ for complex numbers, where it is linear in each argument
    ties         and at kinks it is the slope of the convention: real numbers, many equal or 0
    contract     arguments unchanged, the same bits again, dtypes kept, any layout, fresh outputs
    steps        updates are those of the formula

A check takes what it judges as an argument, so that a wrong version can be handed to it:

    PROOFS["conv2d"].checks["entries"](ops.conv2d, case, rng)

and returns what it found, or raises AssertionError. `npkd gradcheck` and the tests run them all, on
random cases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from npkd import definitions, distill, gradcheck, layers, losses, models, objectives, ops, optim
from npkd.cases import CASES, LOSSES, OPS, Case, arrays
from npkd.layers import Network
from npkd.objectives import Batch, Objective, Term

VALUE = 1e-12  # max|a − b| ≤ VALUE · max|b|


@dataclass(frozen=True)
class Finding:
    """A check that was passed: the relative error at its worst place, which is named.

    power: of a gradient, the relative fault from which on it would not have passed; as npkd's
    functions are analytic on their branches, to a thousandth by differences.
    """

    relative: float = 0.0
    where: str = ""
    power: float = 0.0


Check = Callable[[Any, Case, np.random.Generator], Finding]


@dataclass(frozen=True)
class Proof:
    """What is judged, and the checks that it must pass.

    dear: of how many examples asked for one is run, where they take their time.
    """

    subject: Any
    checks: dict[str, Check]
    dear: int = 1

    def examples(self, asked: int) -> int:
        """How many examples to run where so many are asked for."""
        return max(1, asked // self.dear)


@dataclass(frozen=True)
class Row:
    """What all checks of one subject came to: the worst errors of those passed, and failures."""

    name: str
    checks: int
    examples: int
    value: Finding
    gradient: Finding
    failures: tuple[str, ...]


def prove(names: list[str], examples: int, seed: int) -> Iterator[Row]:
    """Run all checks of these subjects on so many random cases each. Yields a row for each."""
    for name in names:
        proof, count = PROOFS[name], PROOFS[name].examples(examples)
        worst = {"value": Finding(), "gradient": Finding()}
        failures = []
        for example in range(count):
            for check in proof.checks:
                rng = np.random.default_rng([seed, example])
                case = CASES[name](partial(_integer, rng))
                try:
                    finding = proof.checks[check](proof.subject, case, rng)
                except Exception as error:  # whatever it is, the row says so, and others follow
                    reason = str(error) if isinstance(error, AssertionError) else repr(error)
                    failures.append(f"{check}, example {example}: {reason}\n{described(case)}")
                    continue
                column = "gradient" if check in GRADIENTS else "value"
                found = worst[column]
                if finding.relative > found.relative:
                    where = f"{check}, example {example}: {finding.where}"
                    found = replace(found, relative=finding.relative, where=where)
                worst[column] = replace(found, power=max(found.power, finding.power))
        yield Row(name, len(proof.checks), count, **worst, failures=tuple(failures))


def described(case: Case) -> str:
    """A case in one line: its arrays' shapes and its options."""
    shapes = [f"{name} {shape}" for name, shape in case.shapes.items()]
    options = [f"{name}={value!r}" for name, value in case.options.items()]
    return f"{case.op} of {', '.join([*shapes, *options])}"


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _close(found: Any, expected: Any, what: str) -> Finding:
    """max|a − b| ≤ VALUE · max|b|, as `Finding`."""
    a, b = np.asarray(found), np.asarray(expected)
    if a.shape != b.shape:
        raise AssertionError(f"{what} has shape {a.shape}, expected {b.shape}")
    if a.size == 0:
        return Finding()
    errors, largest = np.abs(a - b), np.max(np.abs(b))
    index = tuple(int(n) for n in np.unravel_index(np.argmax(errors), a.shape))
    if not errors[index] <= VALUE * largest:
        raise AssertionError(
            f"{what} at {index} is {a[index]:.17g}, expected {b[index]:.17g}; they differ by "
            f"{errors[index]:.3g}, allowed is {VALUE * largest:.3g} ({VALUE:g} of the largest)"
        )
    return Finding(float(errors[index] / largest) if largest else 0.0, f"{what} at {index}")


def _worst(findings: list[Finding]) -> Finding:
    worst = max(findings, key=lambda finding: finding.relative)
    return replace(worst, power=max(finding.power for finding in findings))


def _gradients(
    function: Callable[..., Any], args: dict[str, Any], rng: np.random.Generator, **options: Any
) -> Finding:
    """`gradcheck.check`, with the arguments by name."""
    result = gradcheck.check(function, *args.values(), rng=rng, **options)
    where = result.where
    for k, name in enumerate(args):
        where = where.replace(f"argument {k}", name)
    compared = [each for each in result.entries or [result] if each.scale and not each.parts]
    return Finding(
        result.relative, where, max((each.power_if_analytic for each in compared), default=0.0)
    )


# Ops


def _value(function: Callable[..., Any], case: Case, rng: np.random.Generator) -> Finding:
    """Of an op or a loss: that of its definition, for real and for complex numbers."""
    findings = []
    for dtype in (np.float64, np.complex128):
        values = arrays(case, rng, dtype).values()
        expected = getattr(definitions, case.op)(*values, **case.options)
        findings.append(_close(function(*values, **case.options)[0], expected, "the value"))
    return _worst(findings)


def _op(op: Callable[..., Any], case: Case) -> Callable[..., Any]:
    return lambda *values: op(*values, **case.options)


def _of_op(op: Callable[..., Any], case: Case, rng: np.random.Generator, **options: Any) -> Finding:
    return _gradients(_op(op, case), arrays(case, rng), rng, **options)


def _adjoint(op: Callable[..., Any], case: Case, rng: np.random.Generator) -> Finding:
    """Without a bias, conv2d and linear are linear in x, and as well in w."""
    values = arrays(case, rng, np.complex128)
    values.pop("b", None)
    return _gradients(_op(op, case), values, rng, method="linear")


def _ties(op: Callable[..., Any], case: Case, rng: np.random.Generator) -> Finding:
    """Of equal cells the first in row-major order is chosen, and relu'(0) = 0.

    That is the branch of the same numbers, each lowered by a little and by more than the one before
    it: zeros are then negative, and the first of equal cells is the largest. There nothing is tied,
    and the other checks hold.
    """
    x = np.round(2 * rng.standard_normal(case.shapes["x"])) / 2
    lowered = x - 2.0**-20 * np.arange(1, 1 + x.size).reshape(x.shape)
    (y, backward), (_, expected) = op(x, **case.options), op(lowered, **case.options)
    dy = rng.standard_normal(y.shape)
    return _close(backward(dy), expected(dy), "the gradient at ties")


def _op_contract(op: Callable[..., Any], case: Case, rng: np.random.Generator) -> Finding:
    # along the axis of the batch, a softmax of none would have nothing to choose from
    axis = case.options.get("axis", -1)
    batched = [0] if axis % len(case.shapes["x"]) else []
    values = arrays(case, rng).values()
    views = case.op == "flatten"
    gradcheck.check_contract(_op(op, case), *values, rng=rng, batched=batched, views=views)
    return Finding()


# Losses


def _by_trained(
    loss: Callable[..., Any], case: Case, rng: np.random.Generator
) -> tuple[Callable[..., Any], dict[str, np.ndarray]]:
    """The loss as a function of the arrays that are trained, all but the teacher's, and those.

    The variant "fixed" takes the scale as a constant, by which its gradient must be 0.
    """
    values = arrays(case, rng)
    fixed = "scale" if case.options.get("variant") == "fixed" else ""
    takes = [name for name in values if not name.startswith("teacher")]
    trained = {name: values[name] for name in takes if name != fixed}

    def function(*given: np.ndarray) -> Any:
        named = {name: array.astype(given[0].dtype) for name, array in values.items()}
        named |= dict(zip(trained, given, strict=True))
        value, gradients = loss(*named.values(), **case.options)
        if fixed:
            by_name = dict(zip(takes, gradients, strict=True))
            if np.any(by_name.pop(fixed)):
                raise AssertionError(f"the gradient by {fixed}, which is fixed, is not 0")
            gradients = tuple(by_name.values())
        return value, gradients

    return function, trained


def _of_loss(
    loss: Callable[..., Any], case: Case, rng: np.random.Generator, **options: Any
) -> Finding:
    function, trained = _by_trained(loss, case, rng)
    return _gradients(function, trained, rng, **options)


def _loss_contract(loss: Callable[..., Any], case: Case, rng: np.random.Generator) -> Finding:
    function, trained = _by_trained(loss, case, rng)
    batched = [0] if case.op == "standardize" else []  # that is no mean over the batch
    gradcheck.check_contract(function, *trained.values(), rng=rng, batched=batched)
    return Finding()


# Networks; what is judged is the module npkd.layers, or the class of one of the document's nets


def cnn(module: ModuleType, case: Case, rng: np.random.Generator) -> Network:
    """The network of a case of `cases.cnn`, its layers and all from a module like npkd.layers."""
    _, channels, height, width = case.shapes["x"]
    options = case.options
    inner, size, padding = (options[name] for name in ("channels", "kernel_size", "padding"))
    cells = ((height + 2 * padding - size + 1) // 2) * ((width + 2 * padding - size + 1) // 2)
    parts = {
        "conv": module.Conv2d(channels, inner, size, padding=padding),
        "relu1": module.Function(ops.relu),
        "pool": module.Function(getattr(ops, options["pool"]), 2),
        "flatten": module.Function(ops.flatten),
        "fc1": module.Linear(inner * cells, options["hidden"]),
        "relu2": module.Function(ops.relu),
        "fc2": module.Linear(options["hidden"], options["outputs"]),
    }
    network: Network = module.Network(parts, (channels, height, width), rng, np.float64)
    return network


def _cnn_by_definition(
    x: np.ndarray, p: dict[str, np.ndarray], options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The outputs of all layers of `cnn`."""
    of = definitions
    y = {"conv": of.conv2d(x, p["conv.weight"], p["conv.bias"], padding=options["padding"])}
    y["relu1"] = of.relu(y["conv"])
    y["pool"] = getattr(of, options["pool"])(y["relu1"], 2)
    y["flatten"] = of.flatten(y["pool"])
    y["fc1"] = of.linear(y["flatten"], p["fc1.weight"], p["fc1.bias"])
    y["relu2"] = of.relu(y["fc1"])
    y["fc2"] = of.linear(y["relu2"], p["fc2.weight"], p["fc2.bias"])
    return y


def _document_net_by_ops(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """The document's nets, from ops: conv, ReLU, conv, ReLU, 2×2 average, linear, ReLU, linear."""
    y, _ = ops.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)
    y, _ = ops.conv2d(np.maximum(y, 0), p["conv2.weight"], p["conv2.bias"], padding=1)
    y, _ = ops.avg_pool2d(np.maximum(y, 0), 2)
    y, _ = ops.linear(y.reshape(len(x), -1), p["fc1.weight"], p["fc1.bias"])
    y, _ = ops.linear(np.maximum(y, 0), p["fc2.weight"], p["fc2.bias"])
    return y


def with_params(network: Network, params: dict[str, np.ndarray]) -> Network:
    """The same network with these very arrays as its parameters, of any dtype."""
    other: Network = object.__new__(type(network))
    other.__dict__.update(network.__dict__ | {"params": params})
    return other


def _of_everything(network: Network, names: list[str] | None = None) -> Callable[..., Any]:
    """The network as a function of images and parameters, giving the outputs of the layers named.

    By default its own call, the output of the last layer.
    """

    def function(x: np.ndarray, params: dict[str, np.ndarray]) -> Any:
        other = with_params(network, params)
        return other(x) if names is None else other.features(x, names)

    return function


def _cnn_value(module: ModuleType, case: Case, rng: np.random.Generator) -> Finding:
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])
    outputs, _ = network.features(x, network.layers)
    expected = _cnn_by_definition(x, network.params, case.options)
    found = [_close(outputs[name], expected[name], f"the output of {name}") for name in expected]
    return _worst([*found, _close(network(x)[0], expected["fc2"], "the value")])


def _of_cnn(module: ModuleType, case: Case, rng: np.random.Generator, **options: Any) -> Finding:
    """From the last layer alone, and from some layers together."""
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])
    args = {"x": x, "params": network.params}
    some = [name for name in network.layers if rng.random() < 0.5] or ["pool"]
    return _worst(
        [_gradients(_of_everything(network, names), args, rng, **options) for names in (None, some)]
    )


def _cnn_contract(module: ModuleType, case: Case, rng: np.random.Generator) -> Finding:
    """`check_contract`; the same gradients without dx; gradients handed in at layers unchanged."""
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])

    def function(x: np.ndarray, *params: np.ndarray) -> Any:
        named = dict(zip(network.params, params, strict=True))
        y, backward = with_params(network, named)(x)

        def in_order(dy: np.ndarray) -> tuple[np.ndarray, ...]:
            dx, grads = backward(dy)
            return dx, *(grads[name] for name in network.params)

        return y, in_order

    gradcheck.check_contract(function, x, *network.params.values(), rng=rng, batched=[0])
    y, backward = network(x)
    dy = rng.standard_normal(y.shape)
    (_, grads), (dx, alone) = backward(dy), backward(dy, need_dx=False)
    if dx is not None or any(np.any(alone[name] != grads[name]) for name in grads):
        raise AssertionError("without dx the gradients by the parameters are others")
    outputs, backward = network.features(x, ["pool", "flatten"])  # flatten hands on a view
    given = {name: rng.standard_normal(output.shape) for name, output in outputs.items()}
    before = {name: gradient.copy() for name, gradient in given.items()}
    backward(given)
    if any(np.any(given[name] != before[name]) for name in given):
        raise AssertionError("a gradient handed in at a layer was changed")
    return Finding()


def _document_net(
    make: Callable[..., Network], case: Case, rng: np.random.Generator
) -> tuple[Network, np.ndarray]:
    network = make(rng, dtype=np.float64, **case.options)
    return network, rng.standard_normal(case.shapes["x"])


def _document_net_value(
    make: Callable[..., Network], case: Case, rng: np.random.Generator
) -> Finding:
    network, x = _document_net(make, case, rng)
    return _close(network(x)[0], _document_net_by_ops(x, network.params), "the value")


def _of_document_net(
    make: Callable[..., Network], case: Case, rng: np.random.Generator, **options: Any
) -> Finding:
    network, x = _document_net(make, case, rng)
    return _gradients(_of_everything(network), {"x": x, "params": network.params}, rng, **options)


# SGD and training


def _sgd_steps(sgd: type[optim.SGD], case: Case, rng: np.random.Generator) -> Finding:
    params = arrays(case, rng)
    expected = {name: theta.copy() for name, theta in params.items()}
    velocity = {name: np.zeros_like(theta) for name, theta in params.items()}
    lrs, momentum, decay = (case.options[name] for name in ("lrs", "momentum", "weight_decay"))
    optimiser = sgd(1.0, momentum, decay)
    for lr in lrs:
        grads = arrays(case, rng)
        optimiser.lr = lr
        optimiser.step(params, grads)
        expected, velocity = definitions.sgd(
            expected, grads, velocity, lr=lr, momentum=momentum, weight_decay=decay
        )
    return _worst([_close(params[name], expected[name], f"{name}") for name in params])


@dataclass(frozen=True)
class Training:
    """What makes an update: the loop, the optimiser, the bound of the gradients, the losses."""

    train: Callable[..., Any] = distill.train
    sgd: type[optim.SGD] = optim.SGD
    objective: Callable[..., Any] = objectives.Objective


def _batches(case: Case, rng: np.random.Generator) -> list[Batch]:
    count, *image = case.shapes["x"]
    outputs = case.options["outputs"]
    _, *of_map = (
        cnn(layers, case, rng).features(np.zeros(case.shapes["x"]), ["pool"])[0]["pool"].shape
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


def _objective(training: Training, case: Case, rng: np.random.Generator) -> Objective:
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


def _training_gradient(training: Training, case: Case, rng: np.random.Generator) -> Finding:
    """From images and parameters through network and loss to one number."""
    network, batch = cnn(layers, case, rng), _batches(case, rng)[0]
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


def _training_steps(training: Training, case: Case, rng: np.random.Generator) -> Finding:
    """Updates by the loop are those by derivatives of the loss's definition and SGD's.

    No backward pass, no loss, no optimiser of npkd takes part in what is expected.
    """
    network, batches, options = cnn(layers, case, rng), _batches(case, rng), case.options
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
        findings.append(_close(update.loss, value, f"the loss of step {step}"))
        found = network.params | loss.params
        findings += [
            _close(found[name], params[name], f"{name} after step {step}") for name in params
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


# Everything

GRADIENTS = ("direction", "entries", "difference", "adjoint", "ties")
_KINKED = ("relu", "max_pool2d")
_CURVED = ("softmax", "log_softmax")


def _checks_of_op(name: str) -> dict[str, Check]:
    checks: dict[str, Check] = {
        "value": _value,
        "direction": _of_op,
        "entries": partial(_of_op, entrywise=True),
    }
    if name not in _KINKED + _CURVED:
        checks |= {"difference": partial(_of_op, method="affine"), "adjoint": _adjoint}
    if name in _KINKED:
        checks["ties"] = _ties
    return checks | {"contract": _op_contract}


_CHECKS_OF_A_LOSS: dict[str, Check] = {
    "value": _value,
    "direction": _of_loss,
    "entries": partial(_of_loss, entrywise=True),
    "contract": _loss_contract,
}
_CHECKS_OF_CNN: dict[str, Check] = {
    "value": _cnn_value,
    "direction": _of_cnn,
    "entries": partial(_of_cnn, entrywise=True),
    "contract": _cnn_contract,
}
_CHECKS_OF_A_DOCUMENT_NET: dict[str, Check] = {
    "value": _document_net_value,
    "direction": _of_document_net,
    "entries": partial(_of_document_net, entrywise=True, sample=1),
}

PROOFS: dict[str, Proof] = {
    **{name: Proof(getattr(ops, name), _checks_of_op(name)) for name in OPS},
    **{name: Proof(getattr(losses, name), _CHECKS_OF_A_LOSS) for name in LOSSES},
    "cnn": Proof(layers, _CHECKS_OF_CNN, dear=2),
    "SmallCNN": Proof(models.SmallCNN, _CHECKS_OF_A_DOCUMENT_NET, dear=2),
    "LargeCNN": Proof(models.LargeCNN, _CHECKS_OF_A_DOCUMENT_NET, dear=20),
    "SGD": Proof(optim.SGD, {"steps": _sgd_steps}),
    "training": Proof(
        Training(), {"direction": _training_gradient, "steps": _training_steps}, dear=2
    ),
}
