"""Every mutant of tests/mutants/ is rejected by the check that is meant to, real code by none.

Which check rejected which mutant, and after how many cases, stands at the end of the run.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from mutants import CHECKS, KILLS, MUTANTS, build, rejection

from npkd import ops
from npkd.engine import threads
from npkd.gradcheck import trial
from npkd.proofs import PROOFS

MOST_CASES = 100


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """Of a wrong gradient it need not be found which entry is; arrays are too small for threads."""
    monkeypatch.setattr(trial, "MOST_TO_LOCATE", 0)
    with threads.one_blas_thread():
        yield


@pytest.mark.parametrize("page", ["README.md", "tests/README.md"])
def test_a_page_says_how_many_there_are(page):
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    said = re.findall(r"(\d+) (?:wrong versions|mutants rejected)", text)
    assert said
    assert set(said) == {str(len(MUTANTS))}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_mutant_is_rejected(mutant, request):
    judged = {}  # in large slices and in small ones; most are rejected before the second is made
    for seed in range(MOST_CASES):
        small_slices = seed % 2 == 1
        if small_slices not in judged:
            judged[small_slices] = build(mutant.subject, mutant, small_slices)
        check = rejection(mutant.subject, judged[small_slices], seed, mutant.by)
        if check:
            kill = (str(mutant), mutant.place, check, seed + 1)
            request.config.stash.setdefault(KILLS, []).append(kill)
            return
    pytest.fail(f"the check of {mutant.by} does not reject it on {MOST_CASES} cases")


@pytest.mark.parametrize("subject", sorted({mutant.subject for mutant in MUTANTS}))
def test_the_right_code_is_accepted(subject):
    judged = [build(subject, small_slices=small_slices) for small_slices in (False, True)]
    for seed in range(PROOFS[subject].examples(8) if subject in PROOFS else 4):
        assert rejection(subject, judged[seed % 2], seed) == ""


def test_there_are_many_mutants_of_everything_and_no_two_are_the_same():
    assert len(MUTANTS) >= 60
    assert len({(mutant.place, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert len(set(map(str, MUTANTS))) == len(MUTANTS)
    assert set(CHECKS) - {mutant.subject for mutant in MUTANTS} == {"LargeCNN"}  # as SmallCNN


def test_a_mutant_is_made_of_a_copy_and_leaves_the_real_modules_alone():
    mutant = next(m for m in MUTANTS if str(m) == "relu: leaky")
    real, x = ops.relu, np.array([-1.0, 1.0])
    assert build("relu", mutant)(x)[0].tolist() == [-0.01, 1.0]
    assert build("relu")(x)[0].tolist() == ops.relu(x)[0].tolist() == [0.0, 1.0]
    assert build("relu") is not ops.relu is real
