"""An engine in memory, with faults on demand: for tests, the demo and benchmarks."""

from worker.adapters.simulated.client import SimulatedClient
from worker.adapters.simulated.engine import SimulatedEngine
from worker.adapters.simulated.events import Effect, Event, Overlap
from worker.adapters.simulated.faults import Faults

__all__ = ["Effect", "Event", "Faults", "Overlap", "SimulatedClient", "SimulatedEngine"]
