"""The face of Pointsman: a client for Python, the command line, the demo."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pointsman.room import RoomClient

__all__ = ["RoomClient"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then, so that the command line starts fast."""
    if name == "RoomClient":
        from pointsman.room import RoomClient  # noqa: PLC0415 -- see above

        return RoomClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
