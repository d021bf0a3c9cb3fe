"""Probes of services, by HTTP and by TCP."""

from worker.adapters.probe.asker import NetworkAsker

__all__ = ["NetworkAsker"]
