"""How long the adapter waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds.

    `connect`, `look`, `ping` and `start` bound one call each (stop and restart bring their own bound).
    `idle` is the silence of the event stream after which the engine is pinged, `renew` the silence after
    which the stream is opened anew all the same: a connection that died without a sign stays silent too.
    `backoff_first` doubles up to `backoff_most` between attempts to get the stream back.
    """

    connect: float = 5.0
    look: float = 10.0
    ping: float = 5.0
    start: float = 60.0
    idle: float = 5.0
    renew: float = 60.0
    backoff_first: float = 0.1
    backoff_most: float = 5.0
