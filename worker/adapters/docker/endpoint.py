"""Where the engine is: looked up in the order of Docker's own tools.

An address given, then DOCKER_HOST, then the context named by DOCKER_CONTEXT, then the current context
of the configuration, then the usual socket. aiodocker asks the context before DOCKER_HOST, which is why
this is not left to it.
"""

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from yarl import URL

USUAL_SOCKET: Final = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT: Final = "default"
#: The ports of Docker's own tools where an address names none.
PLAIN_PORT: Final = 2375
TLS_PORT: Final = 2376


class EngineAddressError(ValueError):
    """The engine's address, or the configuration that should name it, is of no use."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect: either a socket's path, or a base URL, with TLS where there is a context."""

    address: str
    socket: str | None = None
    base: str = "unix://localhost"
    tls: ssl.SSLContext | None = None


def find_endpoint(
    url: str | None = None, *, environ: Mapping[str, str] | None = None, home: Path | None = None
) -> Endpoint:
    """Find the engine. Raises `EngineAddressError`; nothing is connected to yet."""
    env = os.environ if environ is None else environ
    config = Path(env.get("DOCKER_CONFIG") or (home or Path.home()) / ".docker")
    address = url or env.get("DOCKER_HOST")
    if address:
        return _endpoint(address, _tls_of_environment(env, config))
    name = env.get("DOCKER_CONTEXT") or _current_context(config)
    if name and name != DEFAULT_CONTEXT:
        return _endpoint_of_context(config, name)
    return _endpoint(USUAL_SOCKET, None)


def _endpoint(address: str, tls: ssl.SSLContext | None) -> Endpoint:
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    if scheme == "unix":
        if not rest.startswith("/"):
            raise EngineAddressError(f"engine address {address!r}: a unix socket needs an absolute path")
        return Endpoint(address, socket=rest)
    if scheme not in {"tcp", "http", "https"}:
        raise EngineAddressError(
            f"engine address {address!r}: unix://, tcp://, http:// and https:// are understood"
        )
    if scheme == "https" and tls is None:
        tls = ssl.create_default_context()
    try:
        parsed = URL(f"{'http' if tls is None else 'https'}://{rest}")
        has_port = parsed.explicit_port is not None
    except ValueError as error:
        raise EngineAddressError(f"engine address {address!r}: {error}") from error
    if not parsed.host:
        raise EngineAddressError(f"engine address {address!r} has no host")
    if not has_port:
        parsed = parsed.with_port(PLAIN_PORT if tls is None else TLS_PORT)
    return Endpoint(address, base=str(parsed.with_query(None)).rstrip("/"), tls=tls)


def _tls_of_environment(env: Mapping[str, str], config: Path) -> ssl.SSLContext | None:
    """Any value of DOCKER_TLS_VERIFY turns TLS on, `0` too: that is how the docker command reads it."""
    verify = bool(env.get("DOCKER_TLS_VERIFY"))
    if not verify and not env.get("DOCKER_TLS"):
        return None
    return _tls(Path(env.get("DOCKER_CERT_PATH") or config), verify=verify)


def _tls(folder: Path, *, verify: bool) -> ssl.SSLContext:
    authority, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        if certificate.exists() or key.exists():
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise EngineAddressError(f"TLS material in {folder}: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _current_context(config: Path) -> str | None:
    content = _read_json(config / "config.json")
    name = content.get("currentContext") if content else None
    return name if isinstance(name, str) else None


def _endpoint_of_context(config: Path, name: str) -> Endpoint:
    folder = hashlib.sha256(name.encode()).hexdigest()
    content = _read_json(config / "contexts" / "meta" / folder / "meta.json")
    if content is None:
        raise EngineAddressError(f"docker context {name!r} is not in {config / 'contexts'}")
    endpoints = content.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(docker, dict) or not isinstance(host, str) or not host:
        raise EngineAddressError(f"docker context {name!r} names no host")
    material = config / "contexts" / "tls" / folder / "docker"
    verify = docker.get("SkipTLSVerify") is not True
    return _endpoint(host, _tls(material, verify=verify) if material.is_dir() else None)


def _read_json(path: Path) -> dict[str, Any] | None:
    """Read a file of Docker's configuration; None where it does not exist."""
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise EngineAddressError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise EngineAddressError(f"{path}: not a JSON object")
    return content
