"""What a run is asked to do, as one value that all parts share."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import peers_here


@dataclass(slots=True)
class Options:
    """Times are seconds. The defaults are the full run's."""

    rounds: int = 3
    n: int = 6000
    services: int = 1000
    peers: tuple[str, ...] = peers_here.ALL
    rate: float = 50.0
    seconds: float = 10.0
    leases: tuple[float, ...] = (10.0, 5.0, 2.0, 1.0, 0.5)
    containers: int = 20
    engine_rounds: int = 5
    idle_seconds: float = 10.0
    backlog: int = 100_000
    peers_cap: float = 30.0
    log: TextIO | None = None
    #: When the run has to be over, by the monotonic clock: a round more is begun only if there is time for it.
    until: float = field(default=float("inf"))

    def over(self) -> bool:
        """Say whether the run's time is up."""
        return time.monotonic() > self.until

    def each_round(self, what: str, rounds: int | None = None) -> Iterator[int]:
        """Yield round numbers while there is time for one more as long as the longest so far."""
        longest = 0.0
        for number in range(1, (self.rounds if rounds is None else rounds) + 1):
            began = time.monotonic()
            if number > 1 and began + longest > self.until:
                print(f"{what}: no time for round {number}", file=sys.stderr, flush=True)
                return
            yield number
            longest = max(longest, time.monotonic() - began)

    def tell(self, part: str, number: int, who: str, row: Mapping[str, Any]) -> None:
        """Say what one measurement gave: on stderr, and as a line of JSON in the log."""
        line = {"part": part, "round": number, "who": who} | dict(row)
        shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}
        print(json.dumps(shown), file=sys.stderr, flush=True)
        if self.log is not None:
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()
