"""Questions about data: how they are prepared, and how they reach the teacher."""

import numpy as np

from npkd.validate.program import Operation
from npkd.validate.questions.numbers import (
    Arrays,
    C,
    Cases,
    Draw,
    N,
    case_of,
    dyadic,
    normal,
    small_integers,
)


def about_preparation(rng: np.random.Generator) -> Cases:
    """From stored images to x_high, x_low, and x_low brought back to size."""
    mean, std = np.array([0.49, 0.45, 0.38], np.float32), np.array([0.25, 0.2, 0.3], np.float32)
    resized = [
        Operation("low", "avg_pool2d", {"x": "x_high"}, {"y": "x_low"}, {"kernel_size": 2}),
        Operation(
            "up", "upsample", {"x": "x_low"}, {"y": "x_up"}, {"factor": 2, "mode": "nearest"}
        ),
        Operation(
            "smooth",
            "upsample",
            {"x": "x_low"},
            {"y": "x_smooth"},
            {"factor": 2, "mode": "bilinear"},
        ),
    ]
    normalised = Operation(
        "normalise",
        "normalise",
        {"images": "images", "mean": "mean", "std": "std"},
        {"y": "x_high"},
    )
    about = "x_high = (images/255 − mean) / std, x_low its 2×2 means, x_up and x_smooth twice x_low"
    for height, width in ((8, 12), (6, 4)):
        images = rng.integers(0, 256, (N, 3, height, width), dtype=np.uint8)
        inputs: Arrays = {"images": images, "mean": mean, "std": std}
        name = f"preparation {height}x{width}"
        yield case_of(name, "preparation", about, inputs, [normalised, *resized])
    yield case_of(
        "preparation exact",
        "preparation",
        "x_low the 2×2 means of x_high, x_up and x_smooth twice x_low",
        {"x_high": dyadic(rng, (N, 3, 8, 12), largest=100)},
        resized,
        exact=True,
    )


SHIFTS = np.array([[2, -1], [-2, 1], [0, 2], [1, 0], [-1, -2]])  # down, right
FLIPS = np.array([True, False, True, False, True])


def about_augmentation(rng: np.random.Generator) -> Cases:
    """Images moved and flipped as they are told."""
    operation = Operation(
        "augment",
        "augment",
        {"images": "images", "shifts": "shifts", "flips": "flips"},
        {"y": "y"},
    )
    stored = rng.integers(0, 256, (N, 3, 6, 8), dtype=np.uint8)
    for name, images in (("stored", stored), ("floats", normal(rng, (N, 3, 7, 5)))):
        shifts, flips = rng.permuted(SHIFTS, axis=0), rng.permutation(FLIPS)
        yield case_of(
            f"augmentation {name}",
            "augmentation",
            "images moved by (down, right) cells, black coming in, then flipped left to right",
            {"images": images, "shifts": shifts, "flips": flips},
            [operation],
            exact=images.dtype == np.uint8,
        )


def about_teacher_cache(rng: np.random.Generator) -> Cases:
    """The teacher's kept outputs for the images of a batch, which are shuffled for each epoch."""
    count = 11
    for exact in (False, True):
        inputs: Arrays = {"cache": (small_integers if exact else normal)(rng, (count, C))}
        operations = []
        for epoch in ("epoch1/", "epoch2/"):
            batches = np.split(rng.permutation(count), (4, 8))
            for number, index in enumerate(batches, 1):
                at = f"{epoch}batch{number}/"
                inputs[f"{at}index"] = index
                operations.append(
                    Operation(
                        f"{at}rows",
                        "rows",
                        {"x": "cache", "index": f"{at}index"},
                        {"y": f"{at}teacher"},
                        {"batches": len(batches)},
                    )
                )
        yield case_of(
            f"teacher cache{' exact' * exact}",
            "teacher cache",
            "the teacher's outputs for the images of each batch, looked up among those that were "
            "kept for all 11",
            inputs,
            operations,
            exact=exact,
        )


def about_augmented_teacher(rng: np.random.Generator) -> Cases:
    """The teacher's outputs for images as they were augmented, not as they are stored."""
    operations = (
        Operation(
            "augment",
            "augment",
            {"images": "images", "shifts": "shifts", "flips": "flips"},
            {"y": "x"},
        ),
        Operation("flatten", "flatten", {"x": "x"}, {"y": "flat"}),
        Operation(
            "teacher",
            "linear",
            {"x": "flat", "w": "teacher.weight", "b": "teacher.bias"},
            {"y": "teacher"},
        ),
    )
    for exact in (False, True):
        draw: Draw = dyadic if exact else normal
        for height, width in ((4, 6), (5, 3)):
            inputs = {
                "images": draw(rng, (N, 3, height, width)),
                "shifts": rng.permuted(SHIFTS, axis=0),
                "flips": rng.permutation(FLIPS),
                "teacher.weight": draw(rng, (C, 3 * height * width)),
                "teacher.bias": draw(rng, (C,)),
            }
            yield case_of(
                f"augmented teacher {height}x{width}{' exact' * exact}",
                "augmented teacher",
                "what a linear teacher gives for the images that the student is shown",
                inputs,
                operations,
                exact=exact,
                needed=["x", "teacher"],
            )


def about_workers(rng: np.random.Generator) -> Cases:
    """What each of the processes that load data draws: nothing that another one draws."""
    for workers in (4, 7):
        options = {"workers": workers}
        yield case_of(
            f"workers {workers}",
            "workers",
            f"16 random numbers of each of {workers} workers, a row for each: all rows differ",
            {},
            [Operation("draw", "distinct", {}, {"draws": "draws"}, options)],
        )


def about_evaluation_mode(rng: np.random.Generator) -> Cases:
    """A teacher with dropout, which is evaluated."""
    operations = (
        Operation("fc1", "linear", {"x": "x", "w": "fc1.weight", "b": "fc1.bias"}, {"y": "fc1"}),
        Operation("relu", "relu", {"x": "fc1"}, {"y": "relu"}),
        Operation("dropout", "dropout", {"x": "relu"}, {"y": "dropout"}, {"p": 0.5}),
        Operation(
            "fc2", "linear", {"x": "dropout", "w": "fc2.weight", "b": "fc2.bias"}, {"y": "fc2"}
        ),
    )
    for exact in (False, True):
        for features, hidden in ((6, 11), (9, 14)):
            draw: Draw = dyadic if exact else normal
            shapes = {
                "x": (N, features),
                "fc1.weight": (hidden, features),
                "fc1.bias": (hidden,),
                "fc2.weight": (C, hidden),
                "fc2.bias": (C,),
            }
            yield case_of(
                f"evaluation mode {features} to {hidden}{' exact' * exact}",
                "evaluation mode",
                "a teacher's outputs: linear, ReLU, dropout that drops nothing, linear",
                {name: draw(rng, shape) for name, shape in shapes.items()},
                operations,
                exact=exact,
                needed=["fc2"],
            )
