"""Redis by the addresses that are promised: TLS, a unix socket, a user with a password, another database."""

import shutil
import subprocess
from pathlib import Path

import pytest

from publisher import Publisher
from subscriber import Subscriber
from tests.support.host import LOOPBACK, free_port
from tests.support.needs import leave_out
from tests.support.redis import MakeRedis
from tests.support.waiting import eventually
from tests.support.workers import worker_here
from worker.adapters.simulated import SimulatedEngine


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of this machine's own for the loopback address; return it and its key."""
    if shutil.which("openssl") is None:
        leave_out("openssl", "apt-get install openssl")
    certificate, key = folder / "redis.crt", folder / "redis.key"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis"]
    names = ["-addext", f"subjectAltName=IP:{LOOPBACK}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *made, *names, *files], check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.mark.parametrize("kind", ["tls", "unix", "database"])
async def test_a_command_runs_over_each_kind_of_address(
    kind: str, make_redis: MakeRedis, simulated: SimulatedEngine, tmp_path: Path
) -> None:
    match kind:
        case "tls":
            certificate, key = _certificate(tmp_path)
            port = free_port()
            server = make_redis(
                "7", tls_port=port, tls_cert_file=certificate, tls_key_file=key, tls_auth_clients=False
            )
            url = f"rediss://app:s3cr%2Ft@{LOOPBACK}:{port}/0?ssl_ca_certs={certificate}"
        case "unix":
            server = make_redis(unixsocket="redis.sock")
            url = f"unix://app:s3cr%2Ft@{server.directory}/redis.sock?db=0"
        case _:
            server = make_redis()
            url = f"redis://app:s3cr%2Ft@{LOOPBACK}:{server.port}/3"
    server.admin.acl_setuser(
        "app", enabled=True, passwords=["+s3cr/t"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    simulated.add("web")
    async with worker_here(url, simulated), Publisher(url) as publisher, Subscriber(url) as subscriber:
        receipt = await publisher.run("restart", "web", wait=10)
        assert (receipt.status, receipt.changed) == ("succeeded", True)

        async def counted() -> bool:
            return (await subscriber.get("web")).restart_count == 1

        await eventually(counted, within=5, what="the snapshot shows the restart")
