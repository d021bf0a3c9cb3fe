import asyncio
import os

from subscriber import Change, Reset, Subscriber


async def main() -> None:
    redis = os.environ.get("POINTSMAN_REDIS_URL", "redis://localhost:6379/0")
    async with Subscriber(redis) as room, room.watch() as items:
        async for item in items:
            match item:
                case Reset(snapshots=services):
                    print("now:", {service.name: service.status.value for service in services})
                case Change(event=event):
                    print(event.revision, event.type, event.subject)


asyncio.run(main())
