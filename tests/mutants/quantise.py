"""Mutants of operations on integers."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "qlinear_conv",
        "npkd.quantise.ops",
        {
            "halves away from 0": ("np.rint(y, out=y)", "np.floor(y + 0.5, out=y)", "bits"),
            "rounded down": ("np.rint(y, out=y)", "np.floor(y, out=y)", "bits"),
            "not held between 0 and 255": (
                "np.clip(y, LEAST, MOST, out=y)",
                "np.mod(y, 256, out=y)",
                "bits",
            ),
            "held at 254": ("clip(y, LEAST, MOST,", "clip(y, LEAST, MOST - 1,", "bits"),
            "the zero point of y left out": ("y += np.float32(zero_point)", "y += 0", "bits"),
            "the zero point of x left out": (
                "np.subtract(x, self.x_zero, dtype=self.dtype)",
                "x",
                "bits",
            ),
            "scales of channels exchanged": (
                "np.full((columns, len(self.factor)), self.factor)",
                "np.full((columns, len(self.factor)), self.factor[::-1])",
                "bits",
            ),
            "one scale for all channels": (
                "np.full((columns, len(self.factor)), self.factor)",
                "np.full((columns, len(self.factor)), self.factor.max())",
                "bits",
            ),
            "scales of a linear layer's channels exchanged": (
                "a *= self.factor.reshape(",
                "a *= self.factor[::-1].reshape(",
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
                "total = total + self._sums(",
                "total = self._sums(",
                "bits",
            ),
            "a part of a long sum twice": (
                "slice(n, n + step)",
                "slice(max(0, n - 1), n + step)",
                "bits",
            ),
        },
    ),
]
