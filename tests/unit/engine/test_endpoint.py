"""The engine is found where Docker's own tools would find it."""

import hashlib
import json
import ssl
from pathlib import Path

import pytest

from worker.adapters.docker.endpoint import EngineAddressError, find_endpoint
from worker.adapters.docker.engine import DockerEngine


def make_context(home: Path, name: str, content: object) -> Path:
    """Write a context as the docker command does; return the folder for its TLS material."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker" / "contexts" / "meta" / folder / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps(content))
    return home / ".docker" / "contexts" / "tls" / folder / "docker"


def named(host: str, **more: object) -> dict[str, object]:
    return {"Endpoints": {"docker": {"Host": host, **more}}}


def make_current(home: Path, name: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"currentContext": name}))


def test_the_order_is_address_host_context_current_usual(tmp_path: Path):
    for name in ("wanted", "current"):
        make_context(tmp_path, name, named(f"unix:///{name}.sock"))
    make_current(tmp_path, "current")
    every = {"DOCKER_HOST": "unix:///host.sock", "DOCKER_CONTEXT": "wanted"}

    def found(url: str | None, environ: dict[str, str], home: Path = tmp_path) -> str | None:
        return find_endpoint(url, environ=environ, home=home).socket

    assert found("unix:///given.sock", every) == "/given.sock"
    assert found(None, every) == "/host.sock"
    assert found(None, {"DOCKER_CONTEXT": "wanted"}) == "/wanted.sock"
    assert found(None, {}) == "/current.sock"
    assert found(None, {"DOCKER_CONTEXT": "default"}) == "/var/run/docker.sock"
    assert found(None, {"DOCKER_HOST": ""}, tmp_path / "nobody") == "/var/run/docker.sock"
    assert found(None, {"DOCKER_CONFIG": str(tmp_path / ".docker")}, tmp_path / "nobody") == "/current.sock"


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("tcp://proxy:2375", "http://proxy:2375"),
        ("tcp://proxy", "http://proxy:2375"),
        ("proxy:1234", "http://proxy:1234"),
        ("http://proxy:8080/engine/", "http://proxy:8080/engine"),
        ("tcp://[::1]:2375", "http://[::1]:2375"),
    ],
)
def test_network_addresses(address: str, base: str):
    endpoint = find_endpoint(address, environ={})
    assert (endpoint.base, endpoint.socket, endpoint.tls) == (base, None, None)


@pytest.mark.parametrize(
    "address", ["ssh://me@host", "unix://relative.sock", "npipe:////./pipe/docker", "tcp://", "tcp://h:port"]
)
def test_an_address_of_no_use_is_refused_at_once(address: str):
    with pytest.raises(EngineAddressError, match="engine address"):
        find_endpoint(address, environ={})
    with pytest.raises(EngineAddressError):
        DockerEngine(address)


def test_tls_as_the_environment_asks(tmp_path: Path):
    assert find_endpoint("https://proxy", environ={}, home=tmp_path).base == "https://proxy:2376"
    verified = find_endpoint("tcp://proxy", environ={"DOCKER_TLS_VERIFY": "1"}, home=tmp_path)
    assert verified.base == "https://proxy:2376"
    assert verified.tls is not None
    assert verified.tls.verify_mode is ssl.CERT_REQUIRED
    trusting = find_endpoint("tcp://proxy", environ={"DOCKER_TLS": "1"}, home=tmp_path)
    assert trusting.tls is not None
    assert trusting.tls.verify_mode is ssl.CERT_NONE
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(EngineAddressError, match="TLS material"):
        find_endpoint("tcp://proxy", environ={"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)})


def test_a_contexts_tls_material_is_used(tmp_path: Path):
    material = make_context(tmp_path, "far", named("tcp://far:2376", SkipTLSVerify=True))
    environ = {"DOCKER_CONTEXT": "far"}
    assert find_endpoint(environ=environ, home=tmp_path).tls is None
    material.mkdir(parents=True)
    endpoint = find_endpoint(environ=environ, home=tmp_path)
    assert endpoint.base == "https://far:2376"
    assert endpoint.tls is not None
    assert endpoint.tls.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("content", [[], {}, {"Endpoints": None}, {"Endpoints": {"docker": {"Host": 5}}}])
def test_a_context_that_says_nothing_is_refused(tmp_path: Path, content: object):
    make_context(tmp_path, "broken", content)
    with pytest.raises(EngineAddressError):
        find_endpoint(environ={"DOCKER_CONTEXT": "broken"}, home=tmp_path)


def test_a_context_that_is_not_there_is_refused(tmp_path: Path):
    make_current(tmp_path, "gone")
    with pytest.raises(EngineAddressError, match="'gone'"):
        find_endpoint(environ={}, home=tmp_path)
    (tmp_path / ".docker" / "config.json").write_text("{nonsense")
    with pytest.raises(EngineAddressError, match=r"config\.json"):
        find_endpoint(environ={}, home=tmp_path)
