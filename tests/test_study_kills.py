"""`npkd study` killed, stopped, or out of disk: nothing is left at work, and it goes on later.

Its nets are small, and its processes distil for hours: until they are killed.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import studies
import tiny
from studies import AtOnce

from npkd import cli
from npkd.engine import threads
from npkd.study import command, running

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# A shell lets what it starts in the background ignore Ctrl-C, and the tests may run there.
SMALL_NETS = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules["matplotlib"] = None
import studies
from npkd import cli
from npkd.distill import checkpoint
from npkd.study import processes
studies.shrink()
processes._obey = studies.obey
"""
THE_COMMAND = "sys.exit(cli.main(sys.argv[1:]))"

KILLED_AS_IT_WRITES_THE_SECOND = """
fsync, written = os.fsync, []
os.fsync = lambda file: written.append(file) or len(written) < 2 or os.kill(os.getpid(), 9)
"""
STOPPED_AS_IT_WRITES_THE_SECOND = KILLED_AS_IT_WRITES_THE_SECOND.replace("9)", "15)")
WITHOUT_SPACE_FOR_A_LARGE_NET = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
"""
READ_ONLY_AFTER_THE_FIRST = """
import ctypes  # letting go of root's power over files
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)())
write = checkpoint.write
checkpoint.write = lambda path, *rest: write(path, *rest) or os.chmod(path.parent, 0o555)
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Of the command, but for --out."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(studies.TEXT)
    return ["study", str(folder / "study.toml"), "--data", tiny.file(folder), "--workers", "2"]


@pytest.fixture(scope="module")
def undisturbed(arguments, tmp_path_factory):
    """study.json of a study that nothing happened to."""
    return result(arguments, tmp_path_factory.mktemp("undisturbed") / "out")


def result(arguments, folder, *more):
    """study.json, made in this process."""
    with pytest.MonkeyPatch.context() as patch, studies.small_nets():
        patch.setattr(command, "Processes", lambda *_: AtOnce())
        patch.setattr(threads, "_num_threads", threads._num_threads)
        patch.setitem(sys.modules, "matplotlib", None)
        assert cli.main([*arguments, "--out", str(folder), *more]) == 0
    return (folder / running.RESULT).read_bytes()


def start(arguments, folder, before=""):
    """The command in a session of its own, which does this before it begins."""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", SMALL_NETS + before + THE_COMMAND),
            *(*arguments, "--out", str(folder)),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def session(process):
    """The processes of its session that are at work, itself included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of, *_ = path.read_text().rpartition(")")[2].split()
            found += [path.parent.name] * (int(of) == process.pid and state != "Z")
    return found


def left(process):
    """The processes that are still at work five seconds after its end; they are then killed."""
    until = time.monotonic() + 5
    while session(process) and time.monotonic() < until:
        time.sleep(0.02)
    found = session(process)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return found


@pytest.mark.parametrize(
    ("number", "moment", "before", "status", "done"),
    [
        (signal.SIGINT, "5 trainings", "", 130, 0),  # its processes are starting
        (signal.SIGTERM, "    2/5", "", 143, 2),
        (0, "    1/5", STOPPED_AS_IT_WRITES_THE_SECOND, 143, 1),
    ],
)
def test_a_study_that_is_stopped_leaves_no_process_and_says_how_to_go_on(
    arguments, undisturbed, tmp_path, capsys, number, moment, before, status, done
):
    """Ctrl-C is sent to all of its processes, as a terminal does."""
    folder = tmp_path / "out"
    process = start(arguments, folder, before)
    next(line for line in process.stdout if line.startswith(moment))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    again = shlex.join(["npkd", *arguments, "--out", str(folder), "--resume"])
    assert errors == f"npkd study: interrupted; go on with: {again}\n"
    assert left(process) == []
    assert not list(folder.rglob(".*"))
    assert result(arguments, folder, "--resume") == undisturbed
    found = re.search(r"5 trainings(?:, (\d) of them done before)?\n", capsys.readouterr().out)
    assert found[1] == (str(done) if done else None)


def test_a_study_that_is_killed_leaves_no_process_and_no_half_of_a_file(
    arguments, undisturbed, tmp_path
):
    """In the midst of writing, while its processes are at work."""
    folder = tmp_path / "out"
    process = start(arguments, folder, KILLED_AS_IT_WRITES_THE_SECOND)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert errors == ""
    assert left(process) == []
    names = sorted(path.name for path in (folder / running.FOLDER).iterdir())
    assert [name[0] == "." for name in names] == [True, False]
    assert result(arguments, folder, "--resume") == undisturbed
    assert not list(folder.rglob(".*"))
    assert len(list((folder / running.FOLDER).iterdir())) == studies.CELLS


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        (WITHOUT_SPACE_FOR_A_LARGE_NET, "File too large"),
        (READ_ONLY_AFTER_THE_FIRST, "Permission denied"),
    ],
)
def test_a_folder_that_takes_no_more_ends_the_study_in_one_line_and_its_processes(
    arguments, undisturbed, tmp_path, before, problem
):
    """The system itself refuses, as with a full disk."""
    folder = tmp_path / "out"
    process = start(arguments, folder, before)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert left(process) == []
    assert re.fullmatch(f"npkd study: {folder}: cannot be written to: {problem}; .*\n", errors)
    (folder / running.FOLDER).chmod(0o755)
    kept = len(list((folder / running.FOLDER).iterdir()))
    assert kept == 1 or (kept == 0 and problem == "File too large")  # the large net may be first
    assert result(arguments, folder, "--resume") == undisturbed
