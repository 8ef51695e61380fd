"""What waited while its model became another owner's does not run."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import httpx

from server.ledger.records import KeyLimits
from tests.support.serving import scripted, serving, wait_until

URL = "/v1/responses"


def test_a_queued_response_is_asked_again_whether_it_may(tmp_path: Path) -> None:
    slow = scripted("m", text="a " * 60, token_delay_s=0.01)
    with serving(tmp_path, slow, scripted("n")) as served:
        key = served.new_key(limits=KeyLimits(concurrent=1), owner="acme")
        with httpx.Client(base_url=served.url, headers={"X-API-Key": key}, timeout=60) as client:
            body = {"model": "m", "input": "x", "background": True}
            running, queued = (client.post(URL, json=body).json()["id"] for _ in range(2))
            registry = served.services.registry
            others = replace(registry.models["m"], owners=frozenset({"others"}))
            models = MappingProxyType({**registry.models, "m": others})
            served.services.registry = replace(registry, models=models)

            def ended() -> list[str]:
                found = [client.get(f"{URL}/{each}").json() for each in (running, queued)]
                return [each["status"] for each in found]

            wait_until(lambda: not {"queued", "in_progress"} & set(ended()), "both are over")
            assert ended() == ["completed", "failed"]
            said = client.get(f"{URL}/{queued}").json()["error"]["message"]
            assert "Unknown model" in said
