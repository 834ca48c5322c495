"""Studies on a Dask cluster: the same figures as in one process, from Python and by the command."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest
import studies
import tiny
from studies import AtOnce

from npkd import cli
from npkd.distill.report import contents
from npkd.engine import threads
from npkd.study import plan, running
from npkd.study.cells import Source

distributed = pytest.importorskip("distributed")

# A teacher goes to each of its pupils by itself; and Dask's own use of other packages
pytestmark = pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning")


@pytest.fixture(scope="module")
def cluster():
    """Two processes with a thread each, which have the smaller nets too; its client."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_worker_callbacks(studies.shrink)  # of a worker that comes later too
        yield client


@pytest.fixture(autouse=True)
def _small_nets(monkeypatch):
    """Smaller nets, no pictures; and as many threads after a test as before."""
    monkeypatch.setattr(threads, "_num_threads", threads._num_threads)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with studies.small_nets():
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source.of(tiny.file(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def study():
    with studies.small_nets():
        return plan.read(studies.TEXT, tiny.dataset())


@pytest.fixture(scope="module")
def done(study, source, tmp_path_factory):
    """All events of the study in this process."""
    with studies.small_nets():
        return studies.run(study, source, AtOnce(), tmp_path_factory.mktemp("done"))


def test_a_cluster_gives_the_same_figures(cluster, study, source, done, tmp_path):
    events = studies.run(study, source, cluster.get_executor(), tmp_path)
    assert studies.figures(events) == studies.figures(done)
    assert studies.report(study, source, events) == studies.report(study, source, done)


def test_a_training_that_fails_on_a_cluster_says_why(cluster, source, tmp_path):
    study = plan.read(studies.TEXT + "[[setting]]\nname = 'a'\nlearning_rate = 1e30", source.load())
    events = studies.run(study, source, cluster.get_executor(), tmp_path)
    assert len(studies.figures(events)) == studies.CELLS
    (reason,) = studies.reasons(events).values()
    assert reason.endswith("try --learning-rate below 1e+30")


def test_the_command_on_a_cluster_writes_the_same_study_json(
    cluster, study, source, done, tmp_path, capsys
):
    (tmp_path / "study.toml").write_text(studies.TEXT)
    arguments = ["study", str(tmp_path / "study.toml"), "--data", source.path]
    arguments += ["--out", str(tmp_path / "out"), "--dask", cluster.scheduler.address]
    assert cli.main(arguments) == 0
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert "2 Dask worker(s) of 1 thread(s)" in shown
    contents.write_json(tmp_path / "expected.json", studies.report(study, source, done))
    written = (tmp_path / "out" / running.RESULT).read_bytes()
    assert written == (tmp_path / "expected.json").read_bytes()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "tcp://", "gopher://x:1"])
def test_where_no_scheduler_answers_is_one_line(source, tmp_path, capsys, monkeypatch, address):
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda at, timeout: client(at, timeout=0.5))
    arguments = ["study", "--data", source.path, "--out", str(tmp_path / "out")]
    (tmp_path / "study.toml").write_text(studies.TEXT)
    assert cli.main([*arguments, str(tmp_path / "study.toml"), "--dask", address]) == 2
    shown, errors = capsys.readouterr()
    assert shown == ""
    assert errors.startswith(f"npkd study: --dask {address}: no scheduler answers there: ")
    assert errors.count("\n") == 1


CLUSTER = """
import sys, distributed, studies
studies.never_distil()
how = {"processes": False, "protocol": "tcp", "dashboard_address": ":0"}
with distributed.LocalCluster(1, **how) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


def test_where_the_scheduler_goes_in_the_middle_is_one_line_and_soon(
    study, source, done, tmp_path, capfd
):
    """Killed with its worker, when two cells are done; then it goes on in this process."""
    (tmp_path / "study.toml").write_text(studies.TEXT)
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    folder, killed = tmp_path / "out", []

    def kill():
        until = time.monotonic() + 30
        while len(list(folder.glob("cells/*.npkd"))) < 2 and time.monotonic() < until:
            time.sleep(0.02)  # until then, whatever went wrong
        killed.append(time.monotonic())
        process.kill()

    with process:
        address = process.stdout.readline().strip()
        arguments = ["study", str(tmp_path / "study.toml"), "--data", source.path]
        arguments += ["--out", str(folder), "--dask", address]
        killer = threading.Thread(target=kill)
        killer.start()
        status = cli.main(arguments)
        killer.join()
    assert time.monotonic() - killed[0] < 10
    again = shlex.join(["npkd", *arguments, "--resume"])
    assert capfd.readouterr().err == (
        f"npkd study: --dask {address}: the scheduler has gone; go on with: {again}\n"
    )
    assert status == 2
    assert not (folder / running.RESULT).exists()
    events = studies.run(study, source, AtOnce(), folder)
    assert events[0] == running.Planned(studies.CELLS, 2)
    assert studies.report(study, source, events) == studies.report(study, source, done)


def test_what_a_killed_worker_did_is_done_by_others(cluster, study, source, done, tmp_path):
    events = []
    for event in running.run(study, source, cluster.get_executor(), tmp_path, at_once=4):
        events.append(event)
        if isinstance(event, running.Done) and event.number == 2:
            workers = cluster.run(os.getpid)
            os.kill(next(iter(workers.values())), signal.SIGKILL)
    assert studies.figures(events) == studies.figures(done)
    assert studies.reasons(events) == {}
