"""npkd.proofs: everything in the package passes all of its checks, on cases of Hypothesis's.

`python -m pytest tests/test_proofs.py --examples 1000` does it on many; the worst errors stand at
the end of the run.
"""

import numpy as np
import pytest
from conftest import WORST
from hypothesis import given, settings
from hypothesis import strategies as st

from npkd import losses, ops, proofs
from npkd.proofs import PROOFS, Finding
from npkd.proofs.cases import CASES, LOSSES, OPS
from npkd.proofs.checks import close
from npkd.testing import cases, seeds

CHECKS = [(name, check) for name, proof in PROOFS.items() for check in proof.checks]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=map(" ".join, CHECKS))
def test_everything_passes_its_checks(name, check, request):
    proof, found = PROOFS[name], []

    @settings(
        max_examples=proof.examples(request.config.getoption("examples")),
        deadline=None,
        database=None,
    )
    @given(case=cases(name), seed=seeds)
    def passes(case, seed):
        found.append(proof.checks[check](proof.subject, case, np.random.default_rng(seed)))

    passes()
    worst = max(found, key=lambda finding: finding.relative)
    request.config.stash.setdefault(WORST, []).append((name, check, len(found), worst.relative))


def test_there_is_a_proof_for_everything():
    assert list(PROOFS) == list(CASES)
    assert set(ops.__all__) == set(OPS)
    assert set(losses.__all__) == {*LOSSES, "conventions"}  # that is a table


def test_a_row_holds_the_worst_of_all_examples():
    (row,) = proofs.prove(["conv2d"], examples=3, seed=0)
    assert (row.name, row.checks, row.examples, row.failures) == ("conv2d", 6, 3, ())
    assert 0 < row.value.relative < 1e-14
    assert 0 < row.gradient.relative < 1e-14
    assert row.gradient.where.split(",")[0] in PROOFS["conv2d"].checks


def test_what_fails_is_told_with_its_case_and_the_rest_goes_on(monkeypatch):
    def wrong(x):
        y, backward = ops.relu(x)
        return y, lambda dy: 1.001 * backward(dy)

    checks = PROOFS["relu"].checks | {"broken": lambda subject, case, rng: 1 / 0}
    monkeypatch.setitem(PROOFS, "relu", proofs.Proof(wrong, checks))
    (row,) = proofs.prove(["relu"], examples=2, seed=0)
    failed = {failure.split(",")[0] for failure in row.failures}
    assert failed == {"direction", "entries", "broken"}
    assert any("ZeroDivisionError" in failure for failure in row.failures)
    assert any("gradient is wrong" in failure for failure in row.failures)
    assert all("relu of x (" in failure for failure in row.failures)


@given(name=st.sampled_from([name for name in CASES if name != "LargeCNN"]), seed=seeds)
@settings(max_examples=12, deadline=None)  # of the document's nets the small one is quick
def test_examples_depend_on_nothing_but_the_seed(name, seed):
    (row,), (again,) = (proofs.prove([name], examples=1, seed=seed) for _ in range(2))
    assert row == again


def test_a_value_that_is_off_is_named_with_its_index():
    expected = np.ones((2, 3))
    off = expected.copy()
    off[1, 2] += 1e-11
    with pytest.raises(AssertionError, match=r"value at \(1, 2\) is 1\.0+1, expected 1; .* 1e-1"):
        close(off, expected, "the value")
    with pytest.raises(AssertionError, match=r"has shape \(2,\), expected \(2, 3\)"):
        close(off[:, 0], expected, "the value")
    with pytest.raises(AssertionError):
        close(expected * np.nan, expected, "the value")
    assert close(expected, expected, "the value") == Finding(0.0, "the value at (0, 0)")
