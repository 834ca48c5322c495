"""Mutants of operations on integers."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "qlinear_conv",
        "npkd.quantise.ops",
        {
            "halves away from 0": ("y = np.rint(y)", "y = np.floor(y + 0.5)", "bits"),
            "rounded down": ("y = np.rint(y)", "y = np.floor(y)", "bits"),
            "not held between 0 and 255": (
                "np.clip(y, LEAST, MOST).astype(np.uint8)",
                "(y % 256).astype(np.uint8)",
                "bits",
            ),
            "held at 254": ("np.clip(y, LEAST, MOST)", "np.clip(y, LEAST, MOST - 1)", "bits"),
            "the zero point of y left out": ("y += np.float32(zero_point)", "y += 0", "bits"),
            "the zero point of x left out": (
                "x = x.astype(np.float32) - np.float32(zero_point)",
                "x = x.astype(np.float32)",
                "bits",
            ),
            "scales of channels exchanged": (
                "a * factor[:, np.newaxis, np.newaxis]",
                "a * factor[::-1, np.newaxis, np.newaxis]",
                "bits",
            ),
            "one scale for all channels": (
                "a * factor[:, np.newaxis, np.newaxis]",
                "a * factor.max()",
                "bits",
            ),
            "the scale of y upside down": (
                "w_scale.astype(np.float32) / y_of.scale",
                "w_scale.astype(np.float32) * y_of.scale",
                "bits",
            ),
            "the bias left out": (
                "np.zeros(len(w)) if b is None else b.astype(np.float64)",
                "np.zeros(len(w))",
                "bits",
            ),
            "of a long sum the last part only": (
                "total = total + _convolved(",
                "total = _convolved(",
                "bits",
            ),
            "a part of a long sum twice": (
                "slice(first, first + step)",
                "slice(max(0, first - 1), first + step)",
                "bits",
            ),
        },
    ),
]
