"""`access:` of the registry: the issuers that people sign in with, and who they then are."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engines.registry.access import AccessEntry, IssuerEntry, RuleEntry
from server.sign_in.code_flow import CodeFlow

log = logging.getLogger("fjord.console")


class Issuers:
    """As the registry has them now; belongs to one event loop."""

    def __init__(
        self,
        access: Callable[[], AccessEntry],
        *,
        is_offline: bool = False,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._access = access
        self._is_offline = is_offline
        self._environment = environment
        self._flows: dict[str, CodeFlow] = {}

    def names(self) -> Sequence[str]:
        """Offline, no socket is opened to an issuer."""
        return [] if self._is_offline else [each.name for each in self._access().issuers]

    def flow(self, name: str) -> CodeFlow | None:
        """None: there is no such issuer."""
        entries = {each.name: each for each in self._access().issuers}
        if name not in entries or self._is_offline:
            return None
        known = self._flows.get(name)
        if known is None or known.entry != entries[name]:
            known = self._flows[name] = CodeFlow(entries[name], self._secret(entries[name]))
        return known

    def _secret(self, entry: IssuerEntry) -> str | None:
        name = entry.client_secret_env
        secret = None if name is None else self._environment.get(name)
        if name is not None and not secret:
            log.warning("%s is not set: %s is asked without a client's secret", name, entry.name)
        return secret or None


def rule_of(entry: IssuerEntry, claims: Mapping[str, Any]) -> RuleEntry | None:
    """The first rule that fits; None: nobody here."""
    return next((rule for rule in entry.rules if rule.has in values_of(claims, rule.claim)), None)


def values_of(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Of a claim with that very name, else of the path that it is: realm_access.roles."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for step in name.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    return frozenset(value for value in values if isinstance(value, str))
