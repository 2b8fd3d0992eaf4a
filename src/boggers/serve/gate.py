"""What every request passes first: who asks, how much it sends, and a name for the log."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boggers.serve.errors import ApiError
from boggers.serve.house import House
from boggers.serve.limits import MEGABYTE

log = logging.getLogger("boggers.serve.access")

OPEN = frozenset({"/health", "/health/live", "/"})
"""What needs no key: whether the server lives, and a page (with its files) that asks for one."""

DISCARDED = 64 * MEGABYTE
"""How much of a refused request is read to its end."""

NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Gate:
    """Refuses what is too large or has no key; counts and names the rest.

    Args:
        app: what lies behind. house: keys, limits and counters.
    """

    def __init__(self, app: ASGIApp, house: House) -> None:
        self.app = app
        self.house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        name = given if NAME.fullmatch(given) else secrets.token_hex(8)
        began, status = time.monotonic(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = name
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await _discard(receive)
                await refusal.response()(scope, receive, named)
                return
            await self.app(scope, self._counted(receive, headers), named)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.house.metrics.requests.labels(route, status).inc()
            took = time.monotonic() - began
            log.info("%s %s %s %d %.3fs", name, scope["method"], route, status, took)

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        """Why this request is not let in."""
        if scope["method"] != "OPTIONS" and not _is_open(scope["path"]):
            scheme, _, key = headers.get("authorization", "").partition(" ")
            if not self.house.allowed(key.strip() if scheme.lower() == "bearer" else None):
                sentence = "This server needs a key: Authorization: Bearer KEY."
                return ApiError(401, sentence, "invalid_api_key")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most:
            return self._too_large()
        return None

    def _counted(self, receive: Receive, headers: Headers) -> Receive:
        """A body that says how long it is was checked; one that does not is counted."""
        if "content-length" in headers:
            return receive
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, self._too_large().message)
            return message

        return counted

    @property
    def _most(self) -> int:
        return int(self.house.limits.max_body_mb * MEGABYTE)

    def _too_large(self) -> ApiError:
        most = self.house.limits.max_body_mb
        return ApiError(413, f"A request may have {most:g} MB. Send less.", "request_too_large")


async def _discard(receive: Receive) -> None:
    """Read what the client is still sending: one that is cut off while it sends hears no answer."""
    seen, more = 0, True
    while more and seen < DISCARDED:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message.get("more_body", False)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/page/")
