"""Forms and links of a page, as a browser without JavaScript has them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx


@dataclass
class SeenForm:
    """`values`: what it would send if nobody typed anything."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class SeenField:
    """What is said of an input: the texts that describe it, and whether it is marked wrong."""

    is_wrong: bool
    described_by: list[str]


class SeenPage(HTMLParser):
    """Its forms by action, its links, its fields, its text."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.forms: dict[str, SeenForm] = {}
        self.links: list[str] = []
        self.fields: dict[str, SeenField] = {}
        self.by_id: dict[str, str] = {}
        self.text = ""
        self._form: SeenForm | None = None
        self._area = self._select = ""
        self._open: list[tuple[str, str]] = []
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag not in ("input", "meta", "link", "br", "rect"):
            self._open.append((tag, has.get("id", "")))
        if tag == "a":
            self.links.append(has["href"])
        if tag == "form":
            self._form = SeenForm(has.get("action", ""), has.get("method", "get"))
            self.forms[self._form.action] = self._form
        if tag in ("input", "select", "textarea"):
            self._field(tag, has)
        if tag == "option" and self._select and ("selected" in has or not self._chosen()):
            self._put(self._select, has["value"])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "form":
            self._form = None
        if tag == "textarea":
            self._area = ""
        if tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._area:
            before = "" if self._form is None else self._form.values.get(self._area, "")
            self._put(self._area, before + (data.removeprefix("\n") if not before else data))
        for _, name in self._open:
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data

    def _field(self, tag: str, has: dict[str, str]) -> None:
        name = has.get("name", "")
        described = has.get("aria-describedby", "").split()
        self.fields[name] = SeenField(has.get("aria-invalid") == "true", described)
        if tag == "textarea":
            self._area = name
            self._put(name, "")
        elif tag == "select":
            self._select = name
        elif has.get("type") not in ("checkbox", "radio") or "checked" in has:
            self._put(name, has.get("value", ""))

    def _chosen(self) -> bool:
        return self._form is not None and self._select in self._form.values

    def _put(self, name: str, value: str) -> None:
        if self._form is not None and name:
            self._form.values[name] = value

    def said_of(self, name: str) -> str:
        """What stands beside a field."""
        return " ".join(self.by_id.get(each, "") for each in self.fields[name].described_by)


class Visitor:
    """Walks the console as a person does, without JavaScript."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def open(self, path: str, status: int = 200) -> SeenPage:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return SeenPage(answer)

    async def send(self, page: SeenPage, action: str, **typed: str) -> httpx.Response:
        """A form of the page, with what is typed; a field's dot is written __."""
        form = page.forms[action]
        told = {name.replace("__", "."): text for name, text in typed.items()}
        return await self.client.request(form.method, action, data={**form.values, **told})
