"""Tokens: who is taken for whom, and what each may do."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.problems import Problem
from gateway.settings import GatewaySettings
from gateway.tokens import BadKey, Caller, Keyring, ServicesScope, mint

SECRET = "k" * 48
SCOPE = ServicesScope(list=True, restart=("ai-*", "rtdetr"), stop=("*",))


def pair() -> tuple[str, str]:
    """Return a private and a public Ed25519 key in PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.of(GatewaySettings(hs256_key=SECRET))


def token(**changes: Any) -> str:
    """Return a good token with changes of its claims; a claim of None is left out."""
    payload = {
        "sub": "alice",
        "exp": time.time() + 60,
        "grants": [
            {"name": "room", "scope": "default"},
            {"name": "api", "scope": {"services": {"list": True, "restart": ["rtdetr"]}}},
        ],
    } | changes
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, SECRET, "HS256")


def refused(keyring: Keyring, header: str | None) -> Problem:
    with pytest.raises(Problem) as raised:
        keyring.check(header)
    assert raised.value.status == 401
    assert raised.value.headers["www-authenticate"].startswith("Bearer")
    return raised.value


def test_a_minted_token_says_who_and_what(keyring: Keyring):
    text = mint(SECRET.encode(), subject="alice", rooms=["default", "edge-*"], scope=SCOPE, seconds=60)
    caller = keyring.check(f"Bearer {text}")
    assert (caller.key, caller.issuer) == ("token:alice", "alice")
    assert caller.enters("default")
    assert caller.enters("edge-1")
    assert not caller.enters("edge")
    assert not caller.enters("default2")
    assert caller.allows("restart", "rtdetr")
    assert caller.allows("restart", "ai-nemotron")
    assert not caller.allows("restart", "rtdetr2")
    assert not caller.allows("disable", "rtdetr")
    assert caller.allows("stop", "anything")
    assert caller.reads
    assert not caller.dead_letters
    assert caller.expires is not None


def test_eddsa_tokens_are_taken_with_the_public_key_alone():
    private, public = pair()
    keyring = Keyring.of(GatewaySettings(eddsa_key=public))
    text = mint(private, subject="bob", rooms=["default"], scope=SCOPE, seconds=60, algorithm="EdDSA")
    assert keyring.check(f"bearer {text}").issuer == "bob"
    other, _ = pair()
    forged = mint(other, subject="bob", rooms=["default"], scope=SCOPE, seconds=60, algorithm="EdDSA")
    refused(keyring, f"Bearer {forged}")


def test_a_public_key_is_no_secret_for_hs256():
    _, public = pair()
    keyring = Keyring.of(GatewaySettings(eddsa_key=public))
    claims = {"sub": "eve", "exp": time.time() + 60}
    header = jwt.encode(claims, "x" * 32, "HS256").split(".")
    assert "algorithm" in refused(keyring, "Bearer " + ".".join(header)).detail


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (None, "token"),
        ("", "token"),
        ("Bearer", "token"),
        ("Basic YWxhZGRpbjpvcGVuc2VzYW1l", "token"),
        ("Bearer not.a.token", "valid token"),
        ("Bearer " + "A" * 5000, "valid token"),
        ("Bearer é", "valid token"),
    ],
)
def test_what_is_no_token_is_401_and_says_so(keyring: Keyring, header: str | None, missing: str):
    assert refused(keyring, header).missing == missing


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": time.time() - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "not valid"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "not valid"),
        ({"sub": "x" * 257}, "sub"),
        ({"sub": "self-heal"}, "reserved"),
        ({"nbf": time.time() + 3600}, "not valid"),
        ({"iat": time.time() + 3600}, "not valid"),
        ({"grants": "everything"}, "grants"),
        ({"grants": [{"scope": "default"}]}, "grants"),
        ({"grants": [{"name": "api", "scope": {"services": {"restart": "*"}}}]}, "restart"),
        ({"grants": [{"name": "api", "scope": {"services": {"list": "yes"}}}]}, "list"),
        ({"grants": [{"name": "api", "scope": {"services": None}}]}, "not valid"),
    ],
)
def test_claims_that_are_not_valid_are_401_and_named(keyring: Keyring, changes: dict[str, Any], words: str):
    assert words in refused(keyring, f"Bearer {token(**changes)}").detail


def test_an_unsigned_token_is_nobodys(keyring: Keyring):
    for algorithm in ("none", "None", "HS512"):
        parts = jwt.encode({"sub": "eve", "exp": time.time() + 60}, SECRET * 2, "HS512").split(".")
        header = jwt.utils.base64url_encode(f'{{"alg":"{algorithm}","typ":"JWT"}}'.encode()).decode()
        refused(keyring, f"Bearer {header}.{parts[1]}.")
        refused(keyring, f"Bearer {header}.{parts[1]}.{parts[2]}")
    refused(keyring, "Bearer " + token()[:-2])


def test_grants_of_others_and_unknown_scopes_mean_nothing(keyring: Keyring):
    grants = [
        {"name": "role", "scope": "agent"},
        {"name": "room"},
        {"name": "api"},
        {"name": "api", "scope": {}},
    ]
    caller = keyring.check(f"Bearer {token(grants=grants)}")
    assert (caller.rooms, caller.reads) == ((), False)
    caller = keyring.check(f"Bearer {token(grants=[], aud='somebody')}")
    assert not caller.enters("default")


@pytest.mark.parametrize(
    ("need", "missing"),
    [
        (lambda c: c.need_list("edge"), "room:edge"),
        (lambda c: c.need_list("default"), "services.list"),
        (lambda c: c.need_action("default", "stop", "rtdetr"), "services.stop:rtdetr"),
        (lambda c: c.need_action("edge", "restart", "rtdetr"), "room:edge"),
        (lambda c: c.need_dead_letters("default"), "services.dead_letters"),
    ],
)
def test_403_names_what_was_missing(need: Callable[[Caller], None], missing: str):
    caller = Caller(
        key="token:a",
        issuer="a",
        rooms=("default",),
        reads=False,
        actions={"restart": ("rtdetr",)},
        dead_letters=False,
    )
    with pytest.raises(Problem) as raised:
        need(caller)
    assert (raised.value.status, raised.value.missing) == (403, missing)
    caller.need_action("default", "restart", "rtdetr")


def test_nothing_said_is_nothing_allowed():
    caller = Caller(key="k", issuer="i")
    assert not caller.enters("default")
    assert not caller.allows("restart", "rtdetr")
    with pytest.raises(Problem):
        caller.need_list("default")


def test_keys_that_cannot_be_used_are_told(tmp_path):
    elliptic = generate_private_key(SECP256R1()).public_key()
    wrong_kind = elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private, public = pair()
    for settings, words in (
        ({"hs256_key": "short"}, "32"),
        ({"eddsa_key": "nonsense"}, "PEM"),
        ({"eddsa_key": wrong_kind}, "another kind"),
        ({"eddsa_key": private}, "PEM"),
        ({"hs256_key_file": tmp_path / "nowhere"}, "cannot be read"),
        ({"hs256_key": SECRET, "hs256_key_file": tmp_path / "k"}, "both"),
    ):
        with pytest.raises(BadKey, match=words):
            Keyring.of(GatewaySettings(**settings))
    (tmp_path / "k").write_text(SECRET + "\n")
    (tmp_path / "p").write_text(public)
    both = Keyring.of(GatewaySettings(hs256_key_file=tmp_path / "k", eddsa_key_file=tmp_path / "p"))
    assert both.check(f"Bearer {token()}").issuer == "alice"
    assert not Keyring.of(GatewaySettings(hs256_key="", eddsa_key=""))
    with pytest.raises(BadKey):
        mint(b"x", subject="a", rooms=[], scope=SCOPE, seconds=1, algorithm="EdDSA")
