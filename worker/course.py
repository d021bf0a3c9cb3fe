"""Where one held command is on its way, and the two ways in which a worker stops caring for it."""

from dataclasses import dataclass

from contracts.commands import Action
from worker.core.delivery import Grant


class LeaseLost(Exception):
    """The lane is another's now: write nothing more, call nothing more."""


class NotBegun(Exception):
    """The engine cannot be asked, and nothing has begun: hand the lane back."""


@dataclass(slots=True)
class Course:
    """Where one held command is.

    `busy`: an engine call of this process was still open when its bound ran out. `answered`: the engine
    said that it had done it.
    """

    grant: Grant
    action: Action
    grace: float = 0.0
    container_id: str = ""
    begun_at: float = 0.0
    busy: bool = False
    answered: bool = False
