"""Part 6: from an engine's own stamp of a death to the changed event and to our start call.

`heal_latency.py` measures it, a program of its own; this part runs it and takes in what it prints.
"""

import os
import subprocess
import sys

from options import Options
from private_redis import PrivateRedis
from processes import HERE, ROOT, Failed
from report import Part

PROGRAM = HERE / "heal_latency.py"
WITHIN = 150.0
DEATHS, FEW_DEATHS = 100, 20


def measure(redis: PrivateRedis, options: Options) -> Part:  # noqa: ARG001 -- it has a Redis of its own
    """Run the part."""
    part = Part("Heal: from a container's death to our start call")
    if not PROGRAM.exists():
        part.left_out.append(f"heal: {PROGRAM.name} is not there")
        return part
    deaths = DEATHS if options.rounds > 1 else FEW_DEATHS
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), "--deaths", str(deaths)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{PROGRAM.name}: no end within {WITHIN:g} s") from error
    if done.returncode:
        raise Failed(f"{PROGRAM.name}: exit code {done.returncode}\n{done.stderr[-1500:]}")
    lines = done.stdout.strip().splitlines()
    part.tables.append("\n".join(line for line in lines if not line.startswith("### ")).strip())
    part.missed_elsewhere = [line.split("|")[1].strip() for line in lines if line.endswith("| **no** |")]
    return part
