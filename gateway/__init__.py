"""HTTP for those who do not speak Redis: the Services API, commands, dead letters, events, health.

Stands on `publisher` and `subscriber`; it knows neither workers nor engines. Needs the extra
`pointsman[gateway]`.
"""

from gateway.app import Gateway, create_app
from gateway.settings import GatewaySettings

__all__ = ["Gateway", "GatewaySettings", "create_app"]
