"""Whether this worker observes the room, and since which lease."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tenure:
    """The observer's lease as this worker has it; `loaded` once it knows what stands in the room."""

    mine: bool = False
    #: Grows with each lease, so that what was begun under an earlier one is known.
    term: int = 0
    loaded: bool = False

    def begin(self) -> None:
        """Hold the lease from now on."""
        self.mine, self.loaded = True, False
        self.term += 1

    def end(self) -> None:
        """Hold it no more."""
        self.mine = self.loaded = False
