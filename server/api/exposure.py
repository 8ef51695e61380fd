"""What is there on this machine alone, unless its operator says otherwise."""

from server.http.web_pages import is_loopback
from server.settings import Settings


def speaks_console(settings: Settings) -> bool:
    """Where it is not said, on this machine alone."""
    if settings.console is not None:
        return settings.console
    has_port, host = settings.has_port, settings.host
    if settings.ops_port is not None:
        has_port, host = True, settings.ops_host
    return not has_port or is_loopback(host)


def speaks_ollama(settings: Settings) -> bool:
    """Where it is not said, on this machine alone: clients that know no key look for it there."""
    if settings.ollama is not None:
        return settings.ollama
    return not settings.has_port or is_loopback(settings.host)
