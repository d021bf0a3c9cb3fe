"""The seam where foreign exceptions become ours, chained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import msgspec
from aiodocker.exceptions import DockerError

from worker.ports import EngineBusy, EngineError, EngineFailed, EngineUnavailable

#: aiodocker's own number for "cannot connect".
_NO_CONNECTION: Final = 900
#: What a proxy before the engine says when it is the engine that does not answer.
_GATEWAY: Final = frozenset({502, 503, 504})
_GATEWAY_TIMEOUT: Final = 504


@contextmanager
def mapped(what: str, *, late: type[EngineBusy] | type[EngineUnavailable]) -> Iterator[None]:
    """Let only `EngineError` out; `late` is what a bound that ran out means for this call."""
    try:
        yield
    except EngineError:
        raise
    except DockerError as error:
        raise answered(what, error.status, error.message, late=late) from error
    except aiohttp.ServerTimeoutError as error:  # a TimeoutError too, but nothing was sent yet
        raise EngineUnavailable(f"{what}: no connection to the engine in time") from error
    except TimeoutError as error:
        raise late(f"{what}: no answer from the engine in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnavailable(f"{what}: {error or type(error).__name__}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise EngineFailed(f"{what}: the engine's answer makes no sense: {error}", 500) from error


def answered(
    what: str, status: int, message: object, *, late: type[EngineBusy] | type[EngineUnavailable]
) -> EngineError:
    """Turn an error answer into ours, with the engine's own words."""
    words = _words(message)
    if status == _NO_CONNECTION:
        return EngineUnavailable(f"{what}: {words}")
    if status == _GATEWAY_TIMEOUT:
        return late(f"{what}: {words or 'gateway timeout'}")
    if status in _GATEWAY:
        return EngineUnavailable(f"{what}: {words or f'status {status}'}")
    return EngineFailed(words or f"{what}: status {status}", status)


def _words(message: object) -> str:
    """Return the sentence; aiodocker leaves the JSON around it unless the content type is spelled its way."""
    text = str(message).strip()
    if text.startswith("{"):
        try:
            content = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
        if isinstance(content, dict) and isinstance(content.get("message"), str):
            return str(content["message"])
    return text
