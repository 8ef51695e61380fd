"""Path -> what answers there, on a server of a site."""

from collections.abc import Mapping

from server.api.peer.calls import ChannelQuestion
from server.api.peer.counted import PeerMetrics
from server.api.peer.door import PeerDoor
from server.api.peer.held import HeldPrompts
from server.api.peer.questions import (
    EmbedQuestion,
    OpenQuestion,
    PulseQuestion,
    ScoreQuestion,
)
from server.api.services import Services
from server.http.asgi import App
from server.peers.wire import PATH


def peer_paths(services: Services) -> Mapping[str, App]:
    """None without a site: there is nobody who may ask."""
    metrics = PeerMetrics(services.metrics.registry)
    if services.ledger.ledger_url is None:
        return {}
    door = PeerDoor(services, metrics)
    return {
        f"{PATH}pulse": PulseQuestion(door),
        f"{PATH}open": OpenQuestion(door),
        f"{PATH}channel": ChannelQuestion(door, HeldPrompts()),
        f"{PATH}embed": EmbedQuestion(door),
        f"{PATH}score": ScoreQuestion(door),
    }
