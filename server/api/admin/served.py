"""The routes of /admin/v1 that are of this server's own work: its models, requests and memory; and
of the servers of its site."""

from fastapi import APIRouter

from server.accounts.auth import KeyRing
from server.api.admin.content import add_content_routes
from server.api.admin.memory import add_memory_route
from server.api.admin.models import add_model_routes
from server.api.admin.node_probe import add_node_probe_route
from server.api.admin.nodes import add_node_routes
from server.api.admin.now.routes import add_now_routes
from server.api.admin.registry import add_running_registry_routes
from server.api.admin.requests import add_request_routes
from server.api.admin.router import opened
from server.api.services import Services
from server.http.recent_requests import RecentRequests


def add_served_routes(
    router: APIRouter, services: Services, recent: RecentRequests, ring: KeyRing
) -> None:
    add_model_routes(router, services)
    add_running_registry_routes(router, services)
    add_memory_route(router, services)
    add_content_routes(router, opened(services.ledger.open_books), services)
    add_request_routes(router, recent, ring)
    add_now_routes(router, services, recent)
    add_node_routes(router, services)
    add_node_probe_route(router, services)
