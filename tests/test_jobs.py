"""`Jobs`: bars of long work, by name."""

import pytest
from rich.progress import Progress

from vectalk.cli.jobs import Jobs


@pytest.fixture
def bar() -> Progress:
    now = iter(range(0, 1000, 10))
    return Progress(disable=True, get_time=lambda: float(next(now)))


def test_each_job_has_one_bar(bar: Progress) -> None:
    jobs = Jobs(bar)
    for done in range(3):
        jobs.step(1, done, 2, "loss 0.5")
        jobs.work("loading", done, 2)
    stage, loading = bar.tasks
    assert (stage.description, stage.completed, stage.total, stage.visible) == ("stage 1", 2, 2, True)
    assert stage.fields["note"] == "loss 0.5"
    assert (loading.description, loading.visible) == ("loading", False)


def test_a_job_that_begins_again_starts_its_clock_anew(bar: Progress) -> None:
    jobs = Jobs(bar)
    jobs.work("encoding texts", 0, 100)
    jobs.work("encoding texts", 100, 100)
    (task,) = bar.tasks
    first = task.start_time
    jobs.work("encoding texts", 0, 50)
    assert task.start_time > first
    assert (task.completed, task.total, task.visible, task.finished) == (0, 50, True, False)
