"""Questions about the update, and how gradients of several batches are added up."""

from collections.abc import Sequence

import numpy as np

from npkd.validate.program import Case, Operation, sum_of, update_of
from npkd.validate.questions.numbers import (
    C,
    Cases,
    Draw,
    Options,
    Shape,
    case_of,
    dyadic,
    normal,
)


def sgd_operations(
    names: Sequence[str], *, before: str, at: str, first: bool, options: Options
) -> list[Operation]:
    """One update of parameters, from `before` + name to `at` + name, by `at` + name + ".grad"."""
    return [
        update_of(
            f"{at}sgd {name}",
            before + name,
            f"{at}{name}.grad",
            at + name,
            options,
            None if first else f"{before}{name}.velocity",
            f"{at}{name}.velocity",
        )
        for name in names
    ]


def adam_operations(
    names: Sequence[str], *, before: str, at: str, first: bool, options: Options
) -> list[Operation]:
    """The same by Adam."""
    return [
        Operation(
            f"{at}adam {name}",
            "adam",
            {"theta": before + name, "g": f"{at}{name}.grad"}
            | {kept: f"{before}{name}.{kept}" for kept in "mv" if not first},
            {"theta": at + name} | {kept: f"{at}{name}.{kept}" for kept in "mv"},
            options,
        )
        for name in names
    ]


def _updates(
    rng: np.random.Generator,
    name: str,
    about: str,
    shape: Shape,
    options: Sequence[Options],
    draw: Draw,
) -> Case:
    """Updates of a weight and a bias by given gradients, by these options step by step."""
    subject, *_ = name.split()
    shapes = {"weight": shape, "bias": shape[:1]}
    inputs = {key: draw(rng, of_one) for key, of_one in shapes.items()}
    operations, before = [], ""
    for step, of_step in enumerate(options, 1):
        at = f"step{step}/"
        inputs |= {f"{at}{key}.grad": draw(rng, of_one) for key, of_one in shapes.items()}
        by = adam_operations if "beta1" in of_step else sgd_operations
        operations += by(list(shapes), before=before, at=at, first=step == 1, options=of_step)
        before = at
    needed = [f"step{step}/{key}" for step in range(1, len(options) + 1) for key in shapes]
    return case_of(name, subject, about, inputs, operations, exact=draw is dyadic, needed=needed)


RATES, EXACT_RATES = (0.1, 0.1, 0.05, 0.05), (0.5, 0.5, 0.25, 0.25)
USUAL = {"momentum": 0.9, "weight_decay": 0.01}
POWERS = {"momentum": 0.5, "weight_decay": 0.25}


def about_sgd(rng: np.random.Generator) -> Cases:
    """Four updates of a weight and a bias by given gradients; the rate changes after the second."""
    about = "v ← μ v + (g + λ θ), θ ← θ − lr v, four times; the biases decay too"
    plain = {"momentum": 0.0, "weight_decay": 0.0}
    for name, shape, rates, constants, draw in (
        ("sgd linear", (4, 6), RATES, USUAL, normal),
        ("sgd convolution", (4, 3, 3, 2), RATES, USUAL, normal),
        ("sgd exact", (4, 6), EXACT_RATES, POWERS, dyadic),
        ("sgd plain", (4, 6), RATES, plain, normal),
        ("sgd plain exact", (4, 6), EXACT_RATES, plain, dyadic),
    ):
        yield _updates(rng, name, about, shape, [{"lr": lr} | constants for lr in rates], draw)


def about_nesterov(rng: np.random.Generator) -> Cases:
    """The same with Nesterov's momentum."""
    about = "v ← μ v + (g + λ θ), θ ← θ − lr (g + λ θ + μ v), four times; the biases decay too"
    for name, shape, rates, constants, draw in (
        ("nesterov linear", (4, 6), RATES, USUAL, normal),
        ("nesterov convolution", (4, 3, 3, 2), RATES, USUAL, normal),
        ("nesterov exact", (4, 6), EXACT_RATES, POWERS, dyadic),
    ):
        options = [{"lr": lr} | constants | {"nesterov": True} for lr in rates]
        yield _updates(rng, name, about, shape, options, draw)


def about_adam(subject: str, rng: np.random.Generator) -> Cases:
    """Four updates by Adam or AdamW; where gradients are small, ε counts."""
    decay = "θ ← θ (1 − lr λ) first" if subject == "adamw" else "g + λ θ in the place of g"
    about = f"Adam, four times; {decay}; the biases decay too"
    decoupled = {"decoupled": True} if subject == "adamw" else {}

    def small(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return normal(rng, shape) / 64

    for name, shape, (beta1, beta2), epsilon, draw in (
        ("linear", (4, 6), (0.9, 0.999), 1e-8, normal),
        ("convolution", (4, 3, 3, 2), (0.8, 0.95), 1e-8, normal),
        ("of small gradients", (4, 6), (0.9, 0.99), 0.01, small),
    ):
        constants = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": 0.1}
        options = [
            {"step": step, "lr": lr} | constants | decoupled for step, lr in enumerate(RATES, 1)
        ]
        yield _updates(rng, f"{subject} {name}", about, shape, options, draw)


def about_accumulation(rng: np.random.Generator) -> Cases:
    """The gradients of a batch of eight from two of four: the mean of the mean's gradients."""
    for inputs_of, outputs_of in ((6, 4), (11, C)):
        for exact in (False, True):
            draw: Draw = dyadic if exact else normal
            inputs = {"w": draw(rng, (outputs_of, inputs_of)), "b": draw(rng, (outputs_of,))}
            operations = []
            for part in ("part1/", "part2/"):
                inputs[f"{part}x"] = draw(rng, (4, inputs_of))
                inputs[f"{part}dy"] = draw(rng, (4, outputs_of)) / 4
                operations.append(
                    Operation(
                        f"{part}linear backward",
                        "linear_backward",
                        {"x": f"{part}x", "w": "w", "b": "b", "dy": f"{part}dy"},
                        {"dw": f"{part}dw", "db": f"{part}db"},
                    )
                )
            for name in ("dw", "db"):
                operations.append(sum_of([f"part1/{name}", f"part2/{name}"], name, divisor=2))
            yield case_of(
                f"accumulation {inputs_of} to {outputs_of}{' exact' * exact}",
                "accumulation",
                "the gradients of the mean over 8 samples from those of the means over 4 and 4",
                inputs,
                operations,
                exact=exact,
            )
