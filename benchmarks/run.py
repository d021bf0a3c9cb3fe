"""All benchmarks in one run on one private Redis: `python benchmarks/run.py`, or `make bench`.

Prints tables with medians, ratios and targets in Markdown; what each measurement gave goes to stderr, and as
JSON lines to .benchmarks/. The full run takes at most twelve minutes, `--quick` at most three. A part that
cannot run here is left out, and that is said.
"""

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

from options import Options
from peers_here import ALL
from private_redis import PrivateRedis
from processes import ROOT, Failed
from report import Part, write_block

PARTS = ("drain", "latency", "takeover", "engine", "cost", "heal")
RESULTS = ROOT / ".benchmarks"
PAGE = ROOT / "docs" / "performance.md"
FULL_SECONDS, QUICK_SECONDS = 720.0, 180.0


def quick() -> Options:
    """Return the options of a quick run."""
    return Options(
        rounds=1,
        n=2000,
        peers=ALL[:3],
        seconds=4.0,
        leases=(10.0, 2.0, 0.5),
        containers=8,
        engine_rounds=2,
        idle_seconds=5.0,
        backlog=20_000,
        peers_cap=0.0,
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one round, small numbers, three peers")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3)")
    parser.add_argument("--n", type=int, help="commands of one drain (6000)")
    parser.add_argument("--seconds", type=float, help="seconds of 50 commands/s for the latency (10)")
    parser.add_argument("--peers", help=f"some of {','.join(ALL)}; empty for none")
    parser.add_argument("--leases", help="leases to try in the takeover, seconds (10,5,2,1,0.5)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.name}")
    return parser.parse_args()


def options_of(args: argparse.Namespace) -> Options:
    """Return the options that the command line asks for."""
    options = quick() if args.quick else Options()
    for name in ("rounds", "n", "seconds"):
        if getattr(args, name) is not None:
            setattr(options, name, getattr(args, name))
    if args.peers is not None:
        options.peers = tuple(name for name in args.peers.split(",") if name)
    if args.leases is not None:
        options.leases = tuple(float(word) for word in args.leases.split(","))
    if args.rounds is not None:
        options.engine_rounds = args.rounds
    options.until = time.monotonic() + (QUICK_SECONDS if args.quick else FULL_SECONDS)
    return options


def machine(redis: PrivateRedis) -> str:
    """Say where this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"Redis {redis.version} on loopback without persistence; load before the run {os.getloadavg()[0]:.2f}"
    )


def run_part(name: str, redis: PrivateRedis, options: Options) -> Part:
    """Run one part; what stops it is said in its place."""
    if options.over():
        return Part(name, left_out=[f"{name}: the run's time was up; run it alone: --parts {name}"])
    redis.empty()
    began = time.monotonic()
    try:
        part: Part = importlib.import_module(name).measure(redis, options)
    except Failed as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        part = Part(f"{name}: failed", left_out=[f"{name}: {str(error).splitlines()[0]}"])
    part.notes.append(f"took {time.monotonic() - began:.0f} s")
    return part


def main() -> int:
    """Run what is asked for; 1 when a target is missed."""
    args = parse()
    names = [name for name in args.parts.split(",") if name]
    if unknown := set(names) - set(PARTS):
        print(f"no such parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    options = options_of(args)
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    parts: list[Part] = []
    with PrivateRedis() as redis, (RESULTS / f"{stamp}.jsonl").open("w", encoding="utf-8") as log:
        options.log = log
        where = machine(redis)
        for name in names:
            print(f"== {name}", file=sys.stderr, flush=True)
            parts.append(run_part(name, redis, options))
    kind = "quick" if args.quick else "full"
    command = " ".join(["python benchmarks/run.py", *sys.argv[1:]])
    said = f"Measured {stamp[:10]} by `{command}` ({kind}): {where}."
    text = "\n\n".join([said, *(part.text() for part in parts)])
    print(text)
    (RESULTS / f"{stamp}.md").write_text(text + "\n", encoding="utf-8")
    if args.write_docs:
        write_block(PAGE, text)
    missed = [what for part in parts for what in part.missed]
    left_out = [what for part in parts for what in part.left_out]
    for what in left_out:
        print(f"LEFT OUT: {what}", file=sys.stderr)
    for what in missed:
        print(f"MISSED: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
