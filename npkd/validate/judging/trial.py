"""One case with a framework's results for it: every operation computed anew, and compared.

Effective bits: if the factors of y = Σ a b are rounded to t bits each, errors e against Q = √Σ a²b²
have a root mean square of about 0.60 · 2⁻ᵗ, so t is −log₂(rms(e/Q) / 0.60). Where there are no
products Q is the root mean square of y.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.bounds.rounding import (
    ARITHMETICS,
    LOWER,
    ULP,
    WORST_ULP,
    Arithmetic,
    Precision,
    Rounded,
    exact,
)
from npkd.validate.bounds.rules import RULES, is_sum_of_products, uses_exp
from npkd.validate.faults.fault import Context, Rule
from npkd.validate.judging.verdicts import BUG, CONSISTENT, UNPROVEN, Verdict
from npkd.validate.program import OWN, REPLAYED, Arrays, Case, Operation, Replay
from npkd.validate.questions.exactness import unit_of

PER_ROUNDED_FACTOR = 0.60  # rms(e/Q) · 2ᵗ
FLUSHED = 16.0  # smallest normal numbers, of which some terms may be subnormal
LEAST_BITS = 4.0  # with fewer, errors would hide a fault of a tenth
FEWER = 4.0  # bits than usual: a fault is as likely as rounding
BY_CHANCE = 20.0  # bits by which one error may be smaller than usual, once in a million
NEARLY = 2.0**-6  # of a unit
SCALED = 2.0**-10  # a factor so far from 1 is no rounding
UNEXPLAINED = 1 / 256  # of the squares of errors: what one factor may leave over
SAME_FACTOR = 1e-5  # relative: what is multiplied by one number is multiplied by it everywhere
PRODUCTS = (
    *("multiply", "multiply_backward", "divide", "divide_backward"),
    *("exp_backward", "log_backward", "sqrt_backward", "silu", "gelu", "dropout"),
    *(f"{op}_backward" for op in ("sigmoid", "tanh", "silu", "gelu", "dropout")),
)
MOVES = (
    *("move", "move_backward", "negative", "negative_backward", "sum_over_backward"),
    *("add_backward", "subtract_backward", "copy", "flatten", "flatten_backward"),
    *("concat", "concat_backward"),
)
SUMS = ("add", "subtract", "sum", "sum_over")


ELSEWHERE = {
    "": "only entries differ for which something was decided (which side of 0, which of two equal "
    "numbers) within the bound of what it was decided on",
    "softmax": "within what exp(x − log Σ exp x) or 2^(x log₂ e) may give",
    "log_softmax": "within what x − log Σ exp x may give",
    **dict.fromkeys(("sigmoid", "sigmoid_backward"), "within what ½ (1 + tanh(x/2)) may give"),
    **dict.fromkeys(("silu", "silu_backward"), "within what ½ x (1 + tanh(x/2)) may give"),
    **dict.fromkeys(("tanh", "tanh_backward"), "within what 2 σ(2x) − 1 may give"),
    "upsample": "within what a + λ (b − a) may give",
    "l2": "within what s² − 2 s t + t², or a norm's square, may give",
    "standardize": "within what a variance as E[x²] − m² may give",
    "standardize_backward": "within what a variance as E[x²] − m² may give",
    "avg_pool2d": "within what sums from the image's corner (an integral image) may give",
    "avg_pool2d_backward": "within what sums from the image's corner may give",
    "huber": "within what ½ q² + δ (|x| − q) may give, q = min(|x|, δ)",
    "sgd": "within what θ (1 − lr λ) − lr v may give",
    "adam": "within what 1 − βᵗ of a rounded βᵗ may give",
}
ASSUMED = (
    f"a bug, or exp, log and their like are off by more than {ULP:g} ulp and up to {WORST_ULP:g}: "
    "this is assumed, and neither documented nor measured on every number"
)


class Trial:
    """A case with a framework's results for it, computed anew.

    Raises ValueError for a tensor that the case does not have, or that holds no numbers, and for an
    operation that cannot be computed.
    """

    def __init__(
        self,
        case: Case,
        found: Arrays,
        precision: str | None = None,
        ulp: float | None = None,
    ):
        if not isinstance(found, Mapping):
            raise ValueError(
                f"validate: results are a {type(found).__name__}, expected arrays by tensor"
            )
        self.case = case
        tensors = set(case.tensors())
        unknown = sorted(found.keys() - tensors)
        if unknown:
            raise ValueError(
                f"validate: {case.name} has no tensor {unknown[0]!r}; it has {sorted(tensors)}"
            )
        self.missing = sorted(case.needed - found.keys())
        judged = {
            tensor
            for operation in case.operations
            if operation.op in RULES or operation.op in PROPERTIES
            for tensor in operation.outputs.values()
        }
        self.given = {
            name: _numbers(name, array) if name in judged else np.asarray(array)
            for name, array in found.items()
        }
        self.declared = precision
        self.ulp = ulp  # by which exp and its like are known to be off at most, if that is known
        self.arithmetic = self._in(precision or _highest(self.given))
        self.usual_bits: dict[str, float] = {}  # that sums like a tensor keep
        self.usable = dict(self.given)  # as inputs of later operations: of the right shape
        self.exactly: set[str] = set()  # made in an exact case, of nothing that was wrong
        self._products = _products(case)
        of_sums = [o.outputs.values() for o in case.operations if o.op in SUMS]
        self._sums = set().union(*of_sums)
        self._behind_transforms = self._after_hidden_convolutions()
        self._known: dict[str, dict[str, Rounded]] = {}
        self._known[self.arithmetic.name] = self._computed(self.arithmetic)

    def _after_hidden_convolutions(self) -> set[str]:
        """The tensors that depend on convolutions of which the results were not recorded."""
        after: set[str] = set()
        for operation in self.case.operations:
            is_convolution = operation.op in ("conv2d", "conv2d_backward")
            for tensor in operation.outputs.values():
                if is_convolution and tensor not in self.given:
                    after.add(tensor)
            unrecorded = after - self.given.keys()
            if not unrecorded.isdisjoint(operation.inputs.values()):
                after |= set(operation.outputs.values())
        return after

    def _may_decide_otherwise(self, tensor: str) -> bool:
        """Whether ReLUs or max-pools, by small errors before them, may give whole gradients."""
        is_gradient = any(
            operation.op.endswith("_backward") and tensor in operation.outputs.values()
            for operation in self.case.operations
        )
        return is_gradient and tensor in self._behind_transforms

    def arithmetic_of(self, tensor: str) -> Arithmetic:
        """The one in which a tensor is declared to have been computed."""
        name = self.declared or self.given[tensor].dtype.name
        return self._in(name) if name in ARITHMETICS else self.arithmetic

    def _in(self, precision: str) -> Arithmetic:
        """The arithmetic of a precision, with exp as exact as it is known to be."""
        arithmetic, ulp = ARITHMETICS[precision], self.ulp or ULP
        return replace(arithmetic, ulp=ulp) if ulp > ULP else arithmetic

    def known(self, arithmetic: Arithmetic) -> dict[str, Rounded]:
        """All tensors as this arithmetic may have them."""
        if arithmetic.name not in self._known:
            self._known[arithmetic.name] = self._computed(arithmetic)
        return self._known[arithmetic.name]

    def _computed(self, arithmetic: Arithmetic) -> dict[str, Rounded]:
        known = {name: exact(array) for name, array in self.case.inputs.items()}
        declared = replace(arithmetic, name=self.arithmetic.name, ulp=self.arithmetic.ulp)
        exactly = set(known) if self.case.exact and declared == self.arithmetic else None
        for operation in self.case.operations:
            made = self._results(arithmetic, operation, known, None)
            if exactly is not None and exactly.issuperset(operation.inputs.values()):
                by_weights = operation.op == "upsample"  # as quotients they are rounded
                made = {
                    name: replace(one, error=0.0, jump=one.jump if by_weights else 0.0)
                    for name, one in made.items()
                }
                self.exactly |= made.keys()
                exactly |= {name for name, one in made.items() if self._is_right(name, one.value)}
            known.update(made)
        return known

    def _is_exactly(self, made: Mapping[str, Rounded]) -> bool:
        """Whether these tensors, by a fault's rule, are what they are without it, exactly."""
        right = self.known(self.arithmetic)
        return self.exactly.issuperset(made) and all(
            np.array_equal(one.value, right[tensor].value) for tensor, one in made.items()
        )

    def _is_right(self, tensor: str, expected: np.ndarray) -> bool:
        """Whether a tensor was not recorded, or is what it should be to the bit."""
        return tensor not in self.usable or np.array_equal(self.usable[tensor], expected)

    def _results(
        self,
        arithmetic: Arithmetic,
        operation: Operation,
        known: dict[str, Rounded],
        fault: Rule | None,
    ) -> dict[str, Rounded]:
        """The tensors that an operation makes, by a fault's rule if it has one."""
        if operation.op not in RULES:
            return {
                tensor: exact(self.given[tensor])
                for tensor in operation.outputs.values()
                if tensor in self.given
            }
        context = Context(self.case, operation, self.usable, known)
        try:
            inputs = {
                name: self._as_used(arithmetic, operation, tensor, context.tensor(tensor), known)
                for name, tensor in operation.inputs.items()
            }
            if fault is None:
                results = RULES[operation.op](arithmetic, inputs, operation.options)
            else:
                results = fault(RULES[operation.op], arithmetic, inputs, operation.options, context)
            made = {tensor: results[name] for name, tensor in operation.outputs.items()}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            where = f"{self.case.name}: {operation.name}"
            raise ValueError(f"validate: {where} cannot be computed: {error}") from error
        for tensor, outcome in made.items():
            if tensor not in self.usable:
                continue
            if np.shape(self.usable[tensor]) != outcome.value.shape:
                del self.usable[tensor]
            elif outcome.value.dtype.kind == "f":
                self.usable[tensor] = self.usable[tensor].astype(np.float64, copy=False)
        return made

    def _as_used(
        self,
        arithmetic: Arithmetic,
        operation: Operation,
        tensor: str,
        x: Rounded,
        known: Mapping[str, Rounded],
    ) -> Rounded:
        """An input as the operation may have had it.

        Numbers below the smallest normal one may have been taken for 0; those of a higher precision
        may have been rounded first; of a product that is added to something, the rounding may have
        been left out (a fused multiply-add); and a sum that is only moved may have been added up
        again, fused with the move.
        """
        if x.value.dtype.kind != "f":
            return x
        size = np.abs(x.value)
        more = np.where(size < arithmetic.stored.smallest, size, 0.0)
        if operation.op in SUMS and tensor in self._products:
            more = more + arithmetic.gamma(1) * size
        if operation.op in MOVES and tensor in self._sums:
            more = more + known[tensor].error
        is_factor = is_sum_of_products(operation.op) and operation.inputs.get("b") != tensor
        if self._is_above(arithmetic.stored, tensor) and not (arithmetic.factors and is_factor):
            more = more + arithmetic.stored.u * size  # factors: see `sums_of_products`
        return replace(x, error=x.error + more) if np.any(more) else x

    def _is_above(self, precision: Precision, tensor: str) -> bool:
        """Whether a tensor was recorded in a higher precision than this."""
        array = self.given.get(tensor, self.case.inputs.get(tensor))
        own = ARITHMETICS.get(array.dtype.name) if array is not None else None
        return own is not None and own.stored.bits > precision.bits

    def measured(self) -> Iterator[tuple["Trial", Operation, Verdict]]:
        """A verdict for each tensor that was given, as far as this case alone can tell."""
        for operation in self.case.operations:
            for result, tensor in operation.outputs.items():
                if tensor not in self.given:
                    continue
                if operation.op in PROPERTIES:
                    verdict, figures = self._of_property(operation, tensor)
                elif operation.op in RULES:
                    verdict, figures = self._of_bound(operation, tensor)
                elif operation.op in (*REPLAYED, *OWN):
                    verdict, figures = self._of_replay(operation, tensor, result)
                else:
                    continue
                one = Verdict(
                    self.case.name,
                    self.case.subject,
                    operation.name,
                    operation.op,
                    result,
                    tensor,
                    tensor in self.exactly,
                    verdict,
                    self.arithmetic_of(tensor).name if verdict == CONSISTENT else "",
                    **figures,
                )
                yield self, operation, one

    def _of_bound(self, operation: Operation, tensor: str) -> tuple[str, dict[str, Any]]:
        """The verdict and the figures of what has an expected value, and a bound."""
        outcome = self.known(self.arithmetic_of(tensor))[tensor]
        measure = Measure.of(self.given[tensor], outcome, self)
        verdict, note = BUG, measure.note
        usual = self.usual_bits[tensor] = self._usual_bits(operation, tensor, measure.grown)
        least = max(LEAST_BITS, usual - FEWER)
        if measure.within:
            verdict, note = self._within(operation, tensor)
        elif measure.with_jump:
            verdict, note = UNPROVEN, ELSEWHERE.get(operation.op, ELSEWHERE[""])
        elif self._rests_on_exp(tensor):
            verdict, note = UNPROVEN, ASSUMED
        figures = measure.figures() | {"smallest": measure.smallest(least), "note": note}
        return verdict, figures

    def _rests_on_exp(self, tensor: str) -> bool:
        """Whether a tensor is within its bound if exp is as bad as in any library."""
        if self.ulp is not None or tensor in self.exactly:
            return False
        if not any(uses_exp(operation.op) for operation in self.case.operations):
            return False
        declared = self.arithmetic_of(tensor)
        worst = replace(declared, name=f"{declared.name}, {WORST_ULP:g} ulp", ulp=WORST_ULP)
        outcome = replace(self.known(worst)[tensor], jump=0.0)
        return lies_within(self.given[tensor], outcome)

    def _of_replay(
        self, operation: Operation, tensor: str, result: str
    ) -> tuple[str, dict[str, Any]]:
        """The same of what has no rule: a replay in float64 proves no bound."""
        replay: Replay = operation.options["replay"]
        found, expected = self.given[tensor], np.asarray(replay.results[result])
        errors = errors_of(found, expected)
        if errors is None:  # a replay has the shapes that were recorded
            raise ValueError(f"validate: {tensor} has shape {found.shape}, not {expected.shape}")
        worst = int(np.argmax(errors)) if errors.size else 0
        bits = effective_bits(
            errors, Rounded(np.where(np.isfinite(expected), expected, 0.0)), found.dtype
        )[0]
        figures: dict[str, Any] = dict.fromkeys(("bound", "ratio", "band"), math.nan)
        figures |= {
            "error": _at(errors, worst),
            "index": tuple(map(int, np.unravel_index(worst, errors.shape))) if errors.size else (),
            "found": _at(found, worst),
            "expected": _at(expected, worst),
            "bits": bits,
        }
        if result in replay.wrong:
            return BUG, figures | {"note": replay.wrong[result]}
        note = f"{operation.options['function']}: replayed, no bound"
        if operation.op.endswith("_backward") and replay.gradient:
            note += f"; {replay.gradient}"
        stored = self.arithmetic_of(tensor).stored.bits
        if bits < stored / 2:
            note += (
                f"; of {stored} bits only {max(0.0, bits):.1f} are those of float64: "
                "rounding, if it is no other computation"
            )
        return UNPROVEN, figures | {"note": note}

    def _of_property(self, operation: Operation, tensor: str) -> tuple[str, dict[str, Any]]:
        """The same of what has a property."""
        found, of_op = self.given[tensor], PROPERTIES[operation.op]
        expected, error = of_op.shape(operation.options), 0.0
        if found.shape == expected:
            wrong = of_op.check(found)
        else:
            wrong, error = f"has shape {found.shape}, expected {expected}", math.inf
        figures = {"error": error, "bound": 0.0, "ratio": math.inf if wrong else 0.0, "index": ()}
        figures |= {"found": math.nan, "expected": math.nan, "bits": math.inf, "band": 0.0}
        return BUG if wrong else CONSISTENT, figures | {"note": wrong}

    def _within(self, operation: Operation, tensor: str) -> tuple[str, str]:
        """Of a tensor within its bound: CONSISTENT, unless the bound says nothing."""
        outcome = self.known(self.arithmetic_of(tensor))[tensor]
        errors = errors_of(self.given[tensor], outcome.value)
        bound = np.broadcast_to(outcome.error, outcome.value.shape)
        if errors is None or not np.any(errors > 0):
            return CONSISTENT, ""
        if np.any((errors > 0) & np.isinf(bound)):
            return UNPROVEN, "nothing is promised where the bound is infinite"
        recorded = self.usable.keys() | self.case.inputs.keys()
        if not recorded.issuperset(operation.inputs.values()):
            size = np.sqrt(np.mean(np.square(outcome.value.astype(np.float64))))
            if np.median(bound) >= size:
                return UNPROVEN, "the bound is larger than the numbers: record what is before it"
        return CONSISTENT, ""

    def _usual_bits(self, operation: Operation, tensor: str, grown: float) -> float:
        """The effective bits that a sum keeps as a rule; 0 of what is none, or is not known.

        Of k products with t bits each, errors add up as a random walk does, so that about
        t − ½ log₂ k bits are left in units of Q, and of a sum of one sign fewer, by the logarithm
        of y/Q, which is `grown`. `FEWER` bits than that, or less than `LEAST_BITS`, are no proof,
        however wide the bound of the worst case is.
        """
        arithmetic = self.arithmetic_of(tensor)
        outcome = self.known(arithmetic)[tensor]
        recorded = self.usable.keys() | self.case.inputs.keys()
        is_sum = is_sum_of_products(operation.op) or operation.op == "sum_over"
        if not (is_sum and 0 < grown < math.inf and recorded.issuperset(operation.inputs.values())):
            return 0.0
        lost = math.log2(max(1.0, grown))
        walk = arithmetic.summed.bits - 0.5 * math.log2(max(1, outcome.roundings))
        factors = (arithmetic.factors or arithmetic.stored).bits
        return min(factors, walk - lost, arithmetic.stored.bits - lost)

    def lower(self, operation: Operation, tensor: str) -> list[str]:
        """The lower precisions whose bound a tensor is within, and whose bits it has."""
        found = self.given[tensor]
        fitting = []
        products = is_sum_of_products(operation.op)
        for arithmetic in LOWER[self.arithmetic_of(tensor).name]:
            is_stored = _is_stored_in(arithmetic.stored, found)
            is_like_it = is_stored and arithmetic.factors is arithmetic.stored
            if not products and arithmetic.factors is not None and not is_like_it:
                continue
            outcome = self.known(arithmetic)[tensor]
            measure = Measure.of(found, outcome, self)
            if not (measure.within or measure.with_jump):
                continue
            lost = arithmetic.stored.bits - 6  # bits that are left where some were lost on the way
            if arithmetic.factors is None:  # float32 in the place of float64, or of sums
                most = arithmetic.stored.bits + 4 + 2 * BY_CHANCE / max(1, found.size)
                usual = measure.bits > lost and measure.typical < most
                agrees = is_stored or usual
            elif products and outcome.scale is not None:
                # All results share the errors of a small factor; and they may be rounded too
                factors = [x for name, x in self.shapes(operation).items() if name != "b"]
                fewer = 1 / math.sqrt(max(1, min(map(math.prod, factors))))
                if is_stored:
                    fewer += 1 + math.log2(max(1.0, measure.grown))
                agrees = all(
                    _agrees(bits, arithmetic.keeps, found.size, fewer)
                    for bits in (measure.bits, measure.typical)
                )
            else:
                agrees = is_stored and (measure.bits > lost or not measure.within)
            if agrees:
                fitting.append(arithmetic.name)
        return fitting

    def shapes(self, operation: Operation) -> dict[str, tuple[int, ...]]:
        """The shapes of an operation's inputs."""
        known = self.known(self.arithmetic)
        return {name: np.shape(known[tensor].value) for name, tensor in operation.inputs.items()}

    def is_in(self, precision: Precision, operation: Operation, tensor: str, result: str) -> bool:
        """Whether an exact probe's tensor is what comes of inputs in a lower precision.

        That is right, or right and then rounded to it, but not finite where it cannot hold an
        input; there it need not be NaN or infinite at the same places, since 0 · ∞ may have been
        left out.
        """
        context = Context(self.case, operation, self.usable, self.known(self.arithmetic))
        inputs = {
            name: x if x.value.dtype.kind != "f" else Rounded(precision.round(x.value))
            for name, x in ((name, context.tensor(at)) for name, at in operation.inputs.items())
        }
        with np.errstate(all="ignore"):
            lower = RULES[operation.op](self.arithmetic, inputs, operation.options)[result].value
        found, right = self.given[tensor], self.known(self.arithmetic)[tensor].value
        if found.shape != right.shape:
            return False
        beyond, finite = ~np.isfinite(lower), np.isfinite(found)
        either = (right, lower, precision.round(right), precision.round(lower))
        is_right = np.any([found == one for one in either], axis=0)
        is_right = np.all(np.where(finite, is_right, beyond))
        return bool(is_right) and not (np.any(beyond) and np.all(finite))

    def by_transform(self, tensor: str) -> str:
        """What a tensor is, in words, if a transform may give it; else nothing.

        The right result times a number is none: transforms round, and do so everywhere otherwise.
        And what they round of an exact probe is no whole number of its units.
        """
        outcome = self.known(self.arithmetic_of(tensor))[tensor]
        found = self.given[tensor]
        errors = errors_of(found, outcome.value)
        if errors is None or _is_scaled(found, outcome):
            return ""
        in_units = tensor in self.exactly and not self._may_decide_otherwise(tensor)
        if in_units and _is_off_by_whole_units(errors, unit_of(outcome.value)):
            return ""
        if tensor in self._behind_transforms:
            arithmetic = self.arithmetic_of(tensor)
            name = f"{arithmetic.name} and transforms"
            with_them = self.known(replace(arithmetic, name=name, transforms=True))[tensor]
            if np.all(errors <= with_them.total):
                return "within what convolutions that are not recorded may give by transforms"
        if outcome.transforms is None:
            return ""
        size = math.sqrt(np.mean(np.square(outcome.value)))
        for name, bound in outcome.transforms().items():
            if np.all(errors <= bound + outcome.total):
                room = float(np.median(bound)) / size if size else math.inf
                hides = f"; a fault of {room:.0%} would not be seen" if room > 0.01 else ""
                return f"not summed directly, but within what {name} may give{hides}"
        return ""

    def explained(
        self, rules: Mapping[str, Rule], only: frozenset[str] | None = None
    ) -> set[str] | None:
        """The tensors that are as the rules of a fault have them, and not as they should be.

        rules: by op. Operations that depend on what is not recorded are computed anew too. None if
        anything is not as they have it.
        """
        known = dict(self.known(self.arithmetic))
        touched: set[str] = set()
        tensors: set[str] = set()
        for operation in self.case.operations:
            rule = rules.get(operation.op)
            if only is not None and not only & {operation.op, place_of(operation.name)}:
                rule = None
            if rule is None and touched.isdisjoint(operation.inputs.values()):
                continue
            try:
                made = self._results(self.arithmetic, operation, known, rule)
            except ValueError:  # the fault makes no sense here
                return None
            if touched.isdisjoint(operation.inputs.values()) and self._is_exactly(made):
                continue  # the fault makes no difference here
            known.update(made)
            for tensor, outcome in made.items():
                if tensor not in self.given:
                    touched.add(tensor)
                    continue
                if not lies_within(self.given[tensor], outcome):
                    return None
                if not lies_within(self.given[tensor], self.known(self.arithmetic)[tensor]):
                    tensors.add(tensor)
        return tensors


def _products(case: Case) -> set[str]:
    """The tensors that are products, or products whose entries were moved or changed sign."""
    products: set[str] = set()
    for operation in case.operations:
        moves = operation.op in MOVES and not products.isdisjoint(operation.inputs.values())
        if operation.op in PRODUCTS or moves:
            products |= set(operation.outputs.values())
    return products


def _numbers(tensor: str, given: Any) -> np.ndarray:
    """What was given for a tensor, as an array. Raises ValueError unless it holds real numbers."""
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"validate: {tensor} is no array: {error}") from error
    if array.dtype.kind not in "fiub" and array.dtype.name not in ARITHMETICS:
        raise ValueError(f"validate: {tensor} is of {array.dtype}, expected real numbers")
    return array


def place_of(name: str) -> str:
    """Where an operation stands, in whatever step."""
    step, slash, rest = name.partition("/")
    return rest if slash and step.startswith("step") else name


def lies_within(found: np.ndarray, outcome: Rounded) -> bool:
    errors = errors_of(found, outcome.value)
    return errors is not None and bool(np.all((errors <= outcome.total) | (errors == 0)))


def _highest(found: Arrays) -> str:
    """The highest precision among arrays: that in which a framework says to have computed."""
    kinds = {array.dtype.name for array in found.values()} & ARITHMETICS.keys()
    order = list(ARITHMETICS)
    return min(kinds, key=order.index) if kinds else "float32"


@dataclass(frozen=True)
class Measure:
    """How far a tensor is from what it should be."""

    within: bool
    with_jump: bool
    worst: Mapping[str, Any]
    bits: float
    typical: float  # bits of the median error
    grown: float  # the root mean square of y/Q
    seen: float  # the relative fault from which on an entry is out of its bound
    band: float
    note: str = ""

    @classmethod
    def of(cls, found: np.ndarray, outcome: Rounded, trial: Trial) -> "Measure":
        errors = errors_of(found, outcome.value)
        if errors is None:
            note = f"has shape {found.shape}, expected {outcome.value.shape}"
            nothing = {"error": np.inf, "bound": 0.0, "ratio": np.inf, "index": ()}
            numbers = {"found": np.nan, "expected": np.nan}
            return cls(False, False, nothing | numbers, 0.0, 0.0, np.nan, np.nan, np.inf, note)
        bound = np.broadcast_to(outcome.error, errors.shape)
        bound = np.where(np.isnan(bound), 0.0, bound)  # where NaN is right, and nothing else
        ratios = _ratios(errors, bound)
        worst = int(np.argmax(ratios)) if errors.size else 0
        figures = {
            "error": _at(errors, worst),
            "bound": _at(bound, worst),
            "ratio": _at(ratios, worst),
            "index": tuple(int(i) for i in np.unravel_index(worst, errors.shape))
            if errors.size
            else (),
            "found": _at(found, worst),
            "expected": _at(outcome.value, worst),
        }
        within = bool(np.all(errors <= bound))
        if not within:
            figures["factor"] = _factor(found, outcome.value, bound)
        bits, typical, grown = effective_bits(errors, outcome, found.dtype)
        share = trial.arithmetic.band(outcome.roundings)
        return cls(
            within=within,
            with_jump=bool(np.all(errors <= bound + outcome.jump)) and bool(np.any(outcome.jump)),
            worst=figures,
            bits=bits,
            typical=typical,
            grown=grown,
            seen=_seen(errors + bound, outcome.value, found.dtype),
            band=_at(ratios, worst) / share,
        )

    def figures(self) -> dict[str, Any]:
        """What goes into a verdict."""
        return {**self.worst, "bits": self.bits, "band": self.band, "note": self.note}

    def smallest(self, least_bits: float) -> float:
        """The relative fault from which on the bound, or bits that are too few, would show it."""
        if not (self.bits >= least_bits and self.grown > 0):
            return self.seen
        errors = PER_ROUNDED_FACTOR * (2.0**-least_bits + 2.0**-self.bits)
        return float(np.fmin(self.seen, errors / self.grown))


def _multiple(found: np.ndarray, expected: np.ndarray) -> float:
    """The number that, times what is expected, is nearest to what is found; NaN of zeros."""
    squares = np.vdot(expected, expected)
    return float(np.vdot(expected, found) / squares) if 0 < squares < math.inf else math.nan


def _factor(found: np.ndarray, expected: np.ndarray, bound: np.ndarray) -> float:
    """By what everything is multiplied, where that is one number; NaN otherwise.

    It must explain nearly all of the error: of random errors it explains one part in their count.
    """
    found = found.astype(np.float64)
    factor = _multiple(found, expected)
    if found.size < 2 or math.isnan(factor):
        return math.nan
    scaled = factor * expected
    near = np.abs(found - scaled) <= abs(factor) * bound + SAME_FACTOR * np.abs(scaled)
    left, whole = (np.sum(np.square(found - x)) for x in (scaled, expected))
    return factor if np.all(near) and left <= UNEXPLAINED * whole else math.nan


def _at(array: np.ndarray, place: int) -> float:
    """An entry; 0 of an array that has none."""
    return float(array.flat[place]) if array.size else 0.0


def errors_of(found: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    """|found − expected|: 0 where both are the same infinity or both NaN; None for other shapes."""
    if found.shape != expected.shape:
        return None
    found = found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.abs(found - expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isnan(errors), np.inf, errors))


def _ratios(errors: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """errors / bound; 0 of an infinite one, and infinite where none is allowed."""
    with np.errstate(all="ignore"):
        ratios = np.where((errors > 0) & np.isfinite(bound), errors / bound, 0.0)
    return np.where(np.isnan(ratios), np.inf, ratios)


def _seen(reach: np.ndarray, value: np.ndarray, dtype: np.dtype) -> float:
    """The least relative fault that takes an entry farther than this; NaN of what is nearly 0."""
    size = np.abs(value)
    counted = (size > FLUSHED * _smallest_normal(dtype)) & np.isfinite(size)
    return float(np.min(reach[counted] / size[counted])) if np.any(counted) else math.nan


def effective_bits(
    errors: np.ndarray, outcome: Rounded, dtype: np.dtype
) -> tuple[float, float, float]:
    """The effective precision by the root mean square of errors, and by their median; and of y/Q.

    Of normal errors half are below 0.6745 of the root mean square; a single wrong entry is seen in
    the one and not in the other. Of what subnormal numbers make, which may be flushed, only the
    bound tells.
    """
    nothing = math.inf, math.inf, math.nan
    if not np.any(errors > 0):
        return nothing
    size = np.abs(outcome.value.astype(np.float64))
    finite = np.isfinite(size)
    if outcome.scale is not None:
        q = outcome.scale()
    else:
        q = np.full(errors.shape, _root_mean_square(size[finite]) if np.any(finite) else 0.0)
    flushed = FLUSHED * _smallest_normal(dtype)
    if np.all(errors <= q) and np.all(q < flushed):
        return nothing
    counted = (q > flushed) & np.isfinite(q) & np.isfinite(errors) & finite
    if not np.any(counted):
        return 0.0, 0.0, math.nan
    shares = errors[counted] / q[counted]
    sizes = _root_mean_square(shares), float(np.median(shares)) / 0.6745
    rms, median = (-math.log2(x / PER_ROUNDED_FACTOR) if x > 0 else math.inf for x in sizes)
    return rms, median, _root_mean_square(size[counted] / q[counted])


def _smallest_normal(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).smallest_normal) if dtype.kind == "f" else 0.0


def _root_mean_square(x: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(x)))


def _is_stored_in(precision: Precision, found: np.ndarray) -> bool:
    """Whether a precision below the array's own holds all its numbers, which are not all 0."""
    if found.dtype.kind != "f":
        return False
    values = found.astype(np.float64)
    below = precision.bits < np.finfo(found.dtype).nmant + 1
    return below and bool(np.any(values)) and bool(np.array_equal(precision.round(values), values))


def _is_scaled(found: np.ndarray, outcome: Rounded) -> bool:
    """Whether a tensor is the right one times a number, not 1, but for what direct sums round."""
    value, found = outcome.value, found.astype(np.float64)
    factor = _multiple(found, value)
    left = np.abs(found - factor * value)
    return abs(factor - 1) > SCALED and bool(np.all(left <= max(1, abs(factor)) * outcome.error))


def _is_off_by_whole_units(errors: np.ndarray, unit: float) -> bool:
    """Whether errors are whole units, some of them not 0, or near that."""
    whole = np.round(errors / unit)
    return bool(np.any(whole > 0) and np.all(np.abs(errors / unit - whole) < NEARLY))


def _agrees(bits: float, of_precision: float, count: int, fewer: float = 0.0) -> bool:
    """Whether effective bits are those of a precision, as well as so many entries can tell.

    The logarithm of a root mean square of n errors scatters by about 1/√n bits; where one factor of
    two is rounded there is half a bit more. A few errors may all be small by chance. There may be
    fewer for another reason.
    """
    scatter = 3 / math.sqrt(count)
    return -0.5 - scatter - fewer <= bits - of_precision <= 1.0 + max(scatter, BY_CHANCE / count)
