"""What a person sets for the gateway: variables `POINTSMAN_GATEWAY_…`, judged once at start."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.keys import PREFIX_PATTERN, ROOM_PATTERN

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class GatewaySettings(BaseSettings):
    """Settings of one gateway; times are seconds, sizes bytes.

    Each has a variable of its name with `POINTSMAN_GATEWAY_` before it; those shared with the rest of
    the program are named beside the field.
    """

    model_config = SettingsConfigDict(
        env_prefix="POINTSMAN_GATEWAY_", extra="ignore", populate_by_name=True, frozen=True
    )

    redis_url: Annotated[str, Field(validation_alias="POINTSMAN_REDIS_URL")] = "redis://localhost:6379/0"
    #: The room that `/api/system` stands for.
    room: Annotated[str, Field(pattern=f"^(?:{ROOM_PATTERN})$", validation_alias="POINTSMAN_ROOM")] = (
        "default"
    )
    prefix: Annotated[str, Field(pattern=f"^(?:{PREFIX_PATTERN})$", validation_alias="POINTSMAN_PREFIX")] = (
        "pointsman"
    )
    #: A worker counts as alive when it has beaten within so many seconds.
    alive: Annotated[float, Field(gt=0, le=86_400, validation_alias="POINTSMAN_ALIVE")] = 10.0

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    #: Names that a request's Host may have, separated by commas; ports do not matter.
    hosts: str = "localhost,127.0.0.1,::1"
    #: Origins beside our own whose pages may ask for changes, separated by commas: `https://ops.example`.
    origins: str = ""

    hs256_key: SecretStr | None = None
    hs256_key_file: Path | None = None
    #: A public key in PEM.
    eddsa_key: str | None = None
    eddsa_key_file: Path | None = None

    #: How long a changing request waits for its receipt unless `Prefer: wait=N` says another time.
    wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    #: The longest wait that may be asked for.
    max_wait: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    #: Unsettled commands in a room beyond which none is taken; 0 for no limit.
    max_backlog: Annotated[int, Field(ge=0, le=10_000_000)] = 100_000
    #: Who asks, in a room without tokens.
    issuer: Annotated[str, Field(min_length=1, max_length=256)] = "http"
    #: Longest wait for an answer of Redis.
    redis_timeout: Seconds = 2.0
    #: How old the knowledge of workers and engine may be.
    pulse: Annotated[float, Field(ge=0, le=5)] = 0.25
    #: How long a list waits for the newest events before it says that it is stale.
    catch_up: Annotated[float, Field(ge=0, le=30)] = 1.0

    heartbeat: Seconds = 5.0
    max_streams: Count = 2000
    max_streams_per_caller: Count = 1000
    #: Events, and their bytes, that may wait for one slow reader.
    stream_events: Count = 10_000
    stream_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = 4_194_304
    #: Rooms that are followed at the same time, and how long after the last request.
    max_rooms: Annotated[int, Field(ge=1, le=10_000)] = 64
    idle: Seconds = 60.0

    max_body: Annotated[int, Field(ge=1024, le=16_777_216)] = 65_536
    max_headers: Annotated[int, Field(ge=1024, le=65_536)] = 16_384
    #: Requests a second and caller, and how many at once; 0 for no limit.
    rate: Annotated[float, Field(ge=0)] = 200.0
    burst: Count = 1000
    #: For the whole head of a request, for its body, and for a reader to take what is sent.
    head_timeout: Seconds = 10.0
    body_timeout: Seconds = 20.0
    send_timeout: Seconds = 60.0

    log_format: Annotated[Literal["auto", "json", "text"], Field(validation_alias="POINTSMAN_LOG_FORMAT")] = (
        "auto"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(validation_alias="POINTSMAN_LOG_LEVEL")
    ] = "info"

    @field_validator("hs256_key_file", "eddsa_key_file", "hs256_key", "eddsa_key", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        """Take an empty variable for none, as compose files write it."""
        return None if value == "" else value

    @property
    def host_names(self) -> frozenset[str]:
        """Return the names that a Host may have, and the address that is bound if it is one."""
        names = {bare_host(name) for name in self.hosts.split(",") if name.strip()}
        if self.host not in {"0.0.0.0", "::", ""}:
            names.add(bare_host(self.host))
        return frozenset(names)

    @property
    def foreign_origins(self) -> frozenset[str]:
        """Return the origins beside our own that may ask for changes."""
        return frozenset(name.strip().rstrip("/").lower() for name in self.origins.split(",") if name.strip())

    @property
    def on_loopback(self) -> bool:
        """Say whether only this machine can reach what is bound."""
        return is_loopback(self.host)


def bare_host(name: str) -> str:
    """Return a host's name as it is compared: lower case, no brackets, no final dot."""
    return name.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")


def is_loopback(host: str) -> bool:
    """Say whether an address or name is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
