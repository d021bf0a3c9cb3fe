"""What to do about a room whose scripts refuse: said to the person who starts a worker."""

from worker.ports import RoomRefused

_WRONG_TYPE = "WRONGTYPE "


def explain_refusal(refusal: RoomRefused, room: str) -> str:
    """Return a sentence that names what stands in the way, and what helps."""
    text = str(refusal)
    if not text.startswith(_WRONG_TYPE):
        return f"Redis answers, but refuses room '{room}': {text}"
    return (
        f"Redis answers, but room '{room}' cannot be served: the key {text.removeprefix(_WRONG_TYPE)}. "
        "Something else wrote it: rename or delete that key, or choose another room (--room) or another "
        "prefix of keys (POINTSMAN_PREFIX)"
    )
