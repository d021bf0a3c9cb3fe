"""The usage examples of the Services API, word for word, and what it takes to run them."""

import asyncio
import socket
import subprocess

from tests.support.processes import clean_environment

PYTHON = """\
import requests

def check_ai_services():
    response = requests.get(
        "http://localhost:8000/api/system/services",
        params={"category": "ai"}
    )
    data = response.json()

    unhealthy = [s for s in data['services'] if s['status'] != 'running']

    if unhealthy:
        print(f"Unhealthy AI services: {[s['name'] for s in unhealthy]}")
        for service in unhealthy:
            print(f"  - {service['display_name']}: {service['status']}")
    else:
        print("All AI services are healthy")

    return data['by_category']['ai']
"""
JAVASCRIPT = """\
async function restartService(serviceName) {
  try {
    const response = await fetch(`/api/system/services/${serviceName}/restart`, { method: 'POST' });

    if (!response.ok) {
      const error = await response.json();
      throw new Error(error.detail || 'Failed to restart service');
    }

    const result = await response.json();
    console.log(result.message);
    return result.service;
  } catch (error) {
    console.error(`Error restarting ${serviceName}:`, error);
    throw error;
  }
}
"""
CURL = """\
# Disable the nemotron service
curl -X POST http://localhost:8000/api/system/services/nemotron/disable

# Re-enable it later
curl -X POST http://localhost:8000/api/system/services/nemotron/enable
"""
#: A page's fetch knows where the page is from; node's must be told.
PAGE = (
    "const page = 'http://localhost:8000/', there = fetch;\n"
    "fetch = (where, how) => there(new URL(where, page), how);\n"
)
#: Calls the example with the name that the script is given, and prints what it returns.
CALL = "restartService(process.argv[2]).then((s) => console.log(JSON.stringify(s)), () => process.exit(9));\n"


def port_is_free() -> bool:
    """Tell whether the examples' port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            return False
    return True


async def outcome(*command: str, within: float = 30) -> "subprocess.CompletedProcess[str]":
    """Run a command beside the event loop."""
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
        env=clean_environment(no_proxy="*"),
    )
