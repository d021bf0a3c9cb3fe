"""The peers of `peers/`: which of them this machine can run, and their processes."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import HERE, Failed, Subject, run

#: The fastest first.
ALL = ("faststream", "taskiq", "saq", "docket", "dramatiq", "streaq", "arq")
#: The interpreters that `make bench` prepares; those of a variable go before.
_VENVS = Path(sys.prefix) / "peers"
_MODULES = {
    "faststream": "faststream.redis",
    "taskiq": "taskiq_redis",
    "saq": "saq",
    "docket": "docket",
    "dramatiq": "dramatiq",
    "streaq": "streaq",
    "arq": "arq",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer that runs here; `tuned`: with a poll interval shorter than its default."""

    name: str
    python: str
    tuned: bool = False

    @property
    def label(self) -> str:
        """Return its name in tables."""
        return f"{self.name}, tuned" if self.tuned else self.name

    def _program(self, *args: object) -> list[str]:
        return [self.python, str(HERE / "peers" / f"peer_{self.name}.py"), *map(str, args)]

    def _environment(self, redis_url: str, **more: str) -> dict[str, str]:
        tuned = {"BENCH_TUNED": "1"} if self.tuned else {}
        return {"BENCH_REDIS_URL": redis_url, "PYTHONPATH": ""} | tuned | more

    def worker(self, redis_url: str, directory: Path, count: int = 0, *, sensible: bool = False) -> Subject:
        """Return its worker process, not yet started."""
        made = Subject(f"{self.name}-worker", self._program("worker"), directory)
        settings = "sensible" if sensible else "default"
        made.env = self._environment(
            redis_url, PROBE_N=str(count), PROBE_OUT=str(made.out), BENCH_SETTINGS=settings
        )
        return made

    def produce(self, redis_url: str, *args: object, within: float = 120, sensible: bool = False) -> Any:
        """Run its producer to its end; return what it says. Raises Failed."""
        settings = "sensible" if sensible else "default"
        return run(self._program(*args), self._environment(redis_url, BENCH_SETTINGS=settings), within)


def _python_of(name: str) -> str:
    word = {"saq": "_SAQ", "arq": "_ARQ"}.get(name, "")
    own = {"saq": "saq", "arq": "arq"}.get(name, "main")
    return os.environ.get(f"PEERS_PY{word}") or str(_VENVS / own / "bin" / "python")


def find(wanted: tuple[str, ...]) -> tuple[list[Peer], list[str]]:
    """Return the peers that run here, and for each of the others why not."""
    found: list[Peer] = []
    left_out: list[str] = []
    for name in wanted:
        python = _python_of(name)
        if not Path(python).exists():
            left_out.append(f"peer {name}: no {python} (`make bench` makes it, and needs a package index)")
            continue
        try:
            run([python, "-c", f"import {_MODULES[name]}; print(1)"], {}, 30)
        except Failed as error:
            left_out.append(f"peer {name}: {str(error).splitlines()[-1]}")
            continue
        found.append(Peer(name, python))
    return found, left_out
