"""Known faults of losses."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.losses.facts import FACTS
from npkd.validate.bounds.rounding import Arithmetic, Rounded
from npkd.validate.bounds.rules import RULES, Inputs, Options, added, scaled
from npkd.validate.bounds.rules import Rule as RightRule
from npkd.validate.faults.fault import Context, Fault, Results, Rule, inputs, options


def _loss(rule: Rule, *names: str) -> dict[str, Rule]:
    """A rule for losses, and for the same as the soft part of `mix`."""
    return dict.fromkeys(names, rule) | {"mix": _in_mix(rule, names)}


def _in_mix(soft: Rule, names: tuple[str, ...]) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        name = given.get("soft", "l2")
        if name not in names:
            return right(a, x, given)
        part = soft(RULES[name], a, _outputs(x), given.get("soft_options", {}), at)
        return _mixed(a, RULES["cross_entropy"](a, *_hard(x, given)), part, given)

    return rule


def _with_hard(hard: Rule) -> Rule:
    """`mix` with another loss to the labels."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        inputs, options = _hard(x, given)
        temperature = _temperature(given.get("soft_options", {}), at)
        of_labels = hard(
            RULES["cross_entropy"], a, inputs, {**options, "temperature": temperature}, at
        )
        soft = RULES[given.get("soft", "l2")](a, _outputs(x), given.get("soft_options", {}))
        return _mixed(a, of_labels, soft, given)

    return rule


def _outputs(x: Inputs) -> Inputs:
    return {key: x[key] for key in ("student", "teacher")}


def _hard(x: Inputs, given: Options) -> tuple[Inputs, Options]:
    """The inputs and the options of the loss to the labels in `mix`."""
    return {"logits": x["student"], "labels": x["labels"]}, given.get("hard_options", {})


def _mixed(a: Arithmetic, hard: Results, soft: Results, given: Options) -> Results:
    return {
        key: added(
            a, scaled(a, 1 - given["alpha"], hard[key]), scaled(a, given["alpha"], soft[key])
        )
        for key in ("value", "gradient")
    }


def _one_net_twice(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Both sides are the teacher's, or the student's: there is no gradient but for rounding."""
    of_student = right(a, {**x, "teacher": x["student"]}, given)
    of_teacher = right(a, {**x, "student": x["teacher"]}, given)
    value, gradient = (
        replace(of_teacher[name], error=np.maximum(of_teacher[name].error, of_student[name].error))
        for name in ("value", "gradient")
    )
    return {"value": value, "gradient": replace(gradient, value=np.zeros_like(gradient.value))}


def _soft_detached(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The hard loss alone has a gradient."""
    results = right(a, x, given)
    hard = {"logits": x["student"], "labels": x["labels"]}
    gradient = RULES["cross_entropy"](a, hard, given.get("hard_options", {}))["gradient"]
    return {**results, "gradient": scaled(a, 1 - given["alpha"], gradient)}


def _ascent(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    return right(a, x, {**given, "lr": -given["lr"]})


def _rising_at_zero(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """|Δ| with the slope 1 at Δ = 0, as jnp.abs has it."""
    below = np.where(x["student"].value == x["teacher"].value, 1.0, 0.0)
    moved = replace(x["teacher"], value=x["teacher"].value - below)
    gradient = right(a, {**x, "teacher": moved}, given)["gradient"]
    return {**right(a, x, given), "gradient": gradient}


def _temperature(given: Options, at: Context) -> float:
    """The T of a loss, alone or as the soft part of `mix`."""
    op = at.operation.op
    loss = at.operation.options.get("soft", "l2") if op == "mix" else op
    return float(given.get("temperature", FACTS[loss].options["temperature"]))


def _by_temperature(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """T where T² belongs."""
    share = 1 / _temperature(given, at)
    return {name: scaled(a, share, result) for name, result in right(a, x, given).items()}


def _of_hot_student(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The student's logits are not divided by T, which is as if they were T times as large."""
    t = _temperature(given, at)
    student = replace(x["student"], value=t * x["student"].value, error=t * x["student"].error)
    results = right(a, {**x, "student": student}, given)
    return {**results, "gradient": scaled(a, t, results["gradient"])}


def _of_hot_teacher(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The teacher's logits are not divided by T."""
    t, teacher = _temperature(given, at), x["teacher"]
    return right(
        a,
        {**x, "teacher": replace(teacher, value=t * teacher.value, error=t * teacher.error)},
        given,
    )


def _temperature_twice(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Logits that are divided by T already are divided by it again; the factor is T² still."""
    t = _temperature(given, at)
    results = right(a, x, {**given, "temperature": t**2, "temperature_squared": False})
    return {name: scaled(a, t**2, result) for name, result in results.items()}


def _labels_times_t2(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The labels' loss has the factor T² that is the soft one's."""
    results = right(a, x, {})
    return {name: scaled(a, given["temperature"] ** 2, one) for name, one in results.items()}


def _labels_by_t(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The labels' loss is of the logits over T."""
    t = given["temperature"]
    results = right(a, {**x, "logits": scaled(a, 1 / t, x["logits"])}, {})
    return {**results, "gradient": scaled(a, 1 / t, results["gradient"])}


def _weighted(
    a: Arithmetic, logits: Rounded, weights: np.ndarray, t: float = 1.0, factor: float = 1.0
) -> Results:
    """−factor/B Σ w log softmax(logits / t), whatever w is, and its gradient by the logits.

    A weight may be off by what a logarithm of a probability near 1 is, some units of 1.
    """
    z = logits.value / t
    log_q = z - z.max(axis=1, keepdims=True)
    log_q = log_q - np.log(np.exp(log_q).sum(axis=1, keepdims=True))
    q, share = np.exp(log_q), factor / len(z)
    gamma = a.gamma(z.size + 64) * (1 + np.abs(z).max(axis=1, keepdims=True))
    size = np.abs(weights) + 1
    total, sizes = (w.sum(axis=1, keepdims=True) for w in (weights, size))
    with np.errstate(invalid="ignore"):  # 0 · −∞ of a class that is ruled out
        value = -share * np.sum(weights * log_q)
        error = abs(share) * np.sum(gamma * size * (1 + np.abs(log_q)))
    gradient = share / t * (q * total - weights)
    off = share / t * gamma * (q * sizes + size)
    return {
        "value": Rounded(np.asarray(value), np.asarray(error), roundings=64),
        "gradient": Rounded(gradient, off, roundings=64),
    }


def _smoothed(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """Label smoothing of 0.1, the usual amount: a tenth of each target is shared by all classes."""
    classes = x["logits"].value.shape[1]
    return _weighted(
        a, x["logits"], 0.9 * np.eye(classes)[np.asarray(x["labels"].value)] + 0.1 / classes
    )


def _to_logits(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """cross_entropy(student, teacher) takes the teacher's logits for probabilities."""
    return _weighted(a, x["student"], x["teacher"].value)


def _log_targets(is_log: bool) -> Rule:
    """kl_div with log_target the other way round.

    is_log: probabilities p taken for logarithms, Σ eᵖ (p − log q); else logarithms log p taken for
    probabilities, Σ log p (log log p − log q), whose value is not a number.
    """

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        t, z = _temperature(given, at), x["teacher"].value
        z = z / t - np.max(z / t, axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        results = _weighted(a, x["student"], np.exp(p) if is_log else log_p, t, t**2)
        value = results["value"]
        more = t**2 / len(z) * np.sum(np.exp(p) * p) if is_log else np.nan
        error = value.error + a.gamma(z.size + 64) * more
        return {**results, "value": replace(value, value=value.value + more, error=error)}

    return rule


def _added_up(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The hard loss and α times the soft one, without the share 1 − α."""
    hard = {"logits": x["student"], "labels": x["labels"]}
    more = RULES["cross_entropy"](a, hard, given.get("hard_options", {}))
    return {
        name: added(a, result, scaled(a, given["alpha"], more[name]))
        for name, result in right(a, x, given).items()
    }


def _by_first_batch(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """A mean over a ragged batch, divided by the size of a whole one."""
    argument = "logits" if "logits" in x else "student"
    sizes = [at.tensor(one.inputs[argument]).value.shape[0] for one in at.alike()]
    share = x[argument].value.shape[0] / max(sizes)
    results = right(a, x, given)
    return {name: scaled(a, share, result) for name, result in results.items()}


def _as_mse_loss(given: Options) -> dict[str, Any]:
    if given.get("reduction") == "elementmean":
        raise ValueError("an elementwise mean is right here")
    return {"half": False, "reduction": "elementmean"}


def _mean_of_means(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The mean over a data set as that of its batches' means, the ragged one counting as much."""
    makers = {tensor: one for one in at.case.operations for tensor in one.outputs.values()}
    means = []
    for name, tensor in at.operation.inputs.items():
        logits = at.tensor(makers[tensor].inputs["logits"]).value
        means.append(scaled(a, 1 / len(logits), x[name]))
    return {"y": scaled(a, 1 / len(means), functools.reduce(functools.partial(added, a), means))}


def _negative_gradient(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    results = right(a, x, given)
    return {**results, "gradient": scaled(a, -1.0, results["gradient"])}


def _without_gradient(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    results = right(a, x, given)
    return {**results, "gradient": Rounded(np.zeros_like(results["gradient"].value))}


def _shifted(axis: int, step: int) -> Rule:
    """The teacher's outputs rolled against the student's."""
    return inputs(teacher=lambda teacher: np.roll(teacher, step, axis))


ON_OUTPUTS = {name: facts for name, facts in FACTS.items() if facts.layers == "output"}
OF_TEMPERATURE = [n for n, facts in ON_OUTPUTS.items() if facts.options.get("temperature_squared")]
OF_TEACHER = [name for name, facts in ON_OUTPUTS.items() if "teacher" in facts.arrays]
OF_LOGITS = [*OF_TEMPERATURE, "l2"]
BATCH_MEANS = [name for name, facts in ON_OUTPUTS.items() if "elementmean" in facts.reductions]
DIVERGENCES = [name for name in BATCH_MEANS if name in OF_TEMPERATURE]

LOSS_FAULTS = [
    Fault(
        "KL averaged over all entries, reduction mean for batchmean: C times too small",
        _loss(options(reduction="elementmean"), *DIVERGENCES),
    ),
    Fault("T where T² belongs", _loss(_by_temperature, *OF_TEMPERATURE)),
    Fault("temperature for the teacher alone", _loss(_of_hot_student, *DIVERGENCES)),
    Fault("temperature for the student alone", _loss(_of_hot_teacher, *DIVERGENCES)),
    Fault("temperature twice", _loss(_temperature_twice, *OF_TEMPERATURE)),
    Fault("T² on the labels' loss too", {"mix": _with_hard(_labels_times_t2)}),
    Fault("T in the labels' loss too", {"mix": _with_hard(_labels_by_t)}),
    Fault(
        "label smoothing left on",
        {"cross_entropy": _smoothed, "mix": _with_hard(_smoothed)},
    ),
    Fault(
        "teacher's logits as targets of cross-entropy",
        _loss(_to_logits, "l2", "kl", "soft_cross_entropy"),
    ),
    Fault("log_target with probabilities", _loss(_log_targets(True), "kl")),
    Fault("log-probabilities without log_target", _loss(_log_targets(False), "kl")),
    *(
        Fault(f"teacher's {what} shifted by one{way}", _loss(_shifted(axis, step), *OF_TEACHER))
        for axis, what in enumerate(("rows", "classes"))
        for step, way in ((1, ""), (-1, ", to the front"))
    ),
    Fault(
        "α and 1 − α exchanged",
        {"mix": options(lambda given: {"alpha": 1 - given["alpha"]})},
    ),
    Fault("share 1 − α of the labels left out", {"mix": _added_up}),
    Fault("factor T² missing", _loss(options(temperature_squared=False), *OF_TEMPERATURE)),
    Fault("probabilities given as log-probabilities", _loss(options(variant="unlogged"), "kl")),
    Fault("KL reversed", _loss(options(variant="reversed"), "kl")),
    Fault(
        "KL reversed, and probabilities given as log-probabilities",
        _loss(options(variant="reversed unlogged"), "kl"),
    ),
    Fault("one net's logits on both sides", _loss(_one_net_twice, *OF_LOGITS)),
    Fault(
        "softmax over the batch",
        _loss(options(axis=0), *DIVERGENCES) | {"cross_entropy": options(axis=0)},
    ),
    Fault(
        "double softmax",
        _loss(options(double_softmax=True), *DIVERGENCES)
        | {"cross_entropy": options(double_softmax=True)},
    ),
    Fault(
        "cross-entropy with prediction and target exchanged",
        {name: options(swapped=True) for name in ("cross_entropy", "soft_cross_entropy")},
    ),
    Fault("½ missing in L2", _loss(options(half=False), "l2")),
    Fault(
        "elementwise mean for the mean over the batch: C times too small",
        _loss(options(reduction="elementmean"), "l2", "l1", "huber", "limit"),
    ),
    Fault(
        "mse_loss as it comes: ½ missing, and an elementwise mean",
        _loss(options(_as_mse_loss), "l2"),
    ),
    Fault("slope 1 of L1 at 0", {"l1": _rising_at_zero}, convention="as jnp.abs has it"),
    Fault("sum for the mean over the batch", _loss(options(reduction="sum"), *BATCH_MEANS)),
    Fault(
        "sign of the gradient",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix", "dkd", "dist"), _negative_gradient),
    ),
    Fault(
        "student detached: no gradient",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix", "dkd", "dist"), _without_gradient),
    ),
    Fault("student detached in the soft loss", {"mix": _soft_detached}),
    Fault("sign of the update", {"sgd": _ascent}),
    Fault(
        "ragged last batch divided by the size of a whole one",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix"), _by_first_batch),
    ),
    Fault("ragged last batch counted as a whole one", {"sum": _mean_of_means}),
]
