"""The compose file does what its first lines say, on an engine of its own, with docker-compose 1.29."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import leave_out

ROOT = Path(__file__).resolve().parent.parent.parent
CANNOT_TRY = 77


@pytest.mark.timeout(540)
def test_the_compose_file_keeps_its_promises():
    proof = subprocess.run(
        [sys.executable, ROOT / "scripts" / "prove-compose"],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    if proof.returncode == CANNOT_TRY:
        leave_out("docker-compose on a bare engine", proof.stderr.strip())
    sys.stderr.write(proof.stderr)  # shown beside a failure
    code = proof.returncode
    assert code == 0
