"""The release matrix: every wrong program is rejected by its name, and right ones are called right.

The programs are those of `benchmarks.verdicts.in_torch` and `benchmarks.verdicts.in_jax`, real ones
that know nothing of the judge's rules for faults; each runs on one instance of its subject. More of
them, and how fixed tolerances compare: `python -m benchmarks.verdicts`.
"""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.verdicts import correct, judged
from benchmarks.verdicts.programs import UNLISTED
from npkd import ops, validate
from npkd.objectives import Objective, Term
from npkd.validate import BUG, CONVENTION, judge
from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.faults.known import FAULTS
from npkd.validate.judging.causes import NOT_FINITE
from npkd.validate.questions import exchange

pytestmark = pytest.mark.filterwarnings("ignore")  # frameworks warn of what is wrong on purpose

SEED = 9
PROGRAMS = judged.wrong_programs()
RIGHT = {} if find_spec("torch") is None else dict(judged.right_programs("PyTorch"))
RIGHT.pop("LargeCNN", None)  # it takes seconds; `SmallCNN` is the same at a smaller size


@pytest.fixture(autouse=True, scope="module")
def _unoptimised():
    """What is wrong with JAX's programs is so however they are compiled: this is quicker."""
    if find_spec("jax") is None:
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The programs are small: several threads only wait for each other."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def probes_of(subject):
    """One instance of a subject, the same for all programs."""
    return tuple(judged.instance(subject, SEED, 0))


def name_of(program):
    return f"{program.number} {program.source} {program.about}: {program.subject}"


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_a_wrong_program_is_rejected_by_its_name(program):
    report, _ = judged.judged(program.run, probes_of(program.subject))
    assert judged.naming(program, report) == "rightly", str(report)
    conventions = {fault.name for fault in FAULTS if fault.convention}
    if program.is_precision:
        assert report.ok, "a lower precision is no bug"
    elif conventions.issuperset(program.faults):
        assert report.ok, "another valid choice is no bug"
        assert CONVENTION in {one.verdict for one in report.verdicts}
    else:
        assert report.first.verdict == BUG
        is_pipeline = not judged.PIPELINE.isdisjoint(program.faults)
        assert all(cause.pipeline == is_pipeline for cause in report.causes)


# Of some faults one program that computes a net, or trains one: in all of its parts there is one.
OF_NETS = {
    one.number: one
    for one in PROGRAMS
    if one.subject in ("SmallCNN", "distillation")
    and one.number in (2, 9, 16, 18, 20, 22, 24, 26, 27, 33)
}


@pytest.mark.parametrize("program", OF_NETS.values(), ids=name_of)
def test_what_must_be_given_is_enough_to_find_it_out(program):
    """Without the tensors in between wrong programs are rejected, and by the same name."""
    probes = probes_of(program.subject)
    found = [{k: x for k, x in program.run(case).items() if k in case.needed} for case in probes]
    report = judge(zip(probes, found, strict=True))
    assert judged.naming(program, report) == "rightly", str(report)


@pytest.mark.parametrize("subject", RIGHT)
def test_a_right_program_is_called_right(subject):
    report, _ = judged.judged(RIGHT[subject], probes_of(subject))
    report.check()
    assert {one.precision for one in report.verdicts} == {"float32"}


@pytest.mark.skipif(find_spec("torch") is None, reason="the programs are in PyTorch")
def test_every_fault_has_a_program():
    assert {program.number for program in PROGRAMS} == {UNLISTED, *range(1, 34)}
    asked = exchange.vocabulary().keys()  # what recorded steps alone have, test_validate_step is on
    known = {fault.name for fault in FAULTS if not asked.isdisjoint(fault.rules)}
    known |= {one.fault for one in PROPERTIES.values()}
    known.add(NOT_FINITE)
    named = {name for program in PROGRAMS for name in program.faults}
    assert named == known | {"TF32", "bfloat16", "float16"}


@pytest.mark.skipif(find_spec("torch") is None, reason="the step is PyTorch's")
@pytest.mark.parametrize("what", ["training mode", "trainable"])
def test_a_teacher_with_batch_norm_that_changes_is_named_by_what_changes(what):
    import torch
    import torch.nn.functional as F

    torch.manual_seed(SEED)
    norm = torch.nn.BatchNorm2d(4)
    large = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), norm, torch.nn.Flatten(), torch.nn.Linear(4 * 9, 7)
    )
    large.train(what == "training mode")
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 7))
    trained = [*small.parameters(), *(large.parameters() if what == "trainable" else ())]
    sgd = torch.optim.SGD(trained, lr=0.1)
    x = torch.randn(6, 3, 5, 5)

    def step():
        with torch.set_grad_enabled(what == "trainable"):
            target = large(x)
        loss = 0.5 * F.mse_loss(small(x), target, reduction="sum") / len(x)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    named = {"teacher in training mode" if what == "training mode" else "teacher trainable"}
    objective = Objective(label_weight=0, terms=[Term("l2")])
    report = validate.torch_step(step, small, teacher=large, optimizer=sgd, objective=objective)
    assert {name for cause in report.causes for name in cause.faults} == named


def log_softmax_by(log):
    """log softmax from probabilities, as a logarithm of one's own has it; and its gradient."""

    def run(case):
        x, dy = case.inputs["x"], case.inputs["dy"]
        axis = case.operations[0].options.get("axis", -1)
        y, backward = ops.log_softmax(x, axis)
        with np.errstate(all="ignore"):
            return {"y": log(np.exp(y), y).astype(np.float32), "dx": backward(dy)}

    return run


@pytest.mark.parametrize(
    "log",
    [
        lambda p, _: np.log(p),
        lambda p, _: np.log(p + np.float32(1e-8)),
        lambda p, _: np.log(np.maximum(p, np.float32(1e-12))),
        lambda _, y: np.maximum(y, -64),
    ],
    ids=["log(softmax)", "log(p + 1e-8)", "log of p clamped", "stops at -64"],
)
def test_logarithms_that_take_no_care_are_found_out_by_saturated_logits(log):
    report, _ = judged.judged(log_softmax_by(log), probes_of("log_softmax"))
    assert report.first.verdict == BUG
    assert "log_softmax saturated" in {one.case for one in report.verdicts if one.verdict == BUG}


@pytest.mark.parametrize("order", ["in order", "reversed", "permuted", "blocked", "pairwise"])
def test_sums_in_any_order_are_right(order):
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        pairs = next(correct.of_order(rng, order))
        report = judge(pairs)
        report.check()
        assert not pairs[0][0].exact or all(one.error == 0 for one in report.verdicts)


def test_losses_on_permuted_samples_and_classes_are_right():
    pairs = correct.of_npkd(np.random.default_rng(SEED))
    for _ in range(40):
        judge(next(pairs)).check()


@pytest.mark.skipif(find_spec("torch") is None, reason="the precisions are PyTorch's")
def test_the_tables_have_a_row_for_each_line_of_figures():
    figures = judged.precision(1, SEED, [27])
    assert len(judged.table_of_precision(figures).splitlines()) == 2 + len(figures["rows"])
    one = correct.Correct()
    one.add(next(correct.of_order(np.random.default_rng(SEED), "reversed")))
    rows = {"seconds": 1.0, "computers": {"NumPy": vars(one)}}
    assert "NumPy" in correct.table_of_correct(rows)
