"""Read a Pointsman room: services, commands, workers, dead letters, and every change without a gap.

Needs redis and msgspec, nothing else.
"""

from contracts.events import Event, EventType
from contracts.receipts import Receipt
from contracts.services import Snapshot
from subscriber.client import Subscriber
from subscriber.commands import Backlog
from subscriber.log import ResetReason
from subscriber.watching import Change, Reset, Watch

__all__ = [
    "Backlog",
    "Change",
    "Event",
    "EventType",
    "Receipt",
    "Reset",
    "ResetReason",
    "Snapshot",
    "Subscriber",
    "Watch",
]
