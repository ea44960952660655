"""Worker processes: what ends an attempt, and what that costs the others."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from queue import Queue
from threading import Event

import pytest
from tests.support.engine_process import eventually
from tests.support.requests import attempt_of

from overnight.embedded.slots import Slots
from overnight.embedded.workers import Workers
from overnight.executions import AttemptOutcome
from overnight.flows.call import Allowed
from overnight.ports import RunReport, RunRequest

FLOWS = """
import os, pathlib, subprocess, sys, time

def pid():
    return str(os.getpid())

def says(context):
    print(context.input_value)

def spins(context):
    pathlib.Path(context.input_value).write_text("begun")
    print("spinning", flush=True)
    while True:
        pass

def leaves_a_process(context):
    wait = "import time, pathlib\\nwhile not pathlib.Path(%r).exists(): time.sleep(0.01)\\nprint('late', flush=True)"
    subprocess.Popen([sys.executable, "-c", wait % context.input_value])

def waits_for_it(context):
    import psutil
    pathlib.Path(context.input_value).touch()
    for child in psutil.Process().children():
        child.wait()

def is_a_page():
    return "x" * 2_000

def is_large():
    return "x" * 5_000_000

def forks_and_dies():
    if os.fork() == 0:
        time.sleep(10)
    os._exit(3)

def kills_itself():
    os.kill(os.getpid(), 9)

def meets(context):
    folder, others = context.input_value.split()
    (pathlib.Path(folder) / context.execution_id).touch()
    while len(list(pathlib.Path(folder).iterdir())) < int(others):
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """One worker, so that what one attempt leaves behind meets the next."""
    with opened(tmp_path_factory, 1) as workers:
        yield workers


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Four of them, which have all run something."""
    with opened(tmp_path_factory, 4) as workers:
        meet(workers, tmp_path_factory.mktemp("meeting"))
        yield workers


@contextmanager
def opened(tmp_path_factory: pytest.TempPathFactory, count: int) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "worker_flows.py").write_text(FLOWS)
    workers = Workers(count, Allowed((str(folder),)), folder / "running")
    try:
        yield workers
    finally:
        workers.close()


def request(flow: str, value: str | None = None, seconds: float = 60) -> RunRequest:
    return attempt_of(f"worker_flows:{flow}", id_=os.urandom(16).hex(), seconds=seconds, input_value=value)


def meet(workers: Workers, folder: Path) -> None:
    """Four attempts, each of which waits for all of them."""
    ended: Queue[AttemptOutcome] = Queue()
    for _ in range(4):
        workers.submit(request("meets", f"{folder} 4"), lambda report: ended.put(report.outcome))
    assert [ended.get(timeout=30) for _ in range(4)] == [AttemptOutcome.SUCCEEDED] * 4


def pid(workers: Workers) -> int:
    report = workers.run(request("pid"))
    assert report.text, report
    return int(report.text)


def test_attempts_run_in_one_process_after_the_other(workers: Workers):
    assert pid(workers) == pid(workers) != os.getpid()


def test_the_process_that_was_used_last_is_used_next(four: Workers):
    used = set()
    for _ in range(4):
        used.add(pid(four))
        time.sleep(0.02)  # it has nothing to do by then
    assert len(used) == 1


def test_attempts_that_take_their_time_run_at_once(four: Workers, tmp_path: Path):
    meet(four, tmp_path)


def test_more_processes_are_used_where_attempts_queue_up(four: Workers):
    ended: Queue[str | None] = Queue()
    for _ in range(500):  # each takes less than a moment, and all together take many
        four.submit(request("pid"), lambda report: ended.put(report.text))
    assert len({ended.get(timeout=30) for _ in range(500)}) > 1


@pytest.mark.parametrize(("flow", "value"), [("says", "hello"), ("is_a_page", None), ("kills_itself", None)])
def test_what_is_kept_of_an_attempt_keeps_no_other_waiting(four: Workers, flow: str, value: str | None):
    kept, ended = Event(), Queue[str | None]()
    four.submit(request(flow, value), lambda _: kept.wait(30))
    try:
        four.submit(request("pid"), lambda report: ended.put(report.text))
        assert ended.get(timeout=20)
    finally:
        kept.set()


def test_what_an_attempt_prints_is_its_own(workers: Workers):
    logs = [workers.run(request("says", word)).log for word in ("first", "second")]

    assert logs == ["first\n", "second\n"]


def test_what_an_attempt_left_behind_does_not_print_into_another(workers: Workers, tmp_path: Path):
    sign = str(tmp_path / "sign")

    before = workers.run(request("leaves_a_process", sign))
    after = workers.run(request("waits_for_it", sign))

    assert (before.outcome, after.outcome) == (AttemptOutcome.SUCCEEDED, AttemptOutcome.SUCCEEDED)
    assert (before.log, after.log) == ("", "")


def test_a_result_of_megabytes_comes_back(workers: Workers):
    assert workers.run(request("is_large")).text == "x" * 5_000_000


def test_a_timeout_ends_code_that_never_yields_and_keeps_what_it_printed(workers: Workers, tmp_path: Path):
    before = pid(workers)

    report = workers.run(request("spins", str(tmp_path / "begun"), seconds=0.5))

    assert report.outcome is AttemptOutcome.TIMED_OUT
    assert report.failure is not None
    assert "longer than 0.5 s" in report.failure.message
    assert report.log == "spinning\n"
    assert pid(workers) != before


@pytest.mark.parametrize(
    ("flow", "how"),
    [("forks_and_dies", "exit code 3"), ("kills_itself", "signal 9")],
)
def test_a_worker_that_dies_costs_its_attempt_alone(workers: Workers, flow: str, how: str):
    report = workers.run(request(flow))

    assert report.outcome is AttemptOutcome.LOST
    assert report.failure is not None
    assert (report.failure.type, how in report.failure.message) == ("WorkerDied", True)
    assert pid(workers) > 0


def test_a_worker_that_dies_while_it_has_nothing_to_do_costs_no_attempt(workers: Workers):
    before = pid(workers)

    process = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert wait([process], 30)
    os.close(process)

    assert pid(workers) != before


@pytest.mark.parametrize("runs", [True, False], ids=["running", "waiting for a worker"])
def test_an_attempt_is_ended_by_order(workers: Workers, tmp_path: Path, runs: bool):
    ended: Queue[tuple[str, RunReport]] = Queue()
    begun = tmp_path / "begun"
    spinning, waiting = request("spins", str(begun)), request("pid")
    workers.submit(spinning, lambda report: ended.put(("spinning", report)))
    workers.submit(waiting, lambda report: ended.put(("waiting", report)))
    eventually(begun.exists)

    workers.cancel((spinning if runs else waiting).execution.id)
    first = ended.get(timeout=30)
    workers.cancel(spinning.execution.id)
    second = ended.get(timeout=30)

    assert [(name, report.outcome.value) for name, report in (first, second)] == (
        [("spinning", "cancelled"), ("waiting", "succeeded")]
        if runs
        else [("waiting", "cancelled"), ("spinning", "cancelled")]
    )
    assert workers.running == ()


def test_what_is_interrupted_says_so_and_nothing_more_is_taken(tmp_path: Path):
    (tmp_path / "worker_flows.py").write_text(FLOWS)
    workers = Workers(1, Allowed((str(tmp_path),)), tmp_path / "running")
    ended: Queue[AttemptOutcome] = Queue()
    try:
        workers.submit(request("spins", str(tmp_path / "begun")), lambda report: ended.put(report.outcome))
        workers.submit(request("pid"), lambda report: ended.put(report.outcome))
        eventually((tmp_path / "begun").exists)

        workers.interrupt()

        assert [ended.get(timeout=30) for _ in range(2)] == [AttemptOutcome.INTERRUPTED] * 2
        assert workers.run(request("pid")).outcome is AttemptOutcome.INTERRUPTED
    finally:
        workers.close()


def test_an_attempt_has_an_end_where_no_worker_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("overnight.embedded.worker.serve", print)  # ends at once
    workers = Workers(1, Allowed(), tmp_path / "running")
    try:
        report = workers.run(request("pid"))
    finally:
        workers.close()

    assert report.outcome is AttemptOutcome.LOST
    assert report.failure is not None
    assert report.failure.type == "WorkerNotStarted"
    assert "exit code" in report.failure.message


def test_workers_that_die_and_start_all_the_time_are_all_replaced(tmp_path: Path):
    (tmp_path / "worker_flows.py").write_text(FLOWS)
    workers = Workers(4, Allowed((str(tmp_path),)), tmp_path / "running")
    ended: Queue[AttemptOutcome] = Queue()
    try:
        for _ in range(40):
            workers.submit(request("kills_itself"), lambda report: ended.put(report.outcome))
        assert [ended.get(timeout=60) for _ in range(40)] == [AttemptOutcome.LOST] * 40

        assert all(workers.run(request("pid")).outcome is AttemptOutcome.SUCCEEDED for _ in range(8))
    finally:
        workers.close()


def test_an_attempt_that_no_worker_takes_holds_no_slot(workers: Workers, monkeypatch: pytest.MonkeyPatch):
    def refuses(request: RunRequest, done: object) -> None:
        raise RuntimeError("can't start new thread")

    slots = Slots(workers, 1)
    monkeypatch.setattr(workers, "submit", refuses)

    with pytest.raises(RuntimeError):
        slots.fill(request("pid"), print)

    assert slots.running == ()
