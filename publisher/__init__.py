"""Publish commands to a Pointsman room, wait for their receipts, cancel them; look after dead letters.

Needs redis and msgspec, nothing else.
"""

from contracts.commands import Action, Command
from contracts.receipts import Receipt, ReceiptStatus
from publisher.client import Publisher
from publisher.dead import Buried, DeadLetters
from publisher.options import Options

__all__ = [
    "Action",
    "Buried",
    "Command",
    "DeadLetters",
    "Options",
    "Publisher",
    "Receipt",
    "ReceiptStatus",
]
