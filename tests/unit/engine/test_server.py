"""The simulated engine's HTTP front, as the docker command sees it."""

import asyncio
import os
import shutil

import pytest

from tests.support.needs import leave_out
from tests.support.waiting import eventually
from worker.adapters.docker import DockerEngine
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer
from worker.ports import EngineFailed, EngineUnavailable


async def docker(url: str, *arguments: str) -> tuple[int, str]:
    """Run the docker command against that engine."""
    program = shutil.which("docker")
    if program is None:
        leave_out("the docker command", "apt-get install docker.io")
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": url, "HOME": "/nonexistent"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()


async def test_the_docker_command_can_work_with_it(
    simulated: SimulatedEngine, simulated_server: SimulatedServer
):
    url = simulated_server.url
    one = simulated.add("web", health=True)
    simulated.add("idle", running=False)
    code, said = await docker(url, "ps", "--format", "{{.Names}} {{.Status}}")
    assert (code, said) == (0, "web Up (healthy)\n")
    code, said = await docker(url, "ps", "-aq", "--no-trunc", "--filter", "name=web")
    assert (code, said.strip()) == (0, one)
    code, said = await docker(url, "inspect", "web", "--format", "{{.State.Status}} {{.State.Health.Status}}")
    assert (code, said) == (0, "running healthy\n")
    assert await docker(url, "restart", "-t", "1", one[:12]) == (0, f"{one[:12]}\n")
    assert await docker(url, "stop", "web") == (0, "web\n")
    assert await docker(url, "start", "web") == (0, "web\n")
    code, said = await docker(url, "restart", "nobody")
    assert (code, "No such container: nobody" in said) == (1, True)
    code, said = await docker(
        url, "events", "--since", "1m", "--until", "0s", "--filter", "event=die", "--format", "{{.Action}}"
    )
    assert (code, said.split()) == (0, ["die", "die"])
    assert [effect.kind for effect in simulated.effects(one)] == ["start", "die", "start", "die", "start"]


async def test_two_servers_before_one_engine_fail_one_by_one(simulated: SimulatedEngine):
    one = simulated.add("web")
    async with SimulatedServer(simulated) as first, SimulatedServer(simulated) as second:
        engines = [DockerEngine(server.url) for server in (first, second)]
        try:
            first.faults.outage()
            with pytest.raises(EngineUnavailable):
                await engines[0].inspect(one)
            await engines[1].restart(one, 1, 5)
            first.faults.recover()
            first.faults.fail_next("restart", 409, "busy with something else")
            with pytest.raises(EngineFailed, match="busy with something else"):
                await engines[0].restart(one, 1, 5)
            await engines[0].restart(one, 1, 5)
        finally:
            for engine in engines:
                await engine.close()
    assert len(simulated.effects(one, "start")) == 3


async def test_a_container_can_be_disturbed_and_removed_from_outside(
    simulated: SimulatedEngine, simulated_server: SimulatedServer
):
    url = simulated_server.url
    simulated.add("web")
    assert await docker(url, "pause", "web") == (0, "web\n")
    code, said = await docker(url, "start", "web")
    assert (code, "paused" in said) == (1, True)
    assert await docker(url, "unpause", "web") == (0, "web\n")
    assert await docker(url, "rename", "web", "site") == (0, "")
    code, said = await docker(url, "rm", "site")
    assert (code, "cannot remove a running container" in said) == (1, True)
    assert await docker(url, "kill", "site") == (0, "site\n")
    assert await docker(url, "rm", "site") == (0, "site\n")
    code, said = await docker(url, "logs", "site")
    assert code == 1


async def test_closing_lets_go_whoever_still_waits(simulated: SimulatedEngine):
    one = simulated.add("web", stop_delay=30)
    server = SimulatedServer(simulated)
    await server.start()
    engine = DockerEngine(server.url)
    signals = engine.signals()
    await anext(signals)
    waiting = asyncio.create_task(engine.restart(one, 60, 60))
    await eventually(lambda: simulated.container(one).at_work == ["restart"])
    await asyncio.wait_for(server.close(), 3)
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(waiting, 3)
    await engine.close()
