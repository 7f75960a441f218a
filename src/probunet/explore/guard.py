"""Who may talk to the server: Host, site of origin, declared length and token are checked before anything else runs."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probunet.explore.limits import Guesses, client_of
from probunet.io.uploads import MAXIMUM_BYTES

COOKIE = "probunet_token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEALTH, UPLOADS = "/api/health", "/api/images"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware.

    A page elsewhere could make a browser call a server on this machine: from a script, whose Origin is foreign; from an
    image or a frame, whose ``Sec-Fetch-Site`` is; or with another name for this machine (DNS rebinding), which the Host
    shows. All are refused before anything is computed. With a token, every request carries it: as ``Authorization:
    Bearer``, as cookie, or once as ``?token=`` which is answered with the cookie. Wrong tokens are limited by rate.

    Args:
        app: what is guarded.
        hosts: names that the Host header may have; ``None``: any (then there must be a token).
        token: ``None``: none is asked for.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None, token: str | None) -> None:
        if hosts is None and not token:
            raise ValueError("a server that any host may ask needs a token")
        self._app, self._hosts, self._token = app, hosts, token
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with what is wrong with it, or with a redirect that sets the cookie."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        answer = self._foreign(scope, headers) or self._too_long(scope, headers) or self._without_token(scope, headers)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _foreign(self, scope: Scope, headers: Headers) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            return PlainTextResponse("this server does not answer to that host name\n", 403)
        # a link elsewhere may lead to the page itself, which computes nothing until its own scripts ask
        elsewhere = headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and scope["path"] != "/"
        if elsewhere or (origin is not None and origin.partition("://")[2] != host):
            return PlainTextResponse("requests from other sites are refused\n", 403)
        return None

    def _too_long(self, scope: Scope, headers: Headers) -> Response | None:
        declared = headers.get("content-length", "0")
        allowed = MAXIMUM_BYTES if scope["path"] == UPLOADS else 0
        if declared.isdigit() and int(declared[:20]) <= allowed:
            return None
        return _last(f"a body of {declared[:20]} bytes is refused; at most {allowed:,} are read here\n", 413)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self._token is None or scope["path"] == HEALTH:
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        in_address = query.pop("token", "") if scope["path"] == "/" else ""
        carried = headers.get("authorization", "").removeprefix("Bearer "), _cookie(headers.get("cookie", ""))
        shown = [token for token in (in_address, *carried) if token]
        client = client_of(scope)
        if shown and self._guesses.exhausted(client):
            return _last("too many wrong tokens came from this address; wait a minute\n", 429)
        right = [secrets.compare_digest(token.encode(), self._token.encode()) for token in shown]
        if not any(right):
            if shown:
                self._guesses.add(client)
            return _last("a token is needed: open the address that the server printed\n", 401)
        if in_address and right[0]:
            answer = RedirectResponse("/" + (f"?{urlencode(query)}" if query else ""), 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        return None


def _last(words: str, status: int) -> Response:
    """An answer after which the connection ends, so that no body is waited for."""
    return PlainTextResponse(words, status, headers={"Connection": "close"})


def _name(address: str) -> str:
    try:
        parts = urlsplit(address)
        _ = parts.port  # refuses what is no number
        return parts.hostname or ""
    except ValueError:
        return ""


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
