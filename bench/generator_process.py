"""The load generator's process, from the side of who asks for a load."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.cores import GENERATOR_CORE, on_core
from bench.server import Target


@dataclass(frozen=True, slots=True)
class Done:
    """How much a load did, how long that took on the clock, and how much CPU time the generator spent on it."""

    count: int
    seconds: float
    cpu_seconds: float


class GeneratorFailed(RuntimeError):
    """A load could not be carried out; the generator's trace is in its log."""


class GeneratorProcess:
    """A load generator on its own core; leaving the `with` block ends it."""

    def __init__(self, log_file: Path, module: str = "bench.generator") -> None:
        self._log_file = log_file
        with on_core(GENERATOR_CORE), log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def do(self, load: str, target: Target | None = None, **arguments: Any) -> Done:
        """Carry out one load.

        Raises:
            GeneratorFailed: it was refused, or the generator ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"do": load, **arguments}
        if target is not None:
            request |= {"port": target.port, "ca_file": str(target.ca_file)}
        try:
            self._process.stdin.write(json.dumps(request, default=str) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            log_end = self._log_file.read_text(errors="replace")[-3000:]
            raise GeneratorFailed(f"the generator failed in {request}:\n{log_end}")
        return Done(**json.loads(answer))
