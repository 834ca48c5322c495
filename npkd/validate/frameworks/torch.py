"""PyTorch, asked: its functions and losses, autograd, torch.optim."""

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from npkd.files import BadInput
from npkd.validate.bounds.formulas.words import Words
from npkd.validate.bounds.measured import ulp_of
from npkd.validate.frameworks.adapter import Values, made_of, set_to
from npkd.validate.frameworks.answering import Forward, PassAdapter, answers
from npkd.validate.program import Case
from npkd.validate.recording.torch.tensors import array
from npkd.validate.recording.torch.update import STATES


def results(case: Case, **settings: Any) -> dict[str, np.ndarray]:
    """What PyTorch gives for a case of npkd's: all of its tensors, by name. settings: `Torch`'s."""
    return answers(Torch(**settings), case)[0]


CUDNN_FLAGS = [f"cudnn.{one}" for one in ("allow_tf32", "benchmark", "deterministic")]


class Torch(PassAdapter):
    """The PyTorch that is installed.

    device   "cpu" or "cuda"
    dtype    of all tensors of numbers
    threads  how many PyTorch uses from now on; None: its own choice
    compile  whether each operation is compiled, with its gradient, by torch.compile

    Raises BadInput where it finds no such device.
    """

    name = "PyTorch"

    def __init__(
        self,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        compile: bool = False,
    ):
        if device == "cuda" and not torch.cuda.is_available():
            raise BadInput("--device is cuda, but this PyTorch finds no GPU that it can use")
        if threads is not None:
            torch.set_num_threads(threads)
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.words = TorchWords(self.device, self.dtype)
        self.operations = made_of(self.words) | OPERATIONS | {"distinct": self._draws}
        self.losses = LOSSES
        self.compile = compile
        self._steps: dict[
            int, tuple[torch.optim.Optimizer, Tensor, Tensor]
        ] = {}  # by updated parameter

    def ulp(self) -> float | None:
        return ulp_of("torch", self.device.type, str(self.dtype).removeprefix("torch."))

    def about(self) -> dict[str, str]:
        on_cpu = self.device.type == "cpu"
        names = ["mkldnn.enabled"] if on_cpu else ["cuda.matmul.allow_tf32", *CUDNN_FLAGS]
        capability, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
        of_cpu = f"{platform.machine()} ({capability}), {threads} thread(s)"
        products = torch.get_float32_matmul_precision()
        return {
            "framework": f"PyTorch {torch.__version__}",
            "device": of_cpu if on_cpu else torch.cuda.get_device_name(),
            "flags": f"torch.backends: {set_to(torch.backends, names)}; "
            f"float32 products: {products}" + "; by torch.compile" * self.compile,
        }

    def computed(self, op: str, inputs: Values, options: Mapping[str, Any]) -> Tensor:
        if not self.compile:
            return super().computed(op, inputs, options)
        torch.compiler.reset()  # or it looks through all that it has compiled before
        return torch.compile(super().computed, dynamic=False)(op, inputs, options)

    def given(self, array: np.ndarray) -> Tensor:
        tensor = torch.tensor(array, device=self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def found(self, x: Tensor) -> np.ndarray:
        return array(x)

    def differentiated(
        self, forward: Forward, values: Values, upstream: Callable[[Values, Values], Values]
    ) -> dict[str, Tensor]:
        """A tap is a view, whose gradient is that of this use."""
        taps: dict[str, Tensor] = {}

        def tap(name: str | None, x: Tensor) -> Tensor:
            if name is None:
                return x
            x = x if x.requires_grad else x.detach().requires_grad_()
            taps[name] = x.view_as(x)
            return taps[name]

        with torch.enable_grad():
            results, made = forward(values, tap)
            gradients = upstream(values, results)
            traced = [name for name in results if results[name].requires_grad]
            starts, ends = ([of[name] for name in traced] for of in (results, gradients))
            zeros = {"allow_unused": True, "materialize_grads": True}
            found = torch.autograd.grad(starts, [*taps.values()], ends, **zeros) if starts else ()
        of_taps = dict(zip(taps, found, strict=True))
        return {name: x.detach() for name, x in (made | of_taps).items()}

    def updated(
        self, op: str, updates: Sequence[tuple[Values, Mapping[str, Any]]]
    ) -> list[dict[str, Tensor]]:
        """One step of torch.optim's SGD, Adam or AdamW, which goes on from the step before."""
        before, self._steps = self._steps, {}
        if id(updates[0][0]["theta"]) in before:
            steps = [before[id(inputs["theta"])] for inputs, _ in updates]
            optimizer, parameters = steps[0][0], [parameter for _, parameter, _ in steps]
        else:
            parameters = [inputs["theta"].detach().clone() for inputs, _ in updates]
            is_decoupled = updates[0][1].get("decoupled")
            name = "SGD" if op == "sgd" else "AdamW" if is_decoupled else "Adam"
            optimizer = getattr(torch.optim, name)([{"params": [one]} for one in parameters], lr=1)
        groups = optimizer.param_groups
        for (inputs, options), one, group in zip(updates, parameters, groups, strict=True):
            group.update(_of_group(options))
            one.grad = inputs["g"].clone()
            held = {STATES[name]: x.clone() for name, x in inputs.items() if name in STATES}
            if held and not optimizer.state[one]:
                count = {"step": torch.tensor(options["step"] - 1.0)} if op == "adam" else {}
                optimizer.state[one].update(held | count)
        optimizer.step()
        made = []
        for one in parameters:
            found = {name: optimizer.state[one].get(state) for name, state in STATES.items()}
            found["theta"] = one
            made.append({name: x.clone() for name, x in found.items() if x is not None})
            self._steps[id(made[-1]["theta"])] = optimizer, one, made[-1]["theta"]
        return made

    def _draws(self, workers: int) -> Tensor:
        """Random numbers, as a DataLoader seeds its workers: a base and the worker's number."""
        base = int(torch.empty((), dtype=torch.int64).random_().item())
        seeded = [torch.Generator().manual_seed(base + worker) for worker in range(workers)]
        return torch.stack([torch.rand(16, generator=one) for one in seeded]).to(self.device)


def _of_group(options: Mapping[str, Any]) -> dict[str, Any]:
    """An update's options as PyTorch calls them."""
    if "beta1" not in options:
        return dict(options)
    of_adam = {"betas": (options["beta1"], options["beta2"]), "eps": options["epsilon"]}
    return of_adam | {name: options[name] for name in ("lr", "weight_decay")}


class TorchWords(Words):
    """The words of formulas in PyTorch."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self.device, self.dtype, self.floating = device, dtype, lambda x: x.to(dtype)
        self.exp, self.log, self.sqrt, self.abs = torch.exp, torch.log, torch.sqrt, torch.abs
        self.where, self.matmul = torch.where, torch.matmul
        self.reshape, self.permute, self.concatenate = torch.reshape, torch.permute, torch.cat
        self.stop_gradient = torch.detach

    def array(self, x: np.ndarray) -> Tensor:
        kind = self.dtype if x.dtype.kind == "f" else None
        return torch.as_tensor(x, device=self.device, dtype=kind)

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return x.sum(axis, keepdim=keepdims)

    def max(self, x: Tensor, axis: int, keepdims: bool = False) -> Tensor:
        return x.amax(axis, keepdims)

    def softmax(self, z: Tensor, axis: int = -1) -> Tensor:
        return functional.softmax(z, axis)

    def log_softmax(self, z: Tensor, axis: int = -1) -> Tensor:
        return functional.log_softmax(z, axis)

    def softplus(self, x: Tensor) -> Tensor:
        return functional.softplus(x)

    def length(self, x: Tensor) -> Tensor:
        return x.norm(dim=-1, keepdim=True)

    def unit(self, x: Tensor, epsilon: float = 0.0) -> Tensor:
        return x / (self.length(x) + epsilon) if epsilon else functional.normalize(x, dim=-1)


def _batch_norm(x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
    return functional.batch_norm(x, mean, variance, w, b, training=mean is None, eps=epsilon)


def _running(x, mean, variance, momentum):
    """Running statistics after a batch, which PyTorch writes into those before it."""
    kept = mean.clone(), variance.clone()
    functional.batch_norm(x, *kept, training=True, momentum=momentum)
    return kept


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": lambda x, w, b=None, **options: functional.conv2d(x, w, b, **options),
    "linear": lambda x, w, b=None: functional.linear(x, w, b),
    "avg_pool2d": functional.avg_pool2d,
    "max_pool2d": functional.max_pool2d,
    "relu": functional.relu,
    "flatten": lambda x: torch.flatten(x, 1),
    "upsample": lambda x, factor, mode="nearest": functional.interpolate(x, None, factor, mode),
    "pixel_shuffle": lambda x, factor: functional.pixel_shuffle(x, factor),
    "batch_norm": _batch_norm,
    "running_mean": lambda x, mean, momentum: _running(x, mean, torch.ones_like(mean), momentum)[0],
    "running_variance": lambda x, variance, momentum: _running(
        x, torch.zeros_like(variance), variance, momentum
    )[1],
    "copy": torch.clone,
    "dropout": lambda x, mask=None, p=0.5: (
        functional.dropout(x, p, training=False) if mask is None else x * mask
    ),
    "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "gelu": lambda x, approximate="none": functional.gelu(x, approximate=approximate),
}


# Losses, where PyTorch has its own


def _reduced(apart, reduction, elements=None):
    """One number out of the losses of single samples or entries; elements: for "elementmean"."""
    if reduction == "none":
        return apart
    divisors = {"sum": 1, "batchmean": len(apart), "elementmean": elements or apart.numel()}
    return apart.sum() / divisors[reduction]


def _l2(student, teacher, half, temperature, temperature_squared, variant, reduction):
    s, t = student / temperature, teacher / temperature
    of = {"probabilities": functional.softmax, "log-probabilities": functional.log_softmax}
    if variant in of:
        s, t = of[variant](s, -1), of[variant](t, -1)
    factor = (0.5 if half else 1.0) * (temperature**2 if temperature_squared else 1.0)
    named = {"none": "none", "elementmean": "mean"}.get(reduction, "sum")
    divisor = len(s) if reduction == "batchmean" else 1
    return factor * functional.mse_loss(s, t, reduction=named) / divisor


def _l1(student, teacher, reduction):
    return _reduced(functional.l1_loss(student, teacher, reduction="none"), reduction)


def _huber(student, teacher, delta, variant, reduction):
    if variant == "smooth":
        apart = functional.smooth_l1_loss(student, teacher, reduction="none", beta=delta)
    else:
        apart = functional.huber_loss(student, teacher, reduction="none", delta=delta)
    return _reduced(apart, reduction)


def _kl(student, teacher, temperature, temperature_squared, variant, reduction, skew):
    if skew:
        return NotImplemented
    log_q, log_p = (functional.log_softmax(z / temperature, 1) for z in (student, teacher))
    factor = temperature**2 if temperature_squared else 1.0
    if variant == "paper" and reduction in ("batchmean", "sum"):
        p = functional.softmax(teacher / temperature, 1)
        return factor * functional.kl_div(log_q, p, reduction=reduction)
    guess, target = {
        "paper": (log_q, log_p),
        "reversed": (log_p, log_q),
        "unlogged": (log_q.exp(), log_p),
        "reversed unlogged": (log_p.exp(), log_q),
    }[variant]
    terms = functional.kl_div(guess, target, log_target=True, reduction="none")
    return _reduced(factor * terms.sum(1), reduction, terms.numel())


def _soft_cross_entropy(student, teacher, temperature, temperature_squared, reduction):
    p = functional.softmax(teacher / temperature, 1)
    apart = functional.cross_entropy(student / temperature, p, reduction="none")
    factor = temperature**2 if temperature_squared else 1.0
    return _reduced(factor * apart, reduction, student.numel())


def _cross_entropy(logits, labels, reduction):
    named = "mean" if reduction == "batchmean" else reduction
    return functional.cross_entropy(logits, labels, reduction=named)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "l2": _l2,
    "l1": _l1,
    "huber": _huber,
    "kl": _kl,
    "soft_cross_entropy": _soft_cross_entropy,
    "cross_entropy": _cross_entropy,
}
