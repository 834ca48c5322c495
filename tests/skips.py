"""The option --all-extras, a plugin of pytest: where every extra is installed nothing is skipped.

Reasons of skips are not searched for the name of a package: a test may be skipped for want of one
without a word of it, as where `parametrize` is given an empty list. So every skip fails but those
for what the machine lacks, which are known.
"""

import pytest

OF_THE_MACHINE = {
    "looks into /proc",
    "needs /dev/full",
    "needs Linux's capabilities",
    "needs named pipes",
    "no fork on this system",
    "the CIFAR-10 sample is not here",
}


def pytest_addoption(parser):
    parser.addoption(
        "--all-extras",
        action="store_true",
        help="every extra is installed: a test that is skipped for want of a package fails",
    )


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return _not_skipped(collector.config, report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    return _not_skipped(item.config, report)


def _not_skipped(config, report):
    """The report of a module or a test, as one of a failure where it must not be skipped."""
    if config.getoption("--all-extras") and report.skipped and not hasattr(report, "wasxfail"):
        path, line, reason = report.longrepr
        reason = reason.removeprefix("Skipped: ")
        if reason not in OF_THE_MACHINE:
            report.outcome = "failed"
            report.longrepr = (
                f"{path}:{line}: skipped in spite of --all-extras: {reason}\n"
                "A reason that is the machine's belongs into OF_THE_MACHINE in tests/skips.py."
            )
    return report
