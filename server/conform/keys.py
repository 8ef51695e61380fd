"""Checks: which keys are taken, in which header, and how the others are refused."""

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import CHAT, MODELS, Target
from server.conform.unmet import Unmet

UNKNOWN = "wayscloud_llm_abc12_YOUR_SECRET"
OTHER_SERVICE = "wayscloud_dns_abc12_YOUR_SECRET"


@documented("auth-x-api-key")
def x_api_key(t: Target) -> None:
    """A key in X-API-Key is taken"""
    expect.status(t.get(MODELS, {"X-API-Key": t.key}), 200)


@documented("auth-bearer")
def bearer(t: Target) -> None:
    """A key in Authorization: Bearer is taken"""
    expect.status(t.get(MODELS, {"Authorization": f"Bearer {t.key}"}), 200)


@declared("auth-scheme-case")
def scheme_in_any_case(t: Target) -> None:
    """The scheme's case does not matter: bearer, BEARER"""
    for scheme in ("bearer", "BEARER"):
        expect.status(t.get(MODELS, {"Authorization": f"{scheme} {t.key}"}), 200)


@declared("auth-both")
def x_api_key_counts(t: Target) -> None:
    """Of two keys the one in X-API-Key counts"""
    good, bad = f"Bearer {t.key}", f"Bearer {UNKNOWN}"
    expect.status(t.get(MODELS, {"X-API-Key": t.key, "Authorization": bad}), 200)
    expect.status(t.get(MODELS, {"X-API-Key": UNKNOWN, "Authorization": good}), 401)


@documented("auth-failed")
def no_key(t: Target) -> None:
    """No key: 401 AUTH_FAILED"""
    expect.refused(t.http.post(CHAT, json=t.body()), 401, "AUTH_FAILED")


@documented("auth-failed")
def unknown_key(t: Target) -> None:
    """An unknown key: 401 AUTH_FAILED"""
    expect.refused(t.post(CHAT, t.body(), {"X-API-Key": UNKNOWN}), 401, "AUTH_FAILED")


@declared("auth-failed-forms")
def strange_credentials(t: Target) -> None:
    """Another scheme, an empty key, an empty token: 401"""
    for headers in ({"Authorization": "Basic abc"}, {"X-API-Key": ""}, {"Authorization": "Bearer"}):
        expect.refused(t.get(MODELS, headers), 401, "AUTH_FAILED")


@declared("auth-challenge")
def challenge(t: Target) -> None:
    """A 401 has WWW-Authenticate"""
    answer = t.get(MODELS, {"X-API-Key": UNKNOWN})
    expect.status(answer, 401)
    expect.that("www-authenticate" in answer.headers, "WWW-Authenticate", dict(answer.headers))


@documented("auth-other-service")
def key_of_another_service(t: Target) -> None:
    """A key of another service: 403 INSUFFICIENT_PERMISSIONS"""
    answer = t.post(CHAT, t.body(), {"X-API-Key": OTHER_SERVICE})
    expect.refused(answer, 403, "INSUFFICIENT_PERMISSIONS")


@declared("auth-models")
def models_need_a_key(t: Target) -> None:
    """The models' list needs a key"""
    expect.refused(t.get(MODELS, {}), 401, "AUTH_FAILED")


@declared("auth-not-repeated")
def key_is_not_repeated(t: Target) -> None:
    """A refusal does not repeat the key"""
    for secret in (UNKNOWN, OTHER_SERVICE):
        answer = t.get(MODELS, {"X-API-Key": secret})
        if secret in answer.text:
            raise Unmet("no key in the answer", answer.text)
