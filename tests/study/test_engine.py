"""Which jobs run, again when they fail, and when a study is over."""

import os
import threading
from collections import Counter

import pytest
from counted import calls

from regex_lib.study import Pool, Store, Task, engine, plan, read_study, run_jobs
from regex_lib.study.tasks import Job
from regex_lib.study.work import work


class HerePool:
    """Runs a job at once, in this process, and notes it. A job may end the way a killed worker's does."""

    def __init__(self, store, deaths=()):
        self.store, self.deaths = store, list(deaths)
        self.started, self.ended, self.stopped = [], [], False

    def has_room(self):
        return not self.ended

    def is_idle(self):
        return not self.ended

    def start(self, job):
        self.started.append(job)
        death = self.deaths.pop(0) if self.deaths else None
        if not death:
            work(job, self.store)
        self.ended.append((job, death))

    def wait(self, seconds):
        ended, self.ended = self.ended, []
        return ended

    def stop(self):
        self.stopped = True


@pytest.fixture
def store(world):
    return Store(world.folder / "store")


def jobs_of(world, *acts, **study):
    return plan(read_study(world.study([{"kind": "counted", "act": act} for act in acts], **study)))


def acts():
    return Counter(name.split(maxsplit=1)[1] for name in calls().elements())


def test_everything_is_done_once_and_the_second_time_nothing(world, store):
    jobs = jobs_of(world, "first", "second", seeds=[0, 1])
    progress = []
    pool = HerePool(store)
    assert isinstance(pool, Pool)
    assert run_jobs(jobs, store, pool, report=progress.append) == {}
    assert all(store.has(task) for job in jobs for task in job.tasks)
    assert acts() == {"first": 2, "second": 2}
    assert [(one.left, one.waiting) for one in progress] == [(0, 1), (0, 0)]
    assert pool.stopped
    again = HerePool(store)
    assert run_jobs(jobs, store, again) == {}
    assert again.started == []


def test_what_fails_is_tried_again(world, store):
    jobs = jobs_of(world, "fail once", "fail always", "nothing")
    progress = []
    failures = run_jobs(jobs, store, HerePool(store), attempts=3, report=progress.append)
    assert failures == {jobs[0].tasks[2]: "RuntimeError: call 3 failed"}
    assert acts() == {"fail once": 2, "fail always": 3, "nothing": 1}
    assert [len(one.failures) for one in progress] == [2, 1, 1]
    assert store.failure(jobs[0].tasks[2])["error"] == "RuntimeError: call 3 failed"


def test_what_a_user_must_mend_is_not_tried_again(world, store):
    jobs = jobs_of(world, "wrong", "nothing")
    assert run_jobs(jobs, store, HerePool(store)) == {jobs[0].tasks[1]: "UserError: this is wrong"}
    assert acts() == {"wrong": 1, "nothing": 1}


def test_without_its_model_nothing_is_tried(world, store):
    jobs = jobs_of(world, "nothing", batch_size=0)
    pool = HerePool(store)
    assert list(run_jobs(jobs, store, pool)) == [jobs[0].tasks[0]]
    assert len(pool.started) == 1
    assert not acts()


def test_another_start_tries_again_what_has_failed(world, store):
    jobs = jobs_of(world, "fail always")
    run_jobs(jobs, store, HerePool(store), attempts=1)
    assert len(run_jobs(jobs, store, HerePool(store), attempts=2)) == 1
    assert acts() == {"fail always": 3}


def test_a_killed_workers_job_is_tried_again(world, store):
    jobs = jobs_of(world, "nothing")
    progress = []
    assert run_jobs(jobs, store, HerePool(store, ["was killed"] * 2), report=progress.append) == {}
    assert [one.failures for one in progress] == [{jobs[0].tasks[0]: "RuntimeError: was killed"}] * 2 + [{}]
    assert acts() == {"nothing": 1}


def test_a_worker_that_always_dies_costs_only_the_task_it_dies_of(world, store):
    jobs = jobs_of(world, "first", "second")
    work(jobs[0].only(lambda task: task.kind == "train"), store)
    failures = run_jobs(jobs, store, HerePool(store, ["was killed"] * 3), attempts=3)
    assert failures == {jobs[0].tasks[1]: "RuntimeError: was killed"}
    assert acts() == {"second": 1}


def test_a_worker_that_does_nothing_does_not_go_on_for_ever(store):
    class IdlePool(HerePool):
        def start(self, job):
            self.started.append(job)
            self.ended.append((job, None))

    job = Job((Task("counted", {}, {}, {}),))
    pool = IdlePool(store)
    assert list(run_jobs([job], store, pool, attempts=2)) == list(job.tasks)
    assert len(pool.started) == 2


def test_what_another_study_is_doing_is_waited_for(world, store, monkeypatch):
    monkeypatch.setattr(engine, "_PAUSE", 0.01)
    jobs = jobs_of(world, "nothing", seeds=[0, 1])
    held, done = threading.Event(), threading.Event()

    def other_study():
        with store.lock(jobs[0].tasks[0]):
            held.set()
            assert done.wait(60)
        work(jobs[0], store)

    other = threading.Thread(target=other_study)
    other.start()
    assert held.wait(60)
    progress = []
    run_jobs(jobs, store, HerePool(store), report=lambda one: (progress.append(one), done.set()))
    other.join()
    assert progress[0].job.tasks[0] == jobs[1].tasks[0]  # the job that nobody was at came first
    assert acts() == {"nothing": 2}


def test_a_workers_variables_leave_all_others_alone(monkeypatch):
    monkeypatch.setenv("MINE", "1")
    monkeypatch.delenv("NEW", raising=False)
    monkeypatch.setenv("OF_ANOTHER_THREAD", "before")
    with engine._environment(MINE="2", NEW="3"):
        assert (os.environ["MINE"], os.environ["NEW"]) == ("2", "3")
        os.environ["OF_ANOTHER_THREAD"] = "after"
    assert (os.environ["MINE"], os.environ["OF_ANOTHER_THREAD"]) == ("1", "after")
    assert "NEW" not in os.environ


def test_workers_are_stopped_when_the_study_is_interrupted(world, store):
    pool = HerePool(store)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs_of(world, "nothing"), store, pool, report=interrupt)
    assert pool.stopped
