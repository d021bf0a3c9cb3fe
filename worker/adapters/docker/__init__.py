"""The engine port on a Docker engine, or on what speaks its API."""

from worker.adapters.docker.endpoint import Endpoint, find_endpoint
from worker.adapters.docker.engine import DockerEngine
from worker.adapters.docker.timing import Timing

__all__ = ["DockerEngine", "Endpoint", "Timing", "find_endpoint"]
