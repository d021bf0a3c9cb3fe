"""What a person sets for a worker: environment variables `POINTSMAN_…`, judged once at start."""

import socket
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.keys import PREFIX_PATTERN, ROOM_PATTERN
from worker.limits import Limits

_D = Limits()
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class WorkerSettings(BaseSettings):
    """Settings of one worker; times are seconds. Each has a variable of its name with `POINTSMAN_` before it."""

    model_config = SettingsConfigDict(env_prefix="POINTSMAN_", extra="ignore")

    redis_url: str = "redis://localhost:6379/0"
    room: Annotated[str, Field(pattern=f"^{ROOM_PATTERN}$")] = "default"
    prefix: Annotated[str, Field(pattern=f"^{PREFIX_PATTERN}$")] = "pointsman"
    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        default_factory=socket.gethostname, validation_alias="POINTSMAN_WORKER_NAME"
    )
    #: Bind the room to this worker's engine although it belongs to another.
    adopt_engine: bool = False
    #: The engine's address; empty: as Docker's own tools find it.
    docker_host: str | None = None

    lease: Annotated[float, Field(ge=0.2, le=3600)] = _D.lease
    margin: Seconds = _D.margin
    hang: Seconds = _D.hang
    beat: Seconds = _D.beat
    alive: Seconds = _D.alive
    grace: Annotated[int, Field(ge=0, le=3600)] = _D.grace
    window: Annotated[float, Field(ge=1, le=31_536_000)] = _D.window
    ttl: Seconds = _D.ttl
    max_attempts: Annotated[int, Field(ge=1, le=100)] = _D.max_attempts
    capacity: Annotated[int, Field(ge=1, le=1024)] = _D.capacity
    intake: Annotated[int, Field(ge=1, le=1024)] = _D.intake
    shutdown: Annotated[float, Field(ge=0, le=3600)] = _D.shutdown
    resync: Seconds = _D.resync
    engine_silence: Seconds = _D.engine_silence
    engine_ping: Seconds = _D.engine_ping
    heartbeat: Seconds = _D.heartbeat
    #: A label's probe is asked so often when all is well, and so often while it has not passed or fails.
    probe_every: Seconds = _D.probe_every
    probe_again: Seconds = _D.probe_again
    #: Longest wait for a probe's answer; so many failures in a row make it fail; so many are asked at once.
    probe_deadline: Seconds = _D.probe_deadline
    probe_failures: Annotated[int, Field(ge=1, le=1000)] = _D.probe_failures
    probes_at_once: Annotated[int, Field(ge=1, le=1024)] = _D.probes_at_once
    #: Longest wait for an answer of Redis.
    redis_timeout: Seconds = 5.0

    self_heal: bool = True
    on_exhausted: Literal["retry", "disable"] = "retry"
    heals_at_once: Annotated[int, Field(ge=1, le=1024)] = 4
    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _consistent(self) -> "WorkerSettings":
        """Refuse times that contradict each other."""
        if self.alive < self.beat * 2:
            raise ValueError(f"alive ({self.alive:g} s) must be at least twice beat ({self.beat:g} s)")
        if self.margin <= self.lease:
            # The first call may still be at work when the lease lapses; a takeover must wait longer than that.
            raise ValueError(f"margin ({self.margin:g} s) must be above lease ({self.lease:g} s)")
        return self

    def limits(self) -> Limits:
        """Return the times and bounds as the roles take them."""
        return Limits(
            lease=self.lease,
            margin=self.margin,
            hang=self.hang,
            beat=self.beat,
            alive=self.alive,
            window=self.window,
            ttl=self.ttl,
            max_attempts=self.max_attempts,
            capacity=self.capacity,
            intake=self.intake,
            shutdown=self.shutdown,
            resync=self.resync,
            engine_silence=self.engine_silence,
            engine_ping=self.engine_ping,
            heartbeat=self.heartbeat,
            probe_every=self.probe_every,
            probe_again=self.probe_again,
            probe_deadline=self.probe_deadline,
            probe_failures=self.probe_failures,
            probes_at_once=self.probes_at_once,
            grace=self.grace,
            look_every=min(_D.look_every, self.lease / 4),
        )
