"""The nodes that this server asks: one client each."""

from engines.base import Engine
from engines.registry.spec import EngineSpec
from server.peers.client import PeerClient
from server.peers.directory import Directory
from server.peers.engine import PeerEngine


class Peers:
    """By their names."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._clients: dict[str, PeerClient] = {}

    def engine(self, spec: EngineSpec) -> Engine:
        """Of an alias on one of its nodes: the replica's number says on which."""
        node = spec.args["nodes"][spec.replica]
        if node not in self._clients:
            self._clients[node] = PeerClient(node, self._directory)
        return PeerEngine(spec.source, self._clients[node])
