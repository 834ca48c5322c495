"""Programs in PyTorch as people write them: right ones, and each known fault once.

    RIGHT_PROGRAMS["kl"](case)          # arrays by tensor, for the judge
    for program in WRONG_PROGRAMS: …    # number, faults, subject, run(case)

A program computes the cases of one subject of `npkd.validate.questions`. It is a skeleton (a loss
with autograd, a training loop) made of pieces (`Pieces`), and a wrong program has one wrong piece:
a function under `@wrong(…)` that stands in the place of the right one of that name. Nothing here
comes from npkd: what a fault does is what PyTorch makes of it.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.verdicts.programs import PRECISION, UNLISTED, Arrays, Program, WrongProgram
from npkd.validate import Case, Operation

# Right pieces


class Pieces:
    """What programs are made of, each the way it should be: functions that a wrong one replaces."""

    # Operations

    @staticmethod
    def conv2d(x, w, b=None, **options):
        return F.conv2d(x, w, b, **options)

    @staticmethod
    def linear(x, w, b=None):
        return F.linear(x, w, b)

    @staticmethod
    def avg_pool2d(x, kernel_size, **options):
        return F.avg_pool2d(x, kernel_size, **options)

    @staticmethod
    def max_pool2d(x, kernel_size, **options):
        return F.max_pool2d(x, kernel_size, **options)

    @staticmethod
    def relu(x):
        return F.relu(x)

    @staticmethod
    def flatten(x):
        return x.flatten(1)

    @staticmethod
    def softmax(x, axis=-1):
        return F.softmax(x, dim=axis)

    @staticmethod
    def log_softmax(x, axis=-1):
        return F.log_softmax(x, dim=axis)

    @staticmethod
    def upsample(x, factor, mode="nearest"):
        corners = {} if mode == "nearest" else {"align_corners": False}
        return F.interpolate(x, scale_factor=factor, mode=mode, **corners)

    @staticmethod
    def pixel_shuffle(x, factor):
        return F.pixel_shuffle(x, factor)

    @staticmethod
    def batch_norm(x, mean, variance, w=None, b=None, *, training, momentum, epsilon=1e-5):
        """In training mean and variance are changed."""
        return F.batch_norm(x, mean, variance, w, b, training, momentum, epsilon)

    @staticmethod
    def global_avg_pool2d(x):
        return x.mean(dim=(2, 3), keepdim=True)

    @staticmethod
    def relu6(x):
        return F.relu6(x)

    @staticmethod
    def sigmoid(x):
        return x.sigmoid()

    @staticmethod
    def tanh(x):
        return x.tanh()

    @staticmethod
    def silu(x):
        return x * x.sigmoid()

    @staticmethod
    def gelu(x, approximate="none"):
        return F.gelu(x, approximate=approximate)

    @staticmethod
    def dropout(x, mask):
        return x * mask

    @staticmethod
    def add(a, b):
        return a + b

    @staticmethod
    def concat(*xs, axis=1):
        return torch.cat(xs, dim=axis)

    # Losses

    @staticmethod
    def l2(student, teacher, reduction="batchmean"):
        squares = 0.5 * (student - teacher).square()
        return squares if reduction == "none" else reduced(squares, reduction)

    @staticmethod
    def l1(student, teacher):
        return F.l1_loss(student, teacher, reduction="sum") / len(student)

    @staticmethod
    def huber(student, teacher):
        return F.huber_loss(student, teacher, reduction="sum") / len(student)

    @staticmethod
    def cross_entropy(logits, labels, reduction="batchmean"):
        return F.cross_entropy(logits, labels, reduction=reduction.replace("batch", ""))

    @staticmethod
    def kl(student, teacher, temperature=1.0):
        log_q = F.log_softmax(student / temperature, dim=1)
        p = F.softmax(teacher / temperature, dim=1)
        return F.kl_div(log_q, p, reduction="batchmean") * temperature**2

    @staticmethod
    def soft_cross_entropy(student, teacher, temperature=1.0):
        p = F.softmax(teacher / temperature, dim=1)
        return F.cross_entropy(student / temperature, p) * temperature**2

    @staticmethod
    def mix(hard, soft, alpha):
        return (1 - alpha) * hard + alpha * soft

    @staticmethod
    def limit(student, teacher):
        difference = student - teacher
        difference = difference - difference.mean(dim=1, keepdim=True)
        return difference.square().sum() / (2 * student.shape[1] * len(student))

    @staticmethod
    def dkd(student, teacher, labels, temperature, alpha=1.0, beta=8.0):
        is_label = F.one_hot(labels, student.shape[1]).bool()
        log_q, log_p = (F.log_softmax(z / temperature, dim=1) for z in (student, teacher))
        log_q, log_p = (
            torch.stack([x[is_label], x.masked_fill(is_label, -torch.inf).logsumexp(1)], dim=1)
            for x in (log_q, log_p)
        )
        of_label = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
        rest_q, rest_p = (
            (z / temperature).masked_select(~is_label).view(len(z), -1) for z in (student, teacher)
        )
        log_q = F.log_softmax(rest_q, dim=1)
        of_rest = F.kl_div(log_q, F.softmax(rest_p, dim=1), reduction="sum")
        return (alpha * of_label + beta * of_rest) * temperature**2 / len(student)

    @staticmethod
    def dist(student, teacher):
        q, p = F.softmax(student, dim=1), F.softmax(teacher, dim=1)

        def correlation(a, b):
            a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
            return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean()

        return (1 - correlation(q, p)) + (1 - correlation(q.T, p.T))

    @staticmethod
    def of_batch(mean, count, batch_size):
        """The mean over a batch, the loader's last one a shorter one."""
        return mean

    @staticmethod
    def mean_of_batches(sums, counts):
        return sum(sums) / sum(counts)

    @staticmethod
    def gradients(value, by):
        return torch.autograd.grad(value.sum(), by)

    # Training

    @staticmethod
    def optimiser(student, teacher, lr, momentum, weight_decay, nesterov=False):
        constants = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        return torch.optim.SGD(student.parameters(), lr, **constants)

    @staticmethod
    def adam(student, lr, beta1, beta2, epsilon, weight_decay, decoupled=False):
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        return kind(student.parameters(), lr, (beta1, beta2), epsilon, weight_decay)

    @staticmethod
    def step(optimiser, schedule):
        optimiser.step()
        schedule.step()

    @staticmethod
    def zero_grad(optimiser):
        optimiser.zero_grad()

    @staticmethod
    def teacher_outputs(teacher, images):
        with torch.no_grad():
            return teacher(images)

    @staticmethod
    def backward(loss, outputs, teacher_outputs):
        loss.backward()

    @staticmethod
    def average(parts):
        """Backward passes of a batch in parts, whose gradients PyTorch adds up."""
        for part in parts:
            (part / len(parts)).backward()

    @staticmethod
    def mode(teacher):
        teacher.eval()

    # Data

    @staticmethod
    def normalise(images, mean, std):
        return (images / 255 - mean) / std

    @staticmethod
    def low(images):
        return F.avg_pool2d(images, 2)

    @staticmethod
    def up(images):
        return F.interpolate(images, scale_factor=2, mode="nearest")

    @staticmethod
    def smooth(images):
        return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    def augment(images, shifts, flips):
        moved = torch.zeros_like(images)
        height, width = images.shape[2:]
        for n, (down, right) in enumerate(shifts.tolist()):
            there = moved[n, :, max(down, 0) : height + down, max(right, 0) : width + right]
            here = images[n, :, max(-down, 0) : height - down, max(-right, 0) : width - right]
            there.copy_(here)
        return torch.where(flips[:, None, None, None], moved.flip(3), moved)

    @staticmethod
    def cached(cache, index, place, earlier):
        """The teacher's outputs for a batch: the images' numbers, and the batch's place."""
        return cache[index]

    @staticmethod
    def shown_to_teacher(stored, augmented):
        return augmented

    @staticmethod
    def seed(worker):
        return 1000 + worker


def reduced(terms: Tensor, reduction: str) -> Tensor:
    """All terms added up, and divided."""
    divisors = {"sum": 1, "batchmean": len(terms), "elementmean": terms.numel()}
    return terms.sum() / divisors[reduction]


# Skeletons: each computes the cases of a kind of subject from its pieces


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))


def leaf(array: np.ndarray) -> Tensor:
    """A tensor that there are gradients by."""
    return tensor(array).requires_grad_()


def arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Copies, in float32 where PyTorch has a format that NumPy has not."""
    return {
        name: (x.float() if x.dtype == torch.bfloat16 else x).detach().clone().numpy()
        for name, x in tensors.items()
    }


def of_op(case: Case, pieces: type[Pieces]) -> Arrays:
    """An operation, and its gradients."""
    forward, _ = case.operations
    inputs = {name: leaf(case.inputs[name]) for name in forward.inputs}
    y = getattr(pieces, forward.op)(*inputs.values(), **forward.options)
    inputs.pop("mask", None)  # is given, and trained by nobody
    gradients = torch.autograd.grad(y, list(inputs.values()), tensor(case.inputs["dy"]).to(y.dtype))
    named = {f"d{name}": dx for name, dx in zip(inputs, gradients, strict=True)}
    return arrays({"y": y} | named)


def of_batch_norm(case: Case, pieces: type[Pieces]) -> Arrays:
    """Batch norm, its gradients, and in training the running statistics after it."""
    forward, running = case.operations[0], ("mean", "variance")
    given = {name: x for name, x in case.inputs.items() if name != "dy"}
    of = {name: (tensor if name in running else leaf)(x) for name, x in given.items()}
    training, last = "mean" not in forward.inputs, case.operations[-1].options
    momentum = last.get("momentum", 0.1)
    y = pieces.batch_norm(**of, training=training, momentum=momentum, **forward.options)
    trained = [name for name in of if name not in running]
    gradients = torch.autograd.grad(y, [of[name] for name in trained], tensor(case.inputs["dy"]))
    found = {"y": y} | {f"d{name}": dx for name, dx in zip(trained, gradients, strict=True)}
    return arrays(found | {f"running {name}": of[name] for name in running if training})


def loss_of(pieces: type[Pieces], operation: Operation, given: Mapping[str, Tensor]) -> Tensor:
    """The value of a loss, or of a mixture."""
    options = operation.options
    if operation.op != "mix":
        return getattr(pieces, operation.op)(**given, **options)
    hard = pieces.cross_entropy(given["student"], given["labels"])
    soft = getattr(pieces, options["soft"])
    soft = soft(given["student"], given["teacher"], **options.get("soft_options", {}))
    return pieces.mix(hard, soft, options["alpha"])


def of_loss(case: Case, pieces: type[Pieces]) -> Arrays:
    """A loss, and its gradient by the student; once, or for several batches."""
    found = {}
    trained = "logits" if "logits" in case.operations[0].inputs else "student"
    batch_size = max(len(case.inputs[one.inputs[trained]]) for one in case.operations)
    for operation in case.operations:
        given = {
            name: (leaf if name == trained else tensor)(case.inputs[at])
            for name, at in operation.inputs.items()
        }
        value = loss_of(pieces, operation, given)
        value = pieces.of_batch(value, len(given[trained]), batch_size)
        (gradient,) = pieces.gradients(value, [given[trained]])
        found |= {operation.outputs["value"]: value, operation.outputs["gradient"]: gradient}
    return arrays(found)


def of_ragged_batch(case: Case, pieces: type[Pieces]) -> Arrays:
    """The mean loss over a data set, from the sums over its batches."""
    sums, counts = [], []
    for operation in case.operations[:-1]:
        logits, labels = (tensor(case.inputs[operation.inputs[k]]) for k in ("logits", "labels"))
        sums.append(pieces.cross_entropy(logits, labels, reduction="sum"))
        counts.append(len(labels))
    return arrays({"mean": pieces.mean_of_batches(sums, counts)})


def rates_of(updates: Sequence[Mapping[str, Any]]) -> Callable[[int], float]:
    """What `LambdaLR` multiplies the first rate by; the last one stays."""
    return lambda step: updates[min(step, len(updates) - 1)]["lr"] / updates[0]["lr"]


def of_updates(case: Case, pieces: type[Pieces]) -> Arrays:
    """Updates by given gradients, the rate by a schedule."""
    student = nn.Module()
    for name in ("weight", "bias"):
        student.register_parameter(name, nn.Parameter(tensor(case.inputs[name])))
    updates = [o.options for o in case.operations if o.outputs["theta"].endswith("/weight")]
    constants = {name: value for name, value in updates[0].items() if name != "step"}
    if case.operations[0].op == "adam":
        optimiser = pieces.adam(student, **constants)
    else:
        optimiser = pieces.optimiser(student, None, **constants)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates_of(updates))
    found = {}
    for step in range(1, len(updates) + 1):
        for name, theta in student.named_parameters():
            theta.grad = tensor(case.inputs[f"step{step}/{name}.grad"])
        pieces.step(optimiser, schedule)
        found |= arrays({f"step{step}/{name}": x for name, x in student.named_parameters()})
    return found


def of_accumulation(case: Case, pieces: type[Pieces]) -> Arrays:
    """A batch in two parts, whose gradients PyTorch adds up."""
    w, b = leaf(case.inputs["w"]), leaf(case.inputs["b"])
    parts, found = [], {}
    for part in ("part1/", "part2/"):
        y = F.linear(tensor(case.inputs[f"{part}x"]), w, b)
        loss = (y * tensor(case.inputs[f"{part}dy"])).sum()
        gradients = torch.autograd.grad(loss, [w, b], retain_graph=True)
        found |= dict(zip((f"{part}dw", f"{part}db"), gradients, strict=True))
        parts.append(loss)
    pieces.average(parts)
    return arrays(found | {"dw": w.grad, "db": b.grad})


def of_preparation(case: Case, pieces: type[Pieces]) -> Arrays:
    """From stored images to x_low, and to x_low brought back to size."""
    given = {name: tensor(array) for name, array in case.inputs.items()}
    if "images" in given:
        mean, std = (given[name].view(-1, 1, 1) for name in ("mean", "std"))
        x_high = pieces.normalise(given["images"], mean, std)
    else:
        x_high = given["x_high"]
    x_low = pieces.low(x_high)
    found = {"x_low": x_low, "x_up": pieces.up(x_low), "x_smooth": pieces.smooth(x_low)}
    return arrays(found | ({"x_high": x_high} if "images" in given else {}))


def of_augmentation(case: Case, pieces: type[Pieces]) -> Arrays:
    """Images moved and flipped."""
    return arrays({"y": pieces.augment(**{k: tensor(x) for k, x in case.inputs.items()})})


def of_teacher_cache(case: Case, pieces: type[Pieces]) -> Arrays:
    """The teacher's kept outputs, batch by batch of two epochs."""
    found, earlier = {}, []
    for operation in case.operations:
        index = tensor(case.inputs[operation.inputs["index"]])
        batches = operation.options["batches"]
        place = len(earlier) % batches
        first = earlier[place] if len(earlier) >= batches else index
        start = sum(len(one) for one in earlier[len(earlier) - place :])
        earlier.append(index)
        found[operation.outputs["y"]] = pieces.cached(
            tensor(case.inputs["cache"]), index, start, first
        )
    return arrays(found)


def of_augmented_teacher(case: Case, pieces: type[Pieces]) -> Arrays:
    """What a linear teacher gives for the images that the student is shown."""
    given = {name: tensor(array) for name, array in case.inputs.items()}
    x = pieces.augment(given["images"], given["shifts"], given["flips"])
    shown = pieces.shown_to_teacher(given["images"], x).flatten(1)
    teacher = F.linear(shown, given["teacher.weight"], given["teacher.bias"])
    return arrays({"x": x, "teacher": teacher})


def of_workers(case: Case, pieces: type[Pieces]) -> Arrays:
    """What each worker draws, from a generator of its own."""
    workers = case.operations[0].options["workers"]
    draws = [
        torch.rand(16, generator=torch.Generator().manual_seed(pieces.seed(worker)))
        for worker in range(workers)
    ]
    return arrays({"draws": torch.stack(draws)})


class WithDropout(nn.Module):
    """A teacher with dropout."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        super().__init__()
        hidden, features = weights["fc1.weight"].shape
        self.fc1 = nn.Linear(features, hidden)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(hidden, len(weights["fc2.bias"]))
        self.load_state_dict({name: tensor(array) for name, array in weights.items()})

    def forward(self, x: Tensor) -> Arrays:
        relu = F.relu(self.fc1(x))
        dropout = self.dropout(relu)
        return {"relu": relu, "dropout": dropout, "fc2": self.fc2(dropout)}


def of_evaluation_mode(case: Case, pieces: type[Pieces]) -> Arrays:
    """A teacher's outputs; what dropout drops is other entries each time."""
    torch.manual_seed(int(np.abs(case.inputs["x"]).sum() * 1000))
    teacher = WithDropout({name: x for name, x in case.inputs.items() if name.startswith("fc")})
    pieces.mode(teacher)
    return arrays(teacher(tensor(case.inputs["x"])))


class Net(nn.Module):
    """One of the case's nets, its parameters named as they are there."""

    def __init__(self, weights: Mapping[str, np.ndarray], pieces: type[Pieces]):
        super().__init__()
        self.pieces = pieces
        for name in dict.fromkeys(key.split(".")[0] for key in weights):
            layer = nn.Module()
            for key in ("weight", "bias"):
                layer.register_parameter(key, nn.Parameter(tensor(weights[f"{name}.{key}"])))
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs of all layers: two convolutions and two linear ones, or one and one."""
        do, kept = self.pieces, {"x": x}

        def keep(name: str, y: Tensor) -> Tensor:
            kept[name] = y
            if y.requires_grad:
                y.retain_grad()
            return y

        x = keep("conv1", do.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1))
        x = keep("relu1", do.relu(x))
        if hasattr(self, "conv2"):
            x = keep("conv2", do.conv2d(x, self.conv2.weight, self.conv2.bias, padding=1))
            x = keep("relu2", do.relu(x))
            x = keep("pool", do.avg_pool2d(x, 2))
            x = keep("flatten", do.flatten(x))
            x = keep("fc1", do.linear(x, self.fc1.weight, self.fc1.bias))
            x = keep("relu3", do.relu(x))
        else:
            x = keep("pool", do.max_pool2d(x, 2))
            x = keep("flatten", do.flatten(x))
        keep("fc2", do.linear(x, self.fc2.weight, self.fc2.bias))
        return kept


def gradient_of(theta: Tensor) -> Tensor:
    """The gradient that backward() has left, 0 if there is none."""
    return torch.zeros_like(theta) if theta.grad is None else theta.grad


def kept_by(net: Net, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of all layers, and the gradients by them and by the parameters."""
    by = {**{k: y for k, y in outputs.items() if k != "x"}, **dict(net.named_parameters())}
    layers = {name: y for name, y in outputs.items() if name != "x"}
    return layers | {f"{name}.grad": gradient_of(x) for name, x in by.items()}


def of_net(case: Case, pieces: type[Pieces]) -> Arrays:
    """A net's logits, and the gradients by its parameters."""
    is_weight = {name: name.endswith((".weight", ".bias")) for name in case.inputs}
    net = Net({name: x for name, x in case.inputs.items() if is_weight[name]}, pieces)
    outputs = net(tensor(case.inputs["x"]))
    outputs["fc2"].backward(tensor(case.inputs["fc2.grad"]))
    found = kept_by(net, outputs)
    del found["fc2.grad"]
    return arrays(found)


def of_distillation(case: Case, pieces: type[Pieces]) -> Arrays:
    """The training loop of a student, with the teacher's outputs for each batch."""
    weights = {name: x for name, x in case.inputs.items() if not name.startswith("step")}
    of_teacher = {k.removeprefix("teacher/"): x for k, x in weights.items() if "/" in k}
    teacher = Net(of_teacher, pieces)
    student = Net({k: x for k, x in weights.items() if "/" not in k}, pieces)
    losses = [one for one in case.operations if "gradient" in one.outputs]
    updates = [
        o.options for o in case.operations if o.outputs.get("theta", "").endswith("fc2.bias")
    ]
    optimiser = pieces.optimiser(student, teacher, **updates[0])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates_of(updates))
    batch_size = len(case.inputs["step1/x_high"])
    found = {}
    for step, operation in enumerate(losses, 1):
        at = f"step{step}/"
        x_low = pieces.low(tensor(case.inputs[f"{at}x_high"]))
        x_up = pieces.up(x_low)
        large = pieces.teacher_outputs(teacher, x_up)
        small = student(x_low)
        given = {"student": small["fc2"], "teacher": large["fc2"]}
        if "labels" in operation.inputs:
            given["labels"] = tensor(case.inputs[f"{at}labels"])
        loss = pieces.of_batch(loss_of(pieces, operation, given), len(x_low), batch_size)
        pieces.zero_grad(optimiser)
        pieces.backward(loss, small["fc2"], large["fc2"])
        of_large = {f"teacher/{name}": y for name, y in large.items() if name != "x"}
        kept = {"x_low": x_low, "x_up": x_up, **of_large, **kept_by(student, small), "loss": loss}
        found |= {f"{at}{name}": x for name, x in arrays(kept).items()}
        pieces.step(optimiser, schedule)
        found |= arrays({f"{at}{name}": theta for name, theta in student.named_parameters()})
    return found | arrays({f"after/teacher/{k}": x for k, x in teacher.named_parameters()})


SKELETONS: dict[str, Callable[[Case, type[Pieces]], Arrays]] = {
    **dict.fromkeys(
        (
            "conv2d",
            "conv2d oblong",
            "conv2d wide",
            "conv2d groups",
            "conv2d dilation",
            "linear",
            "linear square",
            "avg_pool2d",
            "max_pool2d",
            "relu",
            "flatten",
            "softmax",
            "log_softmax",
            "upsample nearest",
            "upsample bilinear",
            "pixel_shuffle",
            "global_avg_pool2d",
            "relu6",
            "sigmoid",
            "tanh",
            "silu",
            "gelu",
            "dropout",
            "add",
            "concat",
        ),
        of_op,
    ),
    **dict.fromkeys(("batch_norm", "batch_norm training"), of_batch_norm),
    **dict.fromkeys(
        (
            "l2",
            "l2 sum",
            "l2 elementmean",
            "l2 none",
            "l1",
            "huber",
            "cross_entropy",
            "mix",
            "mix kl",
            "kl",
            "soft_cross_entropy",
            "limit",
            "dkd",
            "dist",
        ),
        of_loss,
    ),
    "ragged batch": of_ragged_batch,
    **dict.fromkeys(("sgd", "nesterov", "adam", "adamw"), of_updates),
    "accumulation": of_accumulation,
    "preparation": of_preparation,
    "augmentation": of_augmentation,
    "teacher cache": of_teacher_cache,
    "augmented teacher": of_augmented_teacher,
    "workers": of_workers,
    "evaluation mode": of_evaluation_mode,
    "SmallCNN": of_net,
    "LargeCNN": of_net,
    "distillation": of_distillation,
}

RIGHT_PROGRAMS: dict[str, Program] = {
    subject: partial(skeleton, pieces=Pieces) for subject, skeleton in SKELETONS.items()
}


# Wrong programs


WRONG_PROGRAMS: list[WrongProgram] = []


def wrong(
    number: int, *faults: str, piece: str, subjects: Sequence[str], source: str = ""
) -> Callable[..., Any]:
    """Enters a function as the wrong piece of a program for each of these subjects."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        changed = type(function.__name__, (Pieces,), {piece: staticmethod(function)})
        for subject in subjects:
            run = partial(SKELETONS[subject], pieces=changed)
            about = function.__name__.replace("_", " ")
            program = WrongProgram(number, faults, subject, about, run, source)
            WRONG_PROGRAMS.append(program)
        return function

    return enter


# 1 to 5, 10 to 12: soft targets

MEAN = "KL averaged over all entries, reduction mean for batchmean: C times too small"
NO_T2 = "factor T² missing"
UNLOGGED = "probabilities given as log-probabilities"
ONE_NET = "one net's logits on both sides"
OVER_BATCH = "softmax over the batch"
DOUBLE = "double softmax"
EXCHANGED = "cross-entropy with prediction and target exchanged"
WITH_KL = ("kl", "mix kl", "distillation")
ALONE = ("kl", "mix kl")
WITH_L2 = ("l2", "mix", "distillation")


@wrong(1, MEAN, piece="kl", subjects=WITH_KL)
def kl_by_mean(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="mean") * temperature**2


@wrong(1, MEAN, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_by_mean(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=1)
    return -(p * F.log_softmax(student / temperature, dim=1)).mean() * temperature**2


@wrong(2, NO_T2, piece="kl", subjects=WITH_KL)
def kl_without_t2(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean")


@wrong(2, NO_T2, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_without_t2(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(student / temperature, p)


@wrong(2, NO_T2, piece="dkd", subjects=["dkd"])
def dkd_without_t2(student, teacher, labels, temperature):
    return Pieces.dkd(student, teacher, labels, temperature) / temperature**2


# Of temperatures and shares; these have no number in the list of faults.


@wrong(UNLISTED, "T where T² belongs", piece="kl", subjects=WITH_KL)
def kl_times_t(student, teacher, temperature):
    return Pieces.kl(student, teacher, temperature) / temperature


@wrong(UNLISTED, "temperature for the teacher alone", piece="kl", subjects=WITH_KL)
def kl_of_a_student_without_temperature(student, teacher, temperature):
    log_q = F.log_softmax(student, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@wrong(UNLISTED, "α and 1 − α exchanged", piece="mix", subjects=["mix", "mix kl", "distillation"])
def alpha_for_the_labels(hard, soft, alpha):
    return alpha * hard + (1 - alpha) * soft


@wrong(
    UNLISTED,
    "share 1 − α of the labels left out",
    piece="mix",
    subjects=["mix", "mix kl", "distillation"],
)
def labels_in_full(hard, soft, alpha):
    return hard + alpha * soft


@wrong(UNLISTED, "temperature for the student alone", piece="kl", subjects=ALONE)
def kl_of_a_teacher_without_temperature(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(log_q, F.softmax(teacher, dim=1), reduction="batchmean") * temperature**2


@wrong(UNLISTED, "temperature twice", piece="kl", subjects=ALONE)
def kl_of_logits_that_were_divided(student, teacher, temperature):
    student, teacher = student / temperature, teacher / temperature
    return Pieces.kl(student, teacher, temperature)


@wrong(UNLISTED, "temperature twice", piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_of_logits_that_were_divided(student, teacher, temperature):
    return Pieces.soft_cross_entropy(student / temperature, teacher / temperature, temperature)


OF_LABELS = ("mix kl", "distillation")  # in both T = 3


@wrong(UNLISTED, "T² on the labels' loss too", piece="cross_entropy", subjects=OF_LABELS)
def labels_times_t2(logits, labels):
    return F.cross_entropy(logits, labels) * 3.0**2


@wrong(UNLISTED, "T in the labels' loss too", piece="cross_entropy", subjects=["mix kl"])
def labels_by_the_logits_over_t(logits, labels):
    return F.cross_entropy(logits / 3.0, labels)


@wrong(
    UNLISTED,
    "label smoothing left on",
    piece="cross_entropy",
    subjects=["cross_entropy", "mix", "mix kl"],
)
def cross_entropy_with_smoothing(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


AS_TARGETS = "teacher's logits as targets of cross-entropy"


@wrong(UNLISTED, AS_TARGETS, piece="l2", subjects=WITH_L2)
def cross_entropy_in_the_place_of_l2(student, teacher):
    """What the document's sample does."""
    return F.cross_entropy(student, teacher)


@wrong(UNLISTED, AS_TARGETS, piece="kl", subjects=ALONE)
def cross_entropy_in_the_place_of_kl(student, teacher, temperature):
    return F.cross_entropy(student, teacher)


@wrong(UNLISTED, AS_TARGETS, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def cross_entropy_to_logits(student, teacher, temperature):
    return F.cross_entropy(student, teacher)


@wrong(UNLISTED, "log_target with probabilities", piece="kl", subjects=ALONE)
def kl_of_probabilities_as_log_targets(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean", log_target=True) * temperature**2


@wrong(UNLISTED, "log-probabilities without log_target", piece="kl", subjects=["kl"])
def kl_of_log_probabilities_as_targets(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    log_p = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean") * temperature**2


for _axis, _what in enumerate(("rows", "classes")):
    for _step, _way in ((1, ""), (-1, ", to the front")):
        _shifted = (UNLISTED, f"teacher's {_what} shifted by one{_way}")

        @wrong(*_shifted, piece="kl", subjects=ALONE)
        def kl_to_shifted(student, teacher, temperature, *, step=_step, axis=_axis):
            return Pieces.kl(student, teacher.roll(step, axis), temperature)

        @wrong(*_shifted, piece="l2", subjects=["l2"])
        def l2_to_shifted(student, teacher, *, step=_step, axis=_axis):
            return Pieces.l2(student, teacher.roll(step, axis))


@wrong(3, UNLOGGED, piece="kl", subjects=WITH_KL)
def kl_of_probabilities(student, teacher, temperature):
    q = F.softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(q, p, reduction="batchmean") * temperature**2


@wrong(4, "KL reversed", piece="kl", subjects=WITH_KL)
def kl_of_student_to_teacher(student, teacher, temperature):
    log_p = F.log_softmax(teacher / temperature, dim=1)
    q = F.softmax(student / temperature, dim=1)
    return F.kl_div(log_p, q, reduction="batchmean") * temperature**2


@wrong(
    4,
    "KL reversed, and probabilities given as log-probabilities",
    piece="kl",
    subjects=WITH_KL,
)
def kl_with_arguments_exchanged(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=1)
    q = F.softmax(student / temperature, dim=1)
    return F.kl_div(p, q, reduction="batchmean") * temperature**2


@wrong(5, ONE_NET, piece="kl", subjects=WITH_KL)
def kl_of_teacher_to_teacher(student, teacher, temperature):
    log_q = F.log_softmax(teacher / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2 + 0 * student.sum()


@wrong(5, ONE_NET, piece="kl", subjects=WITH_KL)
def kl_of_student_to_student(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(student / temperature, dim=1).detach()
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@wrong(5, ONE_NET, piece="l2", subjects=WITH_L2)
def l2_of_teacher_and_teacher(student, teacher):
    return 0.5 * (teacher - teacher).square().sum() / len(student) + 0 * student.sum()


@wrong(5, ONE_NET, piece="l2", subjects=WITH_L2)
def l2_of_student_and_student(student, teacher):
    return 0.5 * (student - student.detach()).square().sum() / len(student)


@wrong(5, ONE_NET, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_of_teacher_and_teacher(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(teacher / temperature, p) * temperature**2 + 0 * student.sum()


@wrong(10, OVER_BATCH, piece="kl", subjects=WITH_KL)
def kl_over_batch(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=0)
    p = F.softmax(teacher / temperature, dim=0)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@wrong(10, OVER_BATCH, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_over_batch(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=0)
    log_q = F.log_softmax(student / temperature, dim=0)
    return -(p * log_q).sum() / len(student) * temperature**2


@wrong(10, OVER_BATCH, piece="cross_entropy", subjects=["cross_entropy"])
def cross_entropy_over_batch(logits, labels):
    return F.nll_loss(F.log_softmax(logits, dim=0), labels)


@wrong(11, DOUBLE, piece="kl", subjects=WITH_KL)
def kl_of_a_net_that_ends_in_softmax(student, teacher, temperature):
    student = F.softmax(student, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@wrong(11, DOUBLE, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_of_a_net_that_ends_in_softmax(student, teacher, temperature):
    p = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(F.softmax(student, dim=1) / temperature, p) * temperature**2


@wrong(11, DOUBLE, piece="cross_entropy", subjects=["cross_entropy"])
def cross_entropy_of_a_net_that_ends_in_softmax(logits, labels):
    return F.cross_entropy(F.softmax(logits, dim=1), labels)


@wrong(12, EXCHANGED, piece="cross_entropy", subjects=["cross_entropy"])
def cross_entropy_of_labels_to_logits(logits, labels):
    return F.cross_entropy(F.one_hot(labels, logits.shape[1]).float(), logits)


@wrong(12, EXCHANGED, piece="soft_cross_entropy", subjects=["soft_cross_entropy"])
def soft_cross_entropy_of_teacher_to_student(student, teacher, temperature):
    q = F.softmax(student / temperature, dim=1)
    return F.cross_entropy(teacher / temperature, q) * temperature**2


# 31 to 33: reductions, signs, gradients that are cut

HALF = "½ missing in L2"
ELEMENTS = "elementwise mean for the mean over the batch: C times too small"
AS_IT_COMES = "mse_loss as it comes: ½ missing, and an elementwise mean"
SUM = "sum for the mean over the batch"
SIGN = "sign of the gradient"
DETACHED = "student detached: no gradient"
WHOLE_SIZE = "ragged last batch divided by the size of a whole one"
COUNTED_WHOLE = "ragged last batch counted as a whole one"


@wrong(31, HALF, piece="l2", subjects=WITH_L2)
def l2_without_half(student, teacher):
    return (student - teacher).square().sum() / len(student)


@wrong(31, ELEMENTS, piece="l2", subjects=WITH_L2)
def l2_by_elements(student, teacher):
    return 0.5 * F.mse_loss(student, teacher)


@wrong(31, AS_IT_COMES, piece="l2", subjects=WITH_L2)
def l2_as_mse_loss_comes(student, teacher):
    return F.mse_loss(student, teacher)


@wrong(31, ELEMENTS, piece="l1", subjects=["l1", "distillation"])
def l1_by_elements(student, teacher):
    return F.l1_loss(student, teacher)


@wrong(31, ELEMENTS, piece="huber", subjects=["huber"])
def huber_by_elements(student, teacher):
    return F.huber_loss(student, teacher)


@wrong(31, ELEMENTS, piece="limit", subjects=["limit"])
def limit_by_elements(student, teacher):
    difference = student - teacher
    difference = difference - difference.mean(dim=1, keepdim=True)
    return difference.square().mean() / (2 * student.shape[1])


@wrong(31, SUM, piece="l2", subjects=WITH_L2)
def l2_by_sum(student, teacher):
    return 0.5 * F.mse_loss(student, teacher, reduction="sum")


@wrong(31, SUM, piece="kl", subjects=WITH_KL)
def kl_by_sum(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="sum") * temperature**2


@wrong(31, SUM, piece="huber", subjects=["huber"])
def huber_by_sum(student, teacher):
    return F.huber_loss(student, teacher, reduction="sum")


@wrong(32, SIGN, piece="gradients", subjects=["l2", "kl", "cross_entropy", "huber"])
def gradient_by_the_teacher(value, by):
    """What the document prints: y_large − y_small."""
    return [-gradient for gradient in torch.autograd.grad(value.sum(), by)]


@wrong(32, SIGN, piece="backward", subjects=["distillation"])
def backward_from_minus_the_loss(loss, outputs, teacher_outputs):
    (-loss).backward()


@wrong(32, DETACHED, piece="gradients", subjects=["l2", "kl", "cross_entropy", "mix kl"])
def loss_of_detached_outputs(value, by):
    value = value.detach().requires_grad_()  # so that backward() does not complain
    value.sum().backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in by]


@wrong(32, DETACHED, piece="backward", subjects=["distillation"])
def backward_of_a_detached_loss(loss, outputs, teacher_outputs):
    loss = loss.detach() + 0 * outputs.sum()  # 0, or SGD passes over what has no gradient
    loss.backward()


@wrong(32, "student detached in the soft loss", piece="kl", subjects=["mix kl", "distillation"])
def kl_of_a_detached_student(student, teacher, temperature):
    log_q = F.log_softmax(student.detach() / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@wrong(32, "slope 1 of L1 at 0", piece="l1", subjects=["l1"])
def l1_by_where(student, teacher):
    difference = student - teacher
    return torch.where(difference >= 0, difference, -difference).sum() / len(student)


@wrong(33, WHOLE_SIZE, piece="of_batch", subjects=["l2", "kl", "cross_entropy", "distillation"])
def sum_over_the_loaders_batch_size(mean, count, batch_size):
    return mean * count / batch_size


@wrong(33, COUNTED_WHOLE, piece="mean_of_batches", subjects=["ragged batch"])
def mean_of_means(sums, counts):
    means = [total / count for total, count in zip(sums, counts, strict=True)]
    return sum(means) / len(means)


# 13 to 20: convolution, pooling, layouts, kinks

SAME = "padding SAME of the other kind at a stride: odd cell below and right"
FLIPPED = "kernel flipped: convolution for correlation"
OF_CONV = ("conv2d", "conv2d oblong", "conv2d dilation", "SmallCNN", "distillation")


@wrong(13, SAME, piece="conv2d", subjects=["conv2d"])
def conv2d_as_tensorflow_pads(x, w, b=None, *, stride=1, padding=0, dilation=1):
    if stride == 1:
        return F.conv2d(x, w, b, padding=padding, dilation=dilation)
    widths = []
    for size, k in zip(x.shape[:1:-1], w.shape[:1:-1], strict=True):  # last axis first
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        widths += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, widths), w, b, stride=stride, dilation=dilation)


@wrong(14, "count_include_pad the other way round", piece="avg_pool2d", subjects=["avg_pool2d"])
def avg_pool2d_counting_otherwise(x, kernel_size, *, count_include_pad=True, **options):
    return F.avg_pool2d(x, kernel_size, count_include_pad=not count_include_pad, **options)


@wrong(15, "pool divisor under ceil_mode: all taps", piece="avg_pool2d", subjects=["avg_pool2d"])
def avg_pool2d_dividing_by_all_taps(x, kernel_size, *, ceil_mode=False, **options):
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    if ceil_mode:
        options["divisor_override"] = height * width
    return F.avg_pool2d(x, kernel_size, ceil_mode=ceil_mode, **options)


@wrong(UNLISTED, "bias left out", piece="conv2d", subjects=["conv2d"])
def conv2d_without_its_bias(x, w, b=None, **options):
    """The value lacks it, the gradient by it is there."""
    y = F.conv2d(x, w, **options)
    return y if b is None else y + (b - b.detach())[:, None, None]


@wrong(16, FLIPPED, piece="conv2d", subjects=[*OF_CONV, "conv2d groups"])
def conv2d_of_flipped_kernels(x, w, b=None, **options):
    return F.conv2d(x, w.flip(2, 3), b, **options)


@wrong(
    17,
    "weight layout transposed: rows and columns of kernels exchanged",
    piece="conv2d",
    subjects=["conv2d", "conv2d dilation", "conv2d groups", "SmallCNN", "distillation"],
)
def conv2d_of_width_by_height(x, w, b=None, **options):
    return F.conv2d(x, w.transpose(2, 3), b, **options)


@wrong(
    17,
    "weight layout transposed: read as (kh, kw, in, out)",
    piece="conv2d",
    subjects=["conv2d", "conv2d oblong", "conv2d dilation", "SmallCNN", "distillation"],
)
def conv2d_of_weights_stored_as_tensorflows(x, w, b=None, **options):
    out, channels, height, width = w.shape
    w = w.reshape(height, width, channels, out).permute(3, 2, 0, 1)
    return F.conv2d(x, w, b, **options)


@wrong(
    17,
    "weight layout transposed: read as (in, out)",
    piece="linear",
    subjects=["linear", "SmallCNN", "distillation"],
)
def linear_of_weights_stored_as_tensorflows(x, w, b=None):
    return F.linear(x, w.reshape(w.shape[::-1]).T, b)


@wrong(
    17,
    "weight layout transposed: read as (in, out)",
    piece="linear",
    subjects=["linear square"],
)
def linear_without_transposition(x, w, b=None):
    return x @ w if b is None else x @ w + b


@wrong(
    18,
    "flattened as (N, H, W, C)",
    piece="flatten",
    subjects=["flatten", "SmallCNN", "distillation"],
)
def flatten_with_channels_last(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def windows_of(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The cells of each window (N, C, kh·kw, Ho·Wo), and the size (Ho, Wo) of the result."""
    y = F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    k, s, p, d = (
        one if isinstance(one, tuple) else (one, one)
        for one in (kernel_size, stride or kernel_size, padding, dilation)
    )
    rows, columns = (
        (y.shape[2 + i] - 1) * s[i] + d[i] * (k[i] - 1) + 1 - x.shape[2 + i] - p[i] for i in (0, 1)
    )
    padded = F.pad(x, (p[1], max(columns, 0), p[0], max(rows, 0)), value=-torch.inf)
    cells = F.unfold(padded, k, dilation=d, stride=s)
    cells = cells.view(len(x), x.shape[1], k[0] * k[1], -1)[..., : y[0, 0].numel()]
    return cells, y.shape[2:]


@wrong(19, "gradient at max ties: shared equally", piece="max_pool2d", subjects=["max_pool2d"])
def max_pool2d_by_amax(x, *args, **options):
    cells, size = windows_of(x, *args, **options)
    return cells.amax(dim=2).unflatten(2, size)


@wrong(19, "gradient at max ties: to the last cell", piece="max_pool2d", subjects=["max_pool2d"])
def max_pool2d_of_the_last(x, *args, **options):
    cells, size = windows_of(x, *args, **options)
    index = cells.shape[2] - 1 - cells.flip(2).argmax(dim=2, keepdim=True)
    return cells.gather(2, index).squeeze(2).unflatten(2, size)


class MaxOfAll(torch.autograd.Function):
    """The largest of each window; backward by a mask of the cells that are equal to it."""

    @staticmethod
    def forward(context, cells):
        y = cells.max(dim=2, keepdim=True).values
        context.save_for_backward(cells == y)
        return y.squeeze(2)

    @staticmethod
    def backward(context, dy):
        (mask,) = context.saved_tensors
        return mask * dy.unsqueeze(2)


@wrong(19, "gradient at max ties: to all cells", piece="max_pool2d", subjects=["max_pool2d"])
def max_pool2d_by_mask(x, *args, **options):
    cells, size = windows_of(x, *args, **options)
    return MaxOfAll.apply(cells).unflatten(2, size)


@wrong(20, "relu'(0) = 1", piece="relu", subjects=["relu", "SmallCNN"])
def relu_by_clamp(x):
    return x.clamp(min=0)


@wrong(20, "relu'(0) = ½", piece="relu", subjects=["relu", "SmallCNN"])
def relu_by_maximum(x):
    return torch.maximum(x, torch.zeros_like(x))


@wrong(20, "relu'(0) = ½", piece="relu", subjects=["relu"])
def relu_by_absolute_value(x):
    return (x + x.abs() * 1.0) / 2


# What the list lacks of layers


@wrong(UNLISTED, "relu6 held at 1", piece="relu6", subjects=["relu6"])
def relu6_by_hardtanh_of_its_default(x):
    return F.hardtanh(F.relu(x))


@wrong(UNLISTED, "relu6 without its upper end: relu", piece="relu6", subjects=["relu6"])
def relu6_as_relu(x):
    return F.relu(x)


@wrong(UNLISTED, "relu6' = 1 at its kinks", piece="relu6", subjects=["relu6"])
def relu6_by_clamp(x):
    return x.clamp(0, 6)


@wrong(UNLISTED, "relu6' = 1 at 6", piece="relu6", subjects=["relu6"])
def relu6_by_two_relus(x):
    return F.relu(x) - F.relu(x - 6)


@wrong(UNLISTED, "relu6' = ½ at its kinks", piece="relu6", subjects=["relu6"])
def relu6_by_minimum_and_maximum(x):
    return torch.minimum(torch.maximum(x, torch.zeros_like(x)), torch.full_like(x, 6))


@wrong(
    UNLISTED,
    "gelu in its other form: tanh for erf, or erf for tanh",
    piece="gelu",
    subjects=["gelu"],
)
def gelu_of_the_other_form(x, approximate="none"):
    return F.gelu(x, approximate="tanh" if approximate == "none" else "none")


@wrong(UNLISTED, "gelu as x σ(1.702 x)", piece="gelu", subjects=["gelu"])
def quick_gelu(x, approximate="none"):
    return x * torch.sigmoid(1.702 * x)


@wrong(UNLISTED, "dropout not scaled by 1 / (1 − p)", piece="dropout", subjects=["dropout"])
def dropout_by_masked_fill(x, mask):
    return x.masked_fill(mask == 0, 0)


@wrong(UNLISTED, "arrays joined in the opposite order", piece="concat", subjects=["concat"])
def concat_from_the_last(*xs, axis=1):
    return torch.cat(xs[::-1], dim=axis)


@wrong(
    UNLISTED,
    "a global pool of sums, not means",
    piece="global_avg_pool2d",
    subjects=["global_avg_pool2d"],
)
def global_pool_by_sum(x):
    return x.sum(dim=(2, 3), keepdim=True)


# 21 to 26: the update


class OwnOptimiser(torch.optim.SGD):
    """An optimiser of one's own, an update as a function."""

    def __init__(self, student, update, lr, momentum, weight_decay):
        super().__init__(student.parameters(), lr, momentum, weight_decay=weight_decay)
        self.update = update

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            constants = {name: group[name] for name in ("lr", "momentum", "weight_decay")}
            for theta in group["params"]:
                if theta.grad is not None:
                    v = self.state[theta].get("v", torch.zeros_like(theta))
                    theta_new, v = self.update(theta, theta.grad, v, **constants)
                    self.state[theta]["v"] = v
                    theta.copy_(theta_new)


UPDATES = ("sgd", "distillation")


def wrong_update(number: int, fault: str) -> Callable[..., Any]:
    """Enters a function (θ, g, v) → (θ, v) as an optimiser's."""

    def enter(update: Callable[..., Any]) -> Callable[..., Any]:
        def optimiser(student, teacher, **constants):
            return OwnOptimiser(student, update, **constants)

        optimiser.__name__ = update.__name__
        wrong(number, fault, piece="optimiser", subjects=UPDATES)(optimiser)
        return update

    return enter


@wrong_update(21, "momentum with the learning rate inside")
def rate_inside_the_momentum(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + lr * (g + weight_decay * theta)
    return theta - v, v


@wrong_update(21, "momentum with a factor (1 − μ)")
def momentum_as_a_running_mean(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + (1 - momentum) * (g + weight_decay * theta)
    return theta - lr * v, v


@wrong(
    21,
    "momentum with a factor (1 − μ), but at the first step",
    piece="optimiser",
    subjects=UPDATES,
)
def dampening(student, teacher, lr, momentum, weight_decay):
    constants = {"momentum": momentum, "dampening": momentum, "weight_decay": weight_decay}
    return torch.optim.SGD(student.parameters(), lr, **constants)


@wrong(21, "Nesterov's momentum", piece="optimiser", subjects=UPDATES)
def nesterov(student, teacher, lr, momentum, weight_decay):
    constants = {"momentum": momentum, "nesterov": momentum > 0, "weight_decay": weight_decay}
    return torch.optim.SGD(student.parameters(), lr, **constants)


@wrong_update(22, "weight decay with a factor 2")
def decay_as_the_gradient_of_the_square(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + 2 * weight_decay * theta
    return theta - lr * v, v


@wrong_update(22, "weight decay with a factor ½")
def decay_halved_twice(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + 0.5 * weight_decay * theta
    return theta - lr * v, v


@wrong_update(22, "weight decay past the velocity, times the rate")
def decay_decoupled(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g
    return theta - lr * (v + weight_decay * theta), v


@wrong_update(22, "weight decay past the velocity, times the rate")
def decay_as_adamw_has_it(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g
    return theta * (1 - lr * weight_decay) - lr * v, v


@wrong_update(22, "weight decay past the velocity, without the rate")
def decay_decoupled_from_the_rate_too(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g
    return (1 - weight_decay) * theta - lr * v, v


@wrong(22, "weight decay missing", piece="optimiser", subjects=UPDATES)
def decay_forgotten(student, teacher, lr, momentum, weight_decay):
    return torch.optim.SGD(student.parameters(), lr, momentum=momentum)


@wrong(23, "biases not decayed", piece="optimiser", subjects=UPDATES)
def biases_in_a_group_of_their_own(student, teacher, lr, momentum, weight_decay):
    weights = [theta for theta in student.parameters() if theta.ndim > 1]
    biases = [theta for theta in student.parameters() if theta.ndim == 1]
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr, momentum=momentum, weight_decay=weight_decay)


@wrong(24, "gradients not zeroed", piece="zero_grad", subjects=["distillation"])
def zero_grad_forgotten(optimiser):
    pass


@wrong(25, "accumulated gradients not divided", piece="average", subjects=["accumulation"])
def parts_added_up(parts):
    for part in parts:
        part.backward()


@wrong(26, "schedule a step early", piece="step", subjects=[*UPDATES, "adam"])
def schedule_before_optimiser(optimiser, schedule):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        schedule.step()
    optimiser.step()


@wrong(UNLISTED, "schedule a step late", piece="step", subjects=["sgd", "adamw"])
def schedule_from_the_second_step_on(optimiser, schedule):
    optimiser.step()
    if getattr(optimiser, "has_stepped", False):
        schedule.step()
    optimiser.has_stepped = True


@wrong(UNLISTED, "schedule left out", piece="step", subjects=["sgd"])
def schedule_forgotten(optimiser, schedule):
    optimiser.step()


@wrong(UNLISTED, "Nesterov's momentum missing", piece="optimiser", subjects=["nesterov"])
def momentum_alone(student, teacher, lr, momentum, weight_decay, nesterov):
    return torch.optim.SGD(student.parameters(), lr, momentum, weight_decay=weight_decay)


@wrong(
    UNLISTED,
    "momentum with the learning rate inside",
    piece="optimiser",
    subjects=["nesterov"],
)
def nesterov_as_keras_has_it(student, teacher, nesterov, **constants):
    def update(theta, g, v, lr, momentum, weight_decay):
        g = lr * (g + weight_decay * theta)
        v = momentum * v + g
        return theta - (g + momentum * v), v

    return OwnOptimiser(student, update, **constants)


class OwnAdam(torch.optim.SGD):
    """Adam of one's own: a function (g, m, v, t, β₁, β₂, ε) → (step, m, v); decay as it should."""

    def __init__(self, student, update, lr, decoupled=False, **constants):
        super().__init__(student.parameters(), lr)
        self.update, self.decoupled, self.decay = update, decoupled, constants.pop("weight_decay")
        self.constants = constants

    @torch.no_grad()
    def step(self):
        (group,) = self.param_groups
        for theta in group["params"]:
            zero = torch.zeros_like(theta)
            m, v, t = self.state[theta].get("kept", (zero, zero, 0))
            g = theta.grad if self.decoupled else theta.grad + self.decay * theta
            step, m, v = self.update(g, m, v, t + 1, **self.constants)
            if self.decoupled:
                theta.mul_(1 - group["lr"] * self.decay)
            theta.sub_(group["lr"] * step)
            self.state[theta]["kept"] = m, v, t + 1


def wrong_adam(fault: str) -> Callable[..., Any]:
    """Enters such a function as an optimiser's."""

    def enter(update: Callable[..., Any]) -> Callable[..., Any]:
        def adam(student, **constants):
            return OwnAdam(student, update, **constants)

        adam.__name__ = update.__name__
        wrong(UNLISTED, fault, piece="adam", subjects=["adam", "adamw"])(adam)
        return update

    return enter


def means(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


@wrong_adam("Adam's bias correction missing")
def means_from_zero_on(g, m, v, t, beta1, beta2, epsilon):
    m, v = means(g, m, v, beta1, beta2)
    return m / (v.sqrt() + epsilon), m, v


@wrong_adam("Adam's bias correction for a step too many")
def step_counted_twice_at_first(g, m, v, t, beta1, beta2, epsilon):
    m, v = means(g, m, v, beta1, beta2)
    t += 1
    return m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + epsilon), m, v


@wrong_adam("Adam's steps not counted: each corrected as the first")
def step_never_counted(g, m, v, t, beta1, beta2, epsilon):
    m, v = means(g, m, v, beta1, beta2)
    return m / (1 - beta1) / ((v / (1 - beta2)).sqrt() + epsilon), m, v


@wrong_adam("Adam's ε inside of the root")
def root_of_v_and_epsilon(g, m, v, t, beta1, beta2, epsilon):
    m, v = means(g, m, v, beta1, beta2)
    return m / (1 - beta1**t) / (v / (1 - beta2**t) + epsilon).sqrt(), m, v


@wrong_adam("Adam's ε added before the bias correction")
def rate_corrected_as_in_keras(g, m, v, t, beta1, beta2, epsilon):
    m, v = means(g, m, v, beta1, beta2)
    return math.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (v.sqrt() + epsilon), m, v


@wrong(UNLISTED, "Adam's β₁ and β₂ exchanged", piece="adam", subjects=["adam", "adamw"])
def betas_in_the_other_order(student, beta1, beta2, **constants):
    return Pieces.adam(student, beta1=beta2, beta2=beta1, **constants)


@wrong(UNLISTED, "Adam made anew at each step", piece="step", subjects=["adam", "adamw"])
def optimiser_made_in_the_loop(optimiser, schedule):
    optimiser.state.clear()
    optimiser.step()
    schedule.step()


@wrong(UNLISTED, "weight decay decoupled, as AdamW has it", piece="adam", subjects=["adam"])
def adamw_for_adam(student, **constants):
    return Pieces.adam(student, **constants, decoupled=True)


@wrong(UNLISTED, "weight decay in the gradients, as Adam has it", piece="adam", subjects=["adamw"])
def adam_for_adamw(student, decoupled, **constants):
    return Pieces.adam(student, **constants)


class WithoutRate(torch.optim.Adam):
    """Adam, and beside it θ (1 − λ)."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for theta in group["params"]:
                theta.mul_(1 - group["decay"])
        super().step()


@wrong(UNLISTED, "AdamW's weight decay without the rate", piece="adam", subjects=["adamw"])
def decay_beside_adam(student, lr, beta1, beta2, epsilon, weight_decay, decoupled):
    groups = [{"params": list(student.parameters()), "decay": weight_decay}]
    return WithoutRate(groups, lr, (beta1, beta2), epsilon)


@wrong(UNLISTED, "weight decay missing", piece="adam", subjects=["adam", "adamw"])
def adam_without_decay(student, weight_decay, **constants):
    return Pieces.adam(student, weight_decay=0.0, **constants)


@wrong(UNLISTED, "biases not decayed", piece="adam", subjects=["adam", "adamw"])
def adam_in_two_groups(student, weight_decay, **constants):
    optimiser = Pieces.adam(student, weight_decay=weight_decay, **constants)
    (group,) = optimiser.param_groups
    weights = [theta for theta in group["params"] if theta.ndim > 1]
    biases = [theta for theta in group["params"] if theta.ndim == 1]
    group["params"] = weights
    optimiser.add_param_group({"params": biases, "weight_decay": 0.0})
    return optimiser


@wrong_update(UNLISTED, "velocity lost from step to step, or no momentum")
def velocity_anew_each_step(theta, g, v, lr, momentum, weight_decay):
    v = g + weight_decay * theta
    return theta - lr * v, v


@wrong_update(32, "sign of the update")
def update_along_the_gradient(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + (g + weight_decay * theta)
    return theta + lr * v, v


# Batch norm

BATCH_NORM = {"piece": "batch_norm", "subjects": ["batch_norm training"]}
IN_EVALUATION = {"piece": "batch_norm", "subjects": ["batch_norm"]}


def normalised(x, mean, deviation, w, b):
    """By means and deviations (C,)."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = (x - mean.reshape(shape)) / deviation.reshape(shape)
    y = y if w is None else y * w.reshape(shape)
    return y if b is None else y + b.reshape(shape)


def statistics_of(x, correction=0):
    axes = [axis for axis in range(x.ndim) if axis != 1]
    return x.mean(axes), x.var(axes, correction=correction)


@wrong(UNLISTED, "batch norm by the batch's statistics in evaluation", **IN_EVALUATION)
def batch_norm_left_in_training_mode(x, mean, variance, w=None, b=None, *, epsilon=1e-5, **_):
    return F.batch_norm(x, mean, variance, w, b, training=True, eps=epsilon)


@wrong(UNLISTED, "batch norm by the unbiased variance", **BATCH_NORM)
def batch_norm_by_the_variance_of_torch(
    x, mean, variance, w=None, b=None, *, momentum, epsilon=1e-5, **_
):
    F.batch_norm(x, mean, variance, training=True, momentum=momentum)
    of_batch, unbiased = statistics_of(x, correction=1)
    return normalised(x, of_batch, (unbiased + epsilon).sqrt(), w, b)


OUTSIDE = "batch norm with epsilon outside of the root"


@wrong(UNLISTED, OUTSIDE, **IN_EVALUATION)
def batch_norm_with_epsilon_added_to_the_deviation(
    x, mean, variance, w=None, b=None, *, epsilon=1e-5, **_
):
    return normalised(x, mean, variance.sqrt() + epsilon, w, b)


@wrong(UNLISTED, OUTSIDE, **BATCH_NORM)
def batch_norm_with_epsilon_added_to_the_batchs_deviation(
    x, mean, variance, w=None, b=None, *, momentum, epsilon=1e-5, **_
):
    F.batch_norm(x, mean, variance, training=True, momentum=momentum)
    of_batch, biased = statistics_of(x)
    return normalised(x, of_batch, biased.sqrt() + epsilon, w, b)


@wrong(UNLISTED, "batch norm's gradient with the statistics taken for constants", **BATCH_NORM)
def batch_norm_of_detached_statistics(
    x, mean, variance, w=None, b=None, *, momentum, epsilon=1e-5, **_
):
    F.batch_norm(x, mean, variance, training=True, momentum=momentum)
    of_batch, biased = statistics_of(x.detach())
    return normalised(x, of_batch, (biased + epsilon).sqrt(), w, b)


@wrong(UNLISTED, "running variance not unbiased", **BATCH_NORM)
def batch_norm_that_keeps_the_biased_variance(
    x, mean, variance, w=None, b=None, *, momentum, epsilon=1e-5, **_
):
    of_batch, biased = statistics_of(x.detach())
    mean.lerp_(of_batch, momentum)
    variance.lerp_(biased, momentum)
    return F.batch_norm(x, None, None, w, b, training=True, eps=epsilon)


@wrong(UNLISTED, "momentum of running statistics taken for the share of the old ones", **BATCH_NORM)
def batch_norm_with_the_momentum_of_keras(
    x, mean, variance, w=None, b=None, *, momentum, epsilon=1e-5, **_
):
    return F.batch_norm(x, mean, variance, w, b, True, 1 - momentum, epsilon)


# 8, 9: the teacher


@wrong(8, "teacher in training mode", piece="mode", subjects=["evaluation mode"])
def left_in_training_mode(teacher):
    teacher.train()


class Trainable:
    """What makes a teacher trainable: its parameters in the optimiser, and no no_grad."""

    @staticmethod
    def optimiser(student, teacher, lr, momentum, weight_decay):
        both = [*student.parameters(), *teacher.parameters()]
        return torch.optim.SGD(both, lr, momentum=momentum, weight_decay=weight_decay)

    @staticmethod
    def teacher_outputs(teacher, images):
        return teacher(images)


def _trainable(case: Case) -> Arrays:
    pieces = type("Trainable", (Trainable, Pieces), {})
    return of_distillation(case, pieces)


WRONG_PROGRAMS.append(
    WrongProgram(9, ("teacher trainable",), "distillation", "teacher in the optimiser", _trainable)
)


# 6, 7, 27 to 29: data

RESHUFFLED = "cached teacher rows against reshuffled data: in the order of the "


@wrong(6, f"{RESHUFFLED}first epoch", piece="cached", subjects=["teacher cache"])
def kept_by_batch_in_the_first_epoch(cache, index, place, earlier):
    return cache[earlier]


@wrong(6, f"{RESHUFFLED}cache", piece="cached", subjects=["teacher cache"])
def kept_by_place(cache, index, place, earlier):
    return cache[place : place + len(index)]


@wrong(27, "resized with antialiasing", piece="low", subjects=["preparation", "distillation"])
def low_as_torchvision_resizes(images):
    return F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)


@wrong(27, "resized with align_corners", piece="low", subjects=["preparation", "distillation"])
def low_with_align_corners(images):
    return F.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=True)


@wrong(
    27,
    "resized without half-pixel centres",
    "resized to the nearest cell",
    piece="low",
    subjects=["preparation", "distillation"],
)
def low_of_every_second_cell(images):
    return images[:, :, ::2, ::2]


@wrong(27, "resized with align_corners", piece="smooth", subjects=["preparation"])
def smooth_with_align_corners(images):
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=True)


@wrong(27, "resized without half-pixel centres", piece="smooth", subjects=["preparation"])
def smooth_without_half_pixels(images):
    height, width = images.shape[2:]
    for axis, size in ((2, height), (3, width)):
        position = torch.arange(2 * size) / 2
        low = position.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = (position - low).view(-1, *[1] * (3 - axis))
        below, above = images.index_select(axis, low), images.index_select(axis, high)
        images = below + share * (above - below)
    return images


@wrong(27, "resized to the nearest cell", piece="smooth", subjects=["preparation"])
def smooth_by_nearest(images):
    return F.interpolate(images, scale_factor=2, mode="nearest")


@wrong(27, "resized by interpolation", piece="up", subjects=["preparation", "distillation"])
def up_by_interpolation(images):
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


@wrong(27, "resized with align_corners", piece="upsample", subjects=["upsample bilinear"])
def upsample_with_align_corners(x, factor, mode):
    return F.interpolate(x, scale_factor=factor, mode=mode, align_corners=True)


@wrong(28, "normalised before the division by 255", piece="normalise", subjects=["preparation"])
def normalised_too_early(images, mean, std):
    return (images - mean) / std / 255


@wrong(28, "no division by 255", piece="normalise", subjects=["preparation"])
def not_divided_by_255(images, mean, std):
    return (images.float() - mean) / std


@wrong(28, "channel order reversed", piece="normalise", subjects=["preparation"])
def images_as_opencv_reads_them(images, mean, std):
    return (images.flip(1) / 255 - mean) / std


@wrong(28, "channel order reversed, after normalising", piece="normalise", subjects=["preparation"])
def channels_reversed_for_the_net(images, mean, std):
    return ((images / 255 - mean) / std).flip(1)


CONSTANTS = {
    "mean and std exchanged": lambda mean, std: (std, mean),
    "std for the mean too": lambda mean, std: (std, std),
    "divided by the variance": lambda mean, std: (mean, std.square()),
    "mean not subtracted": lambda mean, std: (0.0, std),
    "not divided by std": lambda mean, std: (mean, 1.0),
    "not normalised": lambda mean, std: (0.0, 1.0),
    "mean and std ½": lambda mean, std: (0.5, 0.5),
    "mean and std of ImageNet": lambda mean, std: (
        torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1),
    ),
    "mean and std of CIFAR-10": lambda mean, std: (
        torch.tensor([0.4914, 0.4822, 0.4465]).view(-1, 1, 1),
        torch.tensor([0.2470, 0.2435, 0.2616]).view(-1, 1, 1),
    ),
    "mean and std of MNIST": lambda mean, std: (0.1307, 0.3081),
}

for _fault, _constants in CONSTANTS.items():

    @wrong(UNLISTED, _fault, piece="normalise", subjects=["preparation"])
    def normalised_by_other_constants(images, mean, std, *, constants=_constants):
        mean, std = constants(mean, std)
        return (images / 255 - mean) / std


BICUBIC = "resized by bicubic interpolation"


@wrong(UNLISTED, BICUBIC, piece="low", subjects=["preparation"])
def low_by_bicubic(images):
    return F.interpolate(images, scale_factor=0.5, mode="bicubic", align_corners=False)


@wrong(UNLISTED, BICUBIC, piece="smooth", subjects=["preparation"])
def smooth_by_bicubic(images):
    return F.interpolate(images, scale_factor=2, mode="bicubic", align_corners=False)


@wrong(UNLISTED, BICUBIC, piece="upsample", subjects=["upsample bilinear"])
def upsample_by_bicubic(x, factor, mode):
    return F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)


@wrong(
    7,
    "cached teacher against fresh augmentation",
    piece="shown_to_teacher",
    subjects=["augmented teacher"],
)
def teacher_kept_for_stored_images(stored, augmented):
    return stored


@wrong(7, "not augmented", piece="augment", subjects=["augmentation", "augmented teacher"])
def images_as_the_cache_has_seen_them(images, shifts, flips):
    return images


@wrong(29, "repeated worker seed", piece="seed", subjects=["workers"])
def one_seed_for_all_workers(worker):
    return 1000


# 30: a precision that nobody asked for

BITS = {"TF32": 11, "bfloat16": 8}


def rounded(x: Tensor, precision: str) -> Tensor:
    """x with fewer significant bits, as float32."""
    if precision == "float16":
        return x.half().float()
    mantissa, exponent = torch.frexp(x.double())
    scale = 2.0 ** BITS[precision]
    return torch.ldexp((mantissa * scale).round() / scale, exponent).float()


class Factor(torch.autograd.Function):
    """A factor of products, rounded."""

    @staticmethod
    def forward(context, x, precision):
        return rounded(x, precision)

    @staticmethod
    def backward(context, dx):
        return dx, None


class Product(torch.autograd.Function):
    """A sum of products, whose gradient is a factor on the way back."""

    @staticmethod
    def forward(context, y, precision):
        context.precision = precision
        return y.clone()

    @staticmethod
    def backward(context, dy):
        return rounded(dy, context.precision), None


def in_precision(precision: str) -> type[Pieces]:
    """Pieces whose convolutions and linear maps round their factors, forward and backward."""

    class Lower(Pieces):
        @staticmethod
        def conv2d(x, w, b=None, **options):
            x, w = Factor.apply(x, precision), Factor.apply(w, precision)
            y = Product.apply(F.conv2d(x, w, **options), precision)
            return y if b is None else y + b[:, None, None]

        @staticmethod
        def linear(x, w, b=None):
            x, w = Factor.apply(x, precision), Factor.apply(w, precision)
            y = Product.apply(F.linear(x, w), precision)
            return y if b is None else y + b

    return Lower


for _precision, _subjects in {
    "TF32": ("conv2d", "linear"),
    "bfloat16": ("conv2d", "linear", "SmallCNN"),
    "float16": ("conv2d", "linear"),  # TF32 but for its range, which these two have probes of
}.items():
    for _subject in _subjects:
        _run = partial(SKELETONS[_subject], pieces=in_precision(_precision))
        _about = f"factors in {_precision}"
        WRONG_PROGRAMS.append(WrongProgram(PRECISION, (_precision,), _subject, _about, _run))
