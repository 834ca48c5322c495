"""Options of the test run, what holds for all of it, and the tables at its end."""

import os
import pickle
import sys
from collections import Counter

# As for the command, and before NumPy is imported: products of tests are too small to be shared
# out, and on a busy machine the threads of a BLAS wait for each other longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from mutants import KILLS

from npkd.distill import evaluate

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

pytest_plugins = ["fuzzing", "skips"]  # --inputs, --all-extras

ANSWERS = pytest.StashKey[Counter[tuple[str, str]]]()  # right or wrong, what it was called
KILLED = pytest.StashKey[Counter[str]]()  # runs by the step that they were killed in
STALE = pytest.StashKey[list[str]]()  # figures of other code
WORST = pytest.StashKey[list[tuple[str, str, int, float]]]()  # name, check, examples, error


@pytest.fixture(autouse=True, scope="session")
def _latency_in_few_runs():
    """Whole runs are many in these tests; how long a forward pass takes is not what they ask."""
    evaluate.WARM_UP_RUNS = evaluate.LATENCY_RUNS = 1


@pytest.fixture(scope="module")
def one_torch_thread():
    """On small arrays or a busy machine, threads wait for each other longer than they compute."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Broken:
    """Finds matplotlib, and fails to import it, as it does where MPLBACKEND is nonsense."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "matplotlib":
            raise ValueError("Key backend: 'nonsense' is not a valid value for backend")


@pytest.fixture
def broken_matplotlib():
    """MPLBACKEND is nonsense, until this is undone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
        patch.setenv("MPLBACKEND", "nonsense")
        yield patch


def pytest_addoption(parser):
    parser.addoption(
        "--examples",
        type=int,
        default=12,
        metavar="N",
        help="random cases for each check of npkd.proofs (12)",
    )
    parser.addoption(
        "--gradients",
        type=int,
        default=200,
        metavar="N",
        help="right and wrong gradients for tests/test_gradcheck_answers.py, of each (200); above "
        "200, more of what is random in tests/test_gradcheck.py too",
    )
    parser.addoption(
        "--digits",
        action="store_true",
        help="all cases of tests/test_losses_digits.py, for minutes",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=2,
        metavar="N",
        help="runs that tests/test_resume.py kills and goes on with (2)",
    )


def _tables():
    from fuzzing import FUZZED  # not before pytest has, as a plugin

    return ANSWERS, FUZZED, KILLED, KILLS, STALE, WORST


def pytest_sessionfinish(session):
    """Of several processes (`-n`), each hands on what it has for the tables at the end."""
    if hasattr(session.config, "workeroutput"):
        found = [session.config.stash.get(table, None) for table in _tables()]
        session.config.workeroutput["tables"] = pickle.dumps(found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """The one that started them puts it together; a process that died has handed nothing on."""
    handed_on = node.workeroutput.get("tables") if hasattr(node, "workeroutput") else None
    for table, found in zip(_tables(), pickle.loads(handed_on) if handed_on else (), strict=False):
        if found:
            node.config.stash[table] = node.config.stash.get(table, type(found)()) + found


def pytest_terminal_summary(terminalreporter, config):
    write = terminalreporter.write_line
    kills = config.stash.get(KILLS, [])
    if kills:
        terminalreporter.section("mutants, and what rejected them (by which case)")
        for mutant, _, check, cases in kills:
            write(f"{mutant:<72} {check}" + (f" ({cases})" if cases > 1 else ""))
        write(f"{len(kills)} mutants rejected")
    worst = config.stash.get(WORST, [])
    if worst:
        terminalreporter.section("worst relative errors, by test_proofs.py")
        for name in dict.fromkeys(name for name, *_ in worst):
            rows = [row for row in worst if row[0] == name]
            errors = ", ".join(f"{check} {error:.1e}" for _, check, _, error in rows if error)
            write(f"{name:<20}{sum(row[2] for row in rows):>7} examples: {errors or 'exact'}")
        write(f"{'all':<20}{sum(row[2] for row in worst):>7} examples")
    answers = config.stash.get(ANSWERS, Counter())
    if answers:
        terminalreporter.section(
            "gradients, and what they were called, by test_gradcheck_answers.py"
        )
        for kind in ("right", "wrong"):
            of = {word: count for (k, word), count in sorted(answers.items()) if k == kind}
            write(f"{sum(of.values()):,} {kind}: {', '.join(f'{of[w]:,} {w}' for w in of)}")
    killed = config.stash.get(KILLED, Counter())
    if killed:
        terminalreporter.section("runs killed and gone on with, by test_resume.py")
        write(", ".join(f"{step}: {killed[step]}" for step in sorted(killed)))
    stale = config.stash.get(STALE, [])
    if stale:
        terminalreporter.section("figures in READMEs that were measured with other code")
        write(", ".join(line.split(" (")[0] for line in stale))
        write("python -m benchmarks.figures says how each is measured")
