"""Processes of their own, without the seconds that each would need to import torch.

A server that has imported torch and vectalk forks them. Otherwise they are like any process: they have their own pid,
environment, standard streams and exit code, and signals reach them alone.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
# Whatever else a test needs its process imports itself: so the command line, which looks for its terminal as it loads.
SERVER.set_forkserver_preload(
    [
        *("vectalk.talk.elm", "vectalk.tasks.corpus", "vectalk.training.trainer"),
        *("openai", "peft", "sklearn.linear_model", "transformers.models.llama.modeling_llama", "typer"),
    ]
)
COMMAND_LINE = "from vectalk.cli.main import main; main()"  # what `vectalk` runs


def _become(code: str, arguments: tuple[str, ...], streams: list[str], environment: dict[str, str]) -> None:
    """In the new process: run `code` as `python -c` would, with these files as standard streams."""
    for number, name in enumerate(streams):
        file = os.open(name, os.O_RDWR if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


class Forked:
    """A running process, with the methods of `subprocess.Popen` that tests need.

    Args:
        arguments: of the command line `vectalk`, or of `code`.
        code: runs as by `python -c`.
        environment: is added to that of this process.
        terminal: the name of a terminal that is all three standard streams; files are in its place where it is omitted.
    """

    def __init__(
        self,
        *arguments: str,
        code: str = COMMAND_LINE,
        environment: dict[str, str] | None = None,
        terminal: str | None = None,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self.folder.name) / name for name in ("out", "err"))
        self.out.touch()
        self.err.touch()
        streams = [terminal] * 3 if terminal else [os.devnull, str(self.out), str(self.err)]
        settings = (code, arguments, streams, {**os.environ, **(environment or {})})
        self.process = SERVER.Process(target=_become, args=settings, daemon=True)
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self.process.exitcode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for the end; returns what it wrote to stdout and stderr."""
        self.wait(timeout)
        return self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(*arguments: str, code: str = COMMAND_LINE, **options: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, as `subprocess.run` with `capture_output` and `text` does."""
    process = Forked(*arguments, code=code, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.wait(), out, err)
