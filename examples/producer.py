import asyncio
import os

from publisher import Publisher


async def main() -> None:
    redis = os.environ.get("POINTSMAN_REDIS_URL", "redis://localhost:6379/0")
    async with Publisher(redis, issuer="producer.py") as room:
        receipt = await room.run("restart", "rtdetr", id="deploy-42", reason="new model")
        print(receipt.status, receipt.code, receipt.message)


asyncio.run(main())
