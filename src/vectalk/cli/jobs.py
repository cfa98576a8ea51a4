"""`Jobs`: a bar, or a line, for each piece of long work, by its name."""

from __future__ import annotations

from rich.progress import Progress, TaskID


class Jobs:
    """Shows jobs on a progress display; a job that begins again starts its clock anew.

    It is also the reporter of a training (`vectalk.training.reporter.Reporter`).

    Args:
        bar: the display.
    """

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.ids: dict[str, TaskID] = {}
        self.done: dict[str, int] = {}

    def move(self, what: str, done: int, total: int, *, note: str = "", kept: bool = True) -> None:
        """Set the state of a job.

        Args:
            what: name of the job.
            done: finished units.
            total: all units.
            note: what stands behind the bar.
            kept: whether the bar stays when the job is done.
        """
        if what not in self.ids:
            self.ids[what] = self.bar.add_task(what, total=total, note=note)
        elif done < self.done[what]:
            self.bar.reset(self.ids[what], total=total)
        self.done[what] = done
        self.bar.update(self.ids[what], completed=done, total=total, note=note, visible=kept or done < total)

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Move the bar of a stage of training."""
        self.move(f"stage {stage}", done, steps, note=note)

    def work(self, what: str, done: int, total: int) -> None:
        """Move the bar of other work, and hide the bar when the work is done."""
        self.move(what, done, total, kept=False)
