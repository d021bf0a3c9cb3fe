"""A producer of ours: `python producer.py REDIS_URL RATE SECONDS`; publishes, waits, prints one line of JSON."""

import asyncio
import json
import sys
import time

from publisher import Publisher


async def produce(url: str, rate: float, seconds: float) -> dict[str, object]:
    """Publish restarts at a steady rate, one for each service; return when each went out and came back."""
    sent: dict[str, tuple[float, float]] = {}
    async with Publisher(url) as publisher:

        async def one(service: str) -> None:
            published = time.time()
            receipt = await publisher.run("restart", service, wait=20)
            sent[service] = (published, time.time())
            if receipt.status != "succeeded":
                raise RuntimeError(f"{service}: {receipt.status} {receipt.message}")

        await one("svc0")  # the connections are there then; the peers' are, too
        began, tasks = time.perf_counter(), []
        for number in range(1, int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(one(f"svc{number}")))
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    del sent["svc0"]
    errors = [repr(end) for end in ends if isinstance(end, BaseException)]
    return {"sent": sent, "errors": errors[:3]}


def main() -> None:
    print(json.dumps(asyncio.run(produce(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))))


if __name__ == "__main__":
    main()
