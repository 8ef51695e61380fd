"""What wrong passwords are counted by: an address, or a browser in which the same name has signed
in before. So nobody behind the same proxy has such a browser wait (OWASP: device cookies)."""

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from server.console.sign_in.cookies import KNOWN, Cookies
from server.console.sign_in.door import address_of


def guesser_of(cookies: Cookies, request: Request, name: str) -> str:
    """As FailedTries takes an address."""
    browser, _, whose = (cookies.read(request, KNOWN) or "").partition(".")
    is_known = bool(browser) and hmac.compare_digest(whose, _digest(name))
    return f"browser {browser}" if is_known else address_of(request.scope)


def make_known(cookies: Cookies, request: Request, answer: Response, name: str) -> None:
    """Of one name at a time: the last."""
    cookies.set(request, answer, KNOWN, f"{secrets.token_urlsafe(16)}.{_digest(name)}")


def _digest(name: str) -> str:
    return hashlib.sha256(name.casefold().encode(errors="replace")).hexdigest()
