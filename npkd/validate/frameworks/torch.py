"""npkd's cases in PyTorch: what it gives for their programs.

arrays = results(case)
compare(case, arrays).check()
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from npkd.losses.facts import FACTS
from npkd.validate.frameworks.torch_losses import LOSSES, with_defaults
from npkd.validate.program import Case, Operation
from npkd.validate.recording.torch.tensors import array

Options = Mapping[str, Any]


def results(
    case: Case, *, device: str = "cpu", dtype: str = "float32", tf32: bool | None = None
) -> dict[str, np.ndarray]:
    """What PyTorch gives for a case of npkd's: all of its tensors, by name.

    Operations are torch.nn.functional's, gradients autograd's, updates torch.optim.SGD's. dtype:
    of all tensors of numbers. tf32: whether products may be taken in TF32, on devices that have it;
    None: as PyTorch is set.

    Raises ValueError for an operation that is not known.
    """
    backends: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends if tf32 is not None else ():
            backend.allow_tf32 = tf32
        return _Run(case, torch.device(device), getattr(torch, dtype)).found
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


class _Run:
    """A case as it is run, operation by operation.

    tensors  by name, as they are now
    uses     of each forward operation, by op and inputs: an alias of each input, whose gradient is
             that of this use, and the result
    """

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype):
        self.found: dict[str, np.ndarray] = {}
        self.tensors: dict[str, Tensor] = {}
        self._uses: dict[Any, tuple[dict[str, Tensor], Tensor]] = {}
        self._optimizers: dict[int, torch.optim.SGD] = {}
        self._trained = {
            operation.inputs[_differentiated(operation, result)]
            for operation in case.operations
            for result in operation.outputs
            if operation.op.endswith("_backward")
        }
        for name, values in case.inputs.items():
            tensor = torch.tensor(values, device=device)
            if tensor.is_floating_point():
                tensor = tensor.to(dtype).requires_grad_(name in self._trained)
            self.tensors[name] = tensor
        self.device, self.dtype = device, dtype
        operations = list(case.operations)
        while operations:
            del operations[: self._next(operations)]

    def _next(self, operations: Sequence[Operation]) -> int:
        """Run the first operation, or as many as are done at once; how many these were."""
        operation = operations[0]
        if operation.op == "sgd":
            updates = _while(
                operations, lambda one: one.op == "sgd" and one.inputs["theta"] in self.tensors
            )
            self._update(updates)
            return len(updates)
        if operation.op.endswith("_backward"):
            passes = _while(operations, lambda one: one.op.endswith(("_backward", "sum")))
            self._differentiate([one for one in passes if one.op != "sum"])
            for one in passes:
                if one.op == "sum":
                    self._forward(one)
            return len(passes)
        if operation.op in LOSSES:
            self._loss(operation)
        else:
            self._forward(operation)
        return 1

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        self.found[name] = array(tensor)

    # Forward

    def _forward(self, operation: Operation) -> None:
        (name,) = operation.outputs.values()
        self._keep(name, self._computed(operation.op, operation.inputs, operation.options))

    def _computed(self, op: str, names: Mapping[str, str], options: Options) -> Tensor:
        inputs = {key: self.tensors[name] for key, name in names.items()}
        for key, name in names.items():
            if name in self._trained and not inputs[key].requires_grad:
                inputs[key] = inputs[key].detach().requires_grad_()
            if inputs[key].requires_grad:
                inputs[key] = inputs[key][...]
                inputs[key].retain_grad()
        if op == "normalise":
            inputs["images"] = inputs["images"].to(self.dtype)
        if op == "distinct":
            return _draws(self.device, **options)
        if op not in FORWARD:
            raise ValueError(f"in_torch: operation {op!r} is not known")
        y = FORWARD[op](options, **inputs)
        self._uses[_key(op, names)] = inputs, y
        return y

    def _loss(self, operation: Operation) -> None:
        """The value; and the gradients, by autograd."""
        inputs = {key: self.tensors[name].detach() for key, name in operation.inputs.items()}
        trained = [key for key in inputs if not key.startswith(("teacher", "labels"))]
        for key in trained:
            inputs[key].requires_grad_()
        options = with_defaults(operation.op, operation.options)
        with torch.enable_grad():
            value = LOSSES[operation.op](**inputs, **options)
            gradients = torch.autograd.grad(value.sum(), [inputs[key] for key in trained])
        self._keep(operation.outputs["value"], value.detach())
        for k, (key, gradient) in enumerate(zip(trained, gradients, strict=True)):
            result = f"gradient_{key}" if k else "gradient"
            if result in operation.outputs:
                self._keep(operation.outputs[result], gradient)

    # Backward

    def _differentiate(self, passes: Sequence[Operation]) -> None:
        """One backward pass from all the gradients that are known already."""
        tensors, gradients = [], []
        for one in passes:
            op, names = _of_backward(one)
            if _key(op, names) not in self._uses:
                self._computed(op, names, one.options)
            if one.inputs["dy"] in self.tensors:
                tensors.append(self._uses[_key(op, names)][1])
                gradients.append(self.tensors[one.inputs["dy"]].detach())
        torch.autograd.backward(tensors, gradients)
        for one in passes:
            inputs, _ = self._uses.pop(_key(*_of_backward(one)))
            for result, name in one.outputs.items():
                tensor = inputs[_differentiated(one, result)]
                gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
                self._keep(name, gradient.detach().clone())

    # Updates

    def _update(self, updates: Sequence[Operation]) -> None:
        """One step of torch.optim.SGD, which goes on from the step before."""
        parameters = [self.tensors[one.inputs["theta"]] for one in updates]
        optimizer = self._optimizers.get(id(parameters[0]))
        if optimizer is None:
            groups = [{"params": [parameter]} for parameter in parameters]
            optimizer = torch.optim.SGD(groups, lr=1.0)
        for one, parameter, group in zip(updates, parameters, optimizer.param_groups, strict=True):
            self.tensors[one.inputs["theta"]] = parameter.detach().clone()
            self._optimizers[id(parameter)] = optimizer
            group.update({key: one.options[key] for key in ("lr", "momentum", "weight_decay")})
            parameter.grad = self.tensors[one.inputs["g"]].detach().clone()
            if "velocity" in one.inputs and not optimizer.state[parameter]:
                velocity = self.tensors[one.inputs["velocity"]]
                optimizer.state[parameter]["momentum_buffer"] = velocity.detach().clone()
        optimizer.step()
        optimizer.zero_grad()
        for one, parameter in zip(updates, parameters, strict=True):
            self._keep(one.outputs["theta"], parameter)
            if "velocity" in one.outputs:
                velocity = optimizer.state[parameter]["momentum_buffer"]
                self._keep(one.outputs["velocity"], velocity.clone())


def _while(operations: Sequence[Operation], holds: Callable[[Operation], bool]) -> list[Operation]:
    """The first ones, as long as something holds for them."""
    return list(itertools.takewhile(holds, operations))


def _key(op: str, names: Mapping[str, str]) -> Any:
    return op, tuple(sorted(names.items()))


def _of_backward(operation: Operation) -> tuple[str, dict[str, str]]:
    """The op whose backward pass this is, and its inputs."""
    names = {key: name for key, name in operation.inputs.items() if key != "dy"}
    return operation.op.removesuffix("_backward"), names


def _differentiated(operation: Operation, result: str) -> str:
    """By which input this result of a backward pass is the gradient."""
    name = result.removeprefix("d")
    return name if name in operation.inputs else next(iter(operation.inputs))


def _draws(device: torch.device, workers: int) -> Tensor:
    """Random numbers, as a DataLoader seeds its workers: with a base and the worker's number."""
    base = int(torch.empty((), dtype=torch.int64).random_().item())
    seeded = [torch.Generator().manual_seed(base + worker) for worker in range(workers)]
    return torch.stack([torch.rand(16, generator=one) for one in seeded]).to(device)


# Operations by name


def _upsampled(options: Options, x: Tensor) -> Tensor:
    mode = options.get("mode", "nearest")
    return functional.interpolate(x, scale_factor=options["factor"], mode=mode)


def _batch_norm(
    options: Options,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    w: Tensor | None = None,
    b: Tensor | None = None,
) -> Tensor:
    return functional.batch_norm(x, mean, variance, w, b, eps=options.get("epsilon", 1e-5))


def _augmented(options: Options, images: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    """Each image out of itself with zeros around, moved by (down, right), and flipped."""
    most = int(shifts.abs().max()) if shifts.numel() else 0
    height, width = images.shape[2:]
    padded = functional.pad(images, (most, most, most, most))
    moved = []
    for image, (down, right), flip in zip(padded, shifts.tolist(), flips.tolist(), strict=True):
        image = image[:, most - down :, most - right :][:, :height, :width]
        moved.append(image.flip(-1) if flip else image)
    return torch.stack(moved)


def _normalised(options: Options, images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (images / 255 - mean[:, None, None]) / std[:, None, None]


def _moved(options: Options, **inputs: Tensor) -> Tensor:
    last = torch.full_like(next(iter(inputs.values())).reshape(-1)[:1], options.get("fill", 0.0))
    flat = torch.cat([*(x.reshape(-1) for x in inputs.values()), last])
    return flat[torch.as_tensor(options["index"], device=flat.device)]


def _standardized(options: Options, logits: Tensor) -> Tensor:
    options = {**FACTS["standardize"].options, **options}
    deviation = logits.std(dim=1, correction=options["ddof"], keepdim=True)
    return (logits - logits.mean(dim=1, keepdim=True)) / (options["epsilon"] + deviation)


FORWARD: dict[str, Callable[..., Tensor]] = {
    "conv2d": lambda options, x, w, b=None: functional.conv2d(x, w, b, **options),
    "linear": lambda options, x, w, b=None: functional.linear(x, w, b),
    "batch_norm": _batch_norm,
    "avg_pool2d": lambda options, x: functional.avg_pool2d(x, **options),
    "max_pool2d": lambda options, x: functional.max_pool2d(x, **options),
    "relu": lambda options, x: functional.relu(x),
    "flatten": lambda options, x: torch.flatten(x, 1),
    "softmax": lambda options, x: functional.softmax(x, options.get("axis", -1)),
    "log_softmax": lambda options, x: functional.log_softmax(x, options.get("axis", -1)),
    "upsample": _upsampled,
    "pixel_shuffle": lambda options, x: functional.pixel_shuffle(x, options["factor"]),
    "sum": lambda options, **terms: sum(terms.values()) / options.get("divisor", 1),
    "copy": lambda options, x: x.clone(),
    "rows": lambda options, x, index: x[index],
    "dropout": lambda options, x: functional.dropout(x, options.get("p", 0.5), training=False),
    "normalise": _normalised,
    "augment": _augmented,
    "standardize": _standardized,
    "add": lambda options, a, b: a + b,
    "subtract": lambda options, a, b: a - b,
    "multiply": lambda options, a, b: a * b,
    "divide": lambda options, a, b: a / b,
    "maximum": lambda options, a, b: torch.maximum(a, b),
    "exp": lambda options, x: torch.exp(x),
    "log": lambda options, x: torch.log(x),
    "negative": lambda options, x: -x,
    "sqrt": lambda options, x: torch.sqrt(x),
    "sum_over": lambda options, x, **others: x.sum(
        options.get("axes"), keepdim=options.get("keepdims", False)
    ),
    "move": _moved,
}
