"""Participant tokens: who asks, in which rooms, for what (JWT, HS256 or EdDSA)."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.commands import SELF_HEAL, Action
from gateway.problems import Problem
from gateway.settings import GatewaySettings

#: Bytes of an HS256 key: as many as its hash has (RFC 7518, 3.2).
SHORTEST_KEY = 32
#: Seconds that clocks may differ.
LEEWAY = 10
REALM = 'Bearer realm="pointsman"'


class BadKey(Exception):
    """A key cannot be used; the text says why."""


_Names = Annotated[tuple[str, ...], Field(strict=False)]  # an array, in JSON


class ServicesScope(BaseModel):
    """What a token allows: reading, each action on which services, looking after dead letters.

    A name ends with `*` to stand for all that begin so.
    """

    model_config = ConfigDict(strict=True, extra="ignore")

    list: bool = False
    restart: _Names = ()
    start: _Names = ()
    stop: _Names = ()
    enable: _Names = ()
    disable: _Names = ()
    dead_letters: bool = False


class Grant(BaseModel):
    """One grant: `room` with a room's name, `api` with scopes; others are nobody's business here."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str
    scope: Any = None


class Claims(BaseModel):
    """The claims that are looked at."""

    model_config = ConfigDict(strict=True, extra="ignore")

    sub: Annotated[str, Field(min_length=1, max_length=256)]
    exp: int | float
    grants: list[Grant] = []


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, and what for. `key` tells callers apart; `expires` is seconds since 1970, None for never."""

    key: str
    issuer: str
    rooms: tuple[str, ...] = ()
    reads: bool = False
    actions: Mapping[str, tuple[str, ...]] = {}
    dead_letters: bool = False
    expires: float | None = None
    everything: bool = False

    def enters(self, room: str) -> bool:
        """Say whether the token has a grant for the room."""
        return self.everything or _matches(room, self.rooms)

    def need_room(self, room: str) -> None:
        """Raise 403 without a grant for the room."""
        if not self.enters(room):
            raise _forbidden(f"The token has no grant for room '{room}'", f"room:{room}")

    def need_list(self, room: str) -> None:
        """Raise 403 where the token does not allow to read the room."""
        self.need_room(room)
        if not (self.everything or self.reads):
            raise _forbidden("The token's services scope does not allow `list`", "services.list")

    def allows(self, action: str, service: str) -> bool:
        """Say whether the token allows the action on the service, in a room that it enters."""
        return self.everything or _matches(service, self.actions.get(action, ()))

    def need_action(self, room: str, action: str, service: str) -> None:
        """Raise 403 where the token does not allow the action on the service."""
        self.need_room(room)
        if not self.allows(action, service):
            raise _forbidden(
                f"The token's services scope does not allow to {action} '{service}'",
                f"services.{action}:{service}",
            )

    def need_dead_letters(self, room: str) -> None:
        """Raise 403 where the token does not allow to look after dead letters."""
        self.need_room(room)
        if not (self.everything or self.dead_letters):
            raise _forbidden("The token's services scope lacks `dead_letters`", "services.dead_letters")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


def _forbidden(detail: str, missing: str) -> Problem:
    return Problem(
        403,
        "forbidden",
        detail,
        missing=missing,
        headers={"www-authenticate": f'{REALM}, error="insufficient_scope"'},
    )


def unauthorized(detail: str, missing: str, error: str | None = None) -> Problem:
    """Return a 401 that says what is missing; `error` is RFC 6750's word for a token that is no good."""
    challenge = REALM if error is None else f'{REALM}, error="{error}"'
    return Problem(401, "unauthorized", detail, missing=missing, headers={"www-authenticate": challenge})


class Keyring:
    """The keys that tokens are checked with, each for its own algorithm and no other."""

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._keys = dict(keys)

    @classmethod
    def of(cls, settings: GatewaySettings) -> "Keyring":
        """Return the keys of the settings. Raises BadKey."""
        keys: dict[str, Any] = {}
        secret = settings.hs256_key.get_secret_value() if settings.hs256_key else None
        shared = _one("hs256_key", secret, settings.hs256_key_file)
        if shared is not None:
            keys["HS256"] = check_shared(shared)
        public = _one("eddsa_key", settings.eddsa_key, settings.eddsa_key_file)
        if public is not None:
            keys["EdDSA"] = _public(public)
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def check(self, authorization: str | None) -> Caller:
        """Return who sent an Authorization header. Raises a 401 that says what is missing or wrong."""
        if authorization is None:
            raise unauthorized("No token: send `Authorization: Bearer <token>`", "token")
        kind, _, token = authorization.partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token:
            raise unauthorized("Only bearer tokens are taken: send `Authorization: Bearer <token>`", "token")
        return self._caller(token)

    def _caller(self, token: str) -> Caller:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in self._keys:
                raise _invalid(
                    f"The token is signed with an algorithm that has no key here; use {self._names}"
                )
            payload = jwt.decode(
                token,
                self._keys[algorithm],
                algorithms=[algorithm],
                leeway=LEEWAY,
                options={"require": ["sub", "exp"], "verify_aud": False},
            )
            claims = Claims.model_validate(payload)
            return _caller(claims)
        except jwt.ExpiredSignatureError as error:
            raise _invalid("The token has expired", "valid token") from error
        except jwt.PyJWTError as error:
            raise _invalid(f"The token is not valid: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "claims"
            raise _invalid(f"The token's claim `{where}` is not valid: {first['msg']}") from error

    @property
    def _names(self) -> str:
        return " or ".join(sorted(self._keys))


def _invalid(detail: str, missing: str = "valid token") -> Problem:
    return unauthorized(detail, missing, "invalid_token")


def _caller(claims: Claims) -> Caller:
    if claims.sub == SELF_HEAL:
        raise _invalid(f"The token's subject '{SELF_HEAL}' is reserved", "sub")
    rooms = tuple(g.scope for g in claims.grants if g.name == "room" and isinstance(g.scope, str))
    scopes = [
        ServicesScope.model_validate(grant.scope["services"])
        for grant in claims.grants
        if grant.name == "api" and isinstance(grant.scope, dict) and "services" in grant.scope
    ]
    return Caller(
        key=f"token:{claims.sub}",
        issuer=claims.sub,
        rooms=rooms,
        reads=any(scope.list for scope in scopes),
        actions={str(a): tuple(n for s in scopes for n in getattr(s, a)) for a in Action},
        dead_letters=any(scope.dead_letters for scope in scopes),
        expires=float(claims.exp),
    )


def mint(
    key: Any,
    *,
    subject: str,
    rooms: Sequence[str],
    scope: ServicesScope,
    seconds: float,
    algorithm: str = "HS256",
    name: str | None = None,
) -> str:
    """Return a token signed with `key` (bytes for HS256, a private key in PEM for EdDSA)."""
    now = int(time.time())
    payload: dict[str, Any] = {
        "sub": subject,
        "name": name or subject,
        "iat": now,
        "exp": now + round(seconds),
        "grants": [
            *({"name": "room", "scope": room} for room in rooms),
            {"name": "api", "scope": {"services": scope.model_dump(mode="json", exclude_defaults=True)}},
        ],
    }
    try:
        return jwt.encode(payload, key, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadKey(f"the key cannot sign with {algorithm}: {error}") from error


def check_shared(text: str) -> bytes:
    """Return an HS256 key. Raises BadKey for one that can be guessed."""
    key = text.strip().encode()
    if len(key) < SHORTEST_KEY:
        raise BadKey(
            f"the HS256 key has {len(key)} bytes: use at least {SHORTEST_KEY} random ones "
            "(openssl rand -base64 48)"
        )
    return key


def _public(text: str) -> Any:
    try:
        key = load_pem_public_key(text.encode())
    except ValueError as error:
        raise BadKey(f"the EdDSA key is not a public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        raise BadKey(
            "the EdDSA key is another kind of key: make one with `openssl genpkey -algorithm ed25519`"
        )
    return key


def _one(name: str, value: str | None, path: Path | None) -> str | None:
    """Return the key that is given, in itself or in a file."""
    if value is not None and path is not None:
        raise BadKey(f"{name} and {name}_file are both given: give one of them")
    if path is None:
        return value
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(f"{name}_file {path} cannot be read: {error}") from error
