"""What the demo shows, act by act; each ends with a claim, checked against the engine's own account."""

import asyncio
import time

from redis.asyncio import Redis

from contracts.events import DeadKind
from contracts.receipts import Receipt, ReceiptStatus, same_receipt
from pointsman.demo.containers import Wanted
from pointsman.demo.stage import SETTLE_SECONDS, WORKERS, Stage

WEB = Wanted("web", "Web shop", "infrastructure", port=8080, stops_after=0.2)
DETECTOR = Wanted("rtdetr", "Object detector", "ai", port=8001, healthy_after=0.6, stops_after=0.3)
METRICS = Wanted("metrics", "Metrics", "monitoring", port=9100)
KEY = "deploy-42"
#: Between the engine's word that it stops a container and the worker's death.
MOMENT = 0.3


def batch(seconds: float) -> Wanted:
    """Return the container that takes so many seconds to stop."""
    return Wanted("batch", "Nightly batch", "infrastructure", stops_after=seconds)


async def restart(stage: Stage) -> None:
    """One restart."""
    stage.screen.say("Restart web")
    before = stage.containers.count("web", "start")
    receipt = await stage.ask("restart", "web")
    starts = await stage.counted("web", "start", before, 1)
    stage.claim(
        "a restart is one restart",
        ok=receipt.succeeded and starts == 1,
        found=f"{receipt.code}, {starts} start by the engine's count",
    )


async def stop_and_start(stage: Stage) -> None:
    """Stop, and start again."""
    stage.screen.say("Stop metrics, and start it again")
    ends, starts = stage.containers.count("metrics", "die"), stage.containers.count("metrics", "start")
    stopped = await stage.ask("stop", "metrics")
    ended = await stage.counted("metrics", "die", ends, 1)
    again = await stage.ask("stop", "metrics")
    started = await stage.ask("start", "metrics")
    began = await stage.counted("metrics", "start", starts, 1)
    stage.claim(
        "stop stops, start starts, and a second stop is told that it is stopped already",
        ok=(
            stopped.succeeded
            and started.succeeded
            and again.error == "already_stopped"
            and (ended, began) == (1, 1)
        ),
        found=f"{stopped.code}, {again.code} {again.error}, {started.code}; {ended} end, {began} start",
    )


async def disable_and_enable(stage: Stage) -> None:
    """Disable, meet the guard, enable."""
    stage.screen.say("Disable rtdetr, try to restart it, enable it")
    before = stage.containers.count("rtdetr", "start")
    disabled = await stage.ask("disable", "rtdetr")
    refused = await stage.ask("restart", "rtdetr")
    enabled = await stage.ask("enable", "rtdetr")
    starts = stage.containers.count("rtdetr", "start") - before
    stage.claim(
        "a disabled service is left alone",
        ok=(disabled.succeeded and enabled.succeeded and refused.error == "service_disabled" and starts == 0),
        found=f"restart got {refused.code}, “{refused.message}”; {starts} starts",
    )


async def same_key_twice(stage: Stage) -> None:
    """One command, published twice at the same time."""
    stage.screen.say(f"Restart web twice with the same key, {KEY}")
    before = stage.containers.count("web", "start")
    one, other = await asyncio.gather(stage.ask("restart", "web", KEY), stage.ask("restart", "web", KEY))
    starts = await stage.counted("web", "start", before, 1)
    stored = await stage.client.subscriber.receipt(KEY)
    stage.claim(
        "the same key again does nothing, and both get the one receipt",
        ok=one.succeeded and same_receipt(one, other) and stored.duplicates == 1 and starts == 1,
        found=f"{starts} restart, {stored.duplicates} duplicate",
    )


async def garbage(stage: Stage) -> None:
    """Something that is no command, and a good one behind it, as redis-cli would add them."""
    stage.screen.say("Add garbage to the stream, and a restart of metrics right behind it")
    commands = stage.client.keys.commands
    async with Redis.from_url(stage.url, decode_responses=True, protocol=2) as redis:
        bad = await redis.xadd(commands, {"action": "explode", "service": "web"})
        good = await redis.xadd(commands, {"action": "restart", "service": "metrics"})
    receipt = await stage.client.publisher.wait(str(good), SETTLE_SECONDS)
    await stage.read_up_to(receipt)
    letters = await stage.client.subscriber.dead()
    mine = [letter for letter in letters if letter.entry == bad]
    stage.claim(
        "garbage becomes a dead letter and holds up nothing",
        ok=receipt.succeeded and [letter.kind for letter in mine] == [DeadKind.MALFORMED],
        found=f"“{mine[0].detail if mine else 'no dead letter'}”; the restart behind it: {receipt.code}",
    )


async def crash(stage: Stage) -> None:
    """Kill the worker that is in the middle of a restart."""
    stage.screen.say("Restart batch, which is slow to stop, and kill the worker that is at it")
    containers, publisher = stage.containers, stage.client.publisher
    kills, starts, ends = (containers.count("batch", what) for what in ("kill", "start", "die"))
    sent = await publisher.restart("batch")
    await containers.until("batch", "kill", kills + 1, SETTLE_SECONDS)
    await asyncio.sleep(MOMENT)
    first = await stage.client.subscriber.receipt(sent.id)
    victim = stage.workers[first.worker or WORKERS[0]]
    stage.screen.note(f"the engine is stopping batch for {victim.name}: kill -9 {victim.pid}")
    await victim.kill()
    killed = time.monotonic()
    early = containers.count("batch", "start") == starts
    await _taken_over(stage, sent.id)
    taken = time.monotonic() - killed
    stage.screen.note(f"another worker holds it {taken:.1f} s later, and looks before it acts")
    receipt = await publisher.wait(sent.id, SETTLE_SECONDS)
    await stage.read_up_to(receipt)
    restarts = await stage.counted("batch", "start", starts, 1)
    stopped = containers.count("batch", "die") - ends
    stage.claim(
        "a worker's death in the middle of a restart is survived, and the restart is not repeated",
        ok=(
            early
            and receipt.status is ReceiptStatus.SUCCEEDED
            and receipt.attempt == 2
            and receipt.worker not in {None, victim.name}
            and receipt.recovered is True
            and (restarts, stopped) == (1, 1)
        ),
        found=(
            f"{victim.name} killed, {receipt.worker} took over after {taken:.1f} s, {receipt.code} as "
            f"attempt {receipt.attempt}; {stopped} end and {restarts} start by the engine's count"
        ),
    )


async def _taken_over(stage: Stage, command_id: str) -> Receipt:
    """Return the receipt once a second attempt holds it, or it is settled. Raises TimeoutError."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            receipt = await stage.client.subscriber.receipt(command_id)
            if (receipt.attempt or 0) > 1 or receipt.settled:
                return receipt
            await asyncio.sleep(0.05)


async def farewell(stage: Stage) -> None:
    """Ask the workers that live to leave; then hold the reader's account and the engine's together."""
    stage.screen.say("Stop the worker that is left")
    codes = [await child.end() for child in stage.workers.values() if child.running]
    stage.claim("a worker that is asked to stop leaves in order", ok=codes == [0], found=f"exit code {codes}")
    stage.claim(
        "a reader got every event, in order, without a gap",
        ok=not stage.gaps and stage.events > 0,
        found=f"{stage.events} events" + (f"; {'; '.join(stage.gaps)}" if stage.gaps else ""),
    )


ACTS = (restart, stop_and_start, disable_and_enable, same_key_twice, garbage, crash, farewell)
