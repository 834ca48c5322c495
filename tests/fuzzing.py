"""Malformed inputs tried and counted, a plugin of pytest: the fixtures `attempt` and `inputs`.

Each input is refused in one line or taken: no other exception, no warning, no hang, no memory
beyond MEMORY. `--inputs N` sets how many there are; the figures by kind stand at the end.
"""

import signal
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

FUZZED = pytest.StashKey[Counter[tuple[str, str, str]]]()  # what, kind, outcome
MEMORY = 2**26  # bytes that reading a malformed file of less than a MB may take
SECONDS = 60  # after which an input counts as a hang


class Hang(BaseException):
    """Not an Exception, so that no reader takes it for a fault of its input."""


@pytest.fixture
def attempt(request, tmp_path) -> Iterator[Callable[[str, str, Callable[[], Any]], Any]]:
    """Tries one input, and counts what came of it."""
    outcomes: Counter[tuple[str, str, str]] = Counter()

    def expired(*_: object) -> None:
        raise Hang

    def attempt(target: str, kind: str, action: Callable[[], Any]) -> Any:
        """The action's result, or None if it was refused."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = None
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                result = action()
            outcome = "accepted"
        except ValueError as error:  # BadInput, or of the API
            message = str(error)
            assert message, kind
            assert len(message.splitlines()) == 1, message
            outcome = "refused"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert [str(warning.message) for warning in warned] == []
        assert tracemalloc.get_traced_memory()[1] - before < MEMORY, kind
        outcomes[target, kind, outcome] += 1
        return result

    handler = signal.signal(signal.SIGALRM, expired)
    tracemalloc.start()
    yield attempt
    tracemalloc.stop()
    signal.signal(signal.SIGALRM, handler)
    request.config.stash.setdefault(FUZZED, Counter()).update(outcomes)


@pytest.fixture
def inputs(request) -> Callable[[float], range]:
    """A share of all inputs, in so many rounds."""
    return lambda share: range(round(share * request.config.getoption("--inputs")))


def pytest_addoption(parser):
    parser.addoption(
        "--inputs",
        type=int,
        default=1_000,
        metavar="N",
        help="malformed inputs for tests/test_fuzz*.py, about (1,000)",
    )


def pytest_terminal_summary(terminalreporter, config):
    write = terminalreporter.write_line
    fuzzed = config.stash.get(FUZZED, Counter())
    if fuzzed:
        terminalreporter.section("malformed inputs, by test_fuzz*.py")
        write(f"{'':56}  refused  read as sound")
        for row in sorted({(target, kind) for target, kind, _ in fuzzed}):
            refused, accepted = (fuzzed[*row, outcome] for outcome in ("refused", "accepted"))
            write(f"{': '.join(row):<56}{refused:>9,}{accepted:>15,}")
        of = {
            outcome: sum(fuzzed[key] for key in fuzzed if key[2] == outcome)
            for outcome in ("refused", "accepted")
        }
        write(f"{'all ' + format(fuzzed.total(), ','):<56}{of['refused']:>9,}{of['accepted']:>15,}")
