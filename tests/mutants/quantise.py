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
    *mutants(
        "qlinear",
        "npkd.quantise.ops",
        {
            "scales of channels exchanged": (
                "a *= self.factor.reshape(",
                "a *= self.factor[::-1].reshape(",
                "bits",
            ),
            "the bias left out": ("self.w[0], self.bias)", "self.w[0], None)", "bits"),
            "sums in int8": ("x.astype(self.dtype, copy=False)", "x.astype(np.int8)", "bits"),
        },
    ),
    *mutants(
        "quantize_linear",
        "npkd.quantise.ops",
        {
            "times the scale": ("np.asarray(x / of.scale)", "np.asarray(x * of.scale)", "bits"),
            "a little larger": (
                "np.asarray(x / of.scale)",
                "np.asarray(x * (1 + 3e-7) / of.scale)",
                "bits",
            ),
            "without its zero point": (
                "return rounded(x, of)",
                "return rounded(x, of._replace(zero_point=0))",
                "bits",
            ),
        },
    ),
    *mutants(
        "dequantize_linear",
        "npkd.quantise.ops",
        {
            "without its zero point": ("if of.zero_point:", "if False:", "bits"),
            "held at 0": (
                "np.subtract(q, of.zero_point, dtype=np.float32)",
                "np.maximum(np.subtract(q, of.zero_point, dtype=np.float32), 0)",
                "bits",
            ),
            "divided by the scale": ("np.multiply(q, of.scale", "np.divide(q, of.scale", "bits"),
        },
    ),
]
