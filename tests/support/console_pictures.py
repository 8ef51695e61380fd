"""Pictures of the console's pages, of a server that has had a busy morning.

`python -m tests.support.console_pictures` writes docs/pictures/console-*.png.
"""

import io
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page

from server.accounts.tenant_wire import OwnerPatch
from server.ledger.owner_store import OwnerStore
from server.ledger.password_store import PasswordStore
from tests.support.browser import PHONE, chromium, tab
from tests.support.paths import ROOT
from tests.support.serving import Served, scripted, serving

PICTURES = ROOT / "docs/pictures"
PASSWORD = "a sentence that nobody says"
ANSWER = "A fjord is a long, deep arm of the sea between high cliffs, carved by a glacier. " * 2
OWNERS = {"acme": "400", "lab": "40", "school": "25"}
SHOTS = ("", "/models/qwen3-8b", "/keys", "/owners", "/usage?by=owner", "/requests", "/audit")


def main() -> None:
    models = [
        scripted("qwen3-8b", text=ANSWER, token_delay_s=0.02),
        scripted("mixtral-8x7b", text=ANSWER, token_delay_s=0.03),
        scripted("bge-m3", task="embed"),
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), *models) as served,
        chromium() as browser,
    ):
        keys = _people(served)
        is_over = threading.Event()
        crowd = [threading.Thread(target=_asks, args=(served, key, is_over)) for key in keys * 3]
        for each in crowd:
            each.start()
        try:
            with tab(browser, served.url) as shown:
                _enter(shown.page, _link(served))
                shown.page.wait_for_timeout(20_000)  # for the plots
                for path in SHOTS:
                    shown.page.goto(f"/console{path}")
                    shown.page.wait_for_timeout(1500)
                    _keep(shown.page, path.strip("/").partition("/")[0].partition("?")[0] or "now")
                _chat(shown.page)
            with tab(browser, served.url, size=PHONE, scheme="dark") as shown:
                _sign_in(shown.page)
                shown.page.wait_for_timeout(5000)
                _keep(shown.page, "phone")
        finally:
            is_over.set()
            for each in crowd:
                each.join()


def _people(served: Served) -> list[str]:
    """Owners with budgets; a key's text of each."""
    texts = []
    for owner in OWNERS:
        texts.append(served.new_key(name=f"{owner}'s service", owner=owner))
    with closing(served.services.ledger.open_books()) as books:
        for owner, amount in OWNERS.items():
            budget = {"kind": "money", "amount": f"0.{amount}", "period": "month"}
            patch = OwnerPatch.model_validate({"budget": budget, "currency": "NOK", "weight": 2})
            OwnerStore(books).update(owner, patch.apply)
    return texts


def _asks(served: Served, key: str, is_over: threading.Event) -> None:
    with httpx.Client(base_url=served.url, headers={"X-API-Key": key}, timeout=60) as client:
        while not is_over.is_set():
            for model in ("qwen3-8b", "mixtral-8x7b", "qwen3-8b"):
                body = {"model": model, "messages": [{"role": "user", "content": "Hei"}]}
                client.post("/v1/chat/completions", json=body | {"stream": True})
            client.post("/v1/embeddings", json={"model": "bge-m3", "input": "Hei"})
            is_over.wait(0.3)


def _link(served: Served) -> str:
    with closing(served.services.ledger.open_books()) as books:
        return f"/console/welcome/{PasswordStore(books).invite(None)}"


def _enter(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("Once more").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()


def _sign_in(page: Page) -> None:
    page.goto("/console/sign-in")
    page.get_by_label("Name or e-mail address").fill("Ada Lovelace")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def _chat(page: Page) -> None:
    page.goto("/console/chat")
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Two side by side").check()
    page.locator("#model-1").select_option("mixtral-8x7b")
    page.get_by_label("Message", exact=True).fill("What is a fjord?")
    page.get_by_role("button", name="Send").click()
    page.wait_for_timeout(6000)
    _keep(page, "chat")


def _keep(page: Page, name: str) -> None:
    """A PNG of at most 128 colours."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = PICTURES / f"console-{name}.png"
    shot.quantize(128).save(path, optimize=True)
    sys.stderr.write(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
