"""What every endpoint is given: the house, the bridge to the engine, who asks."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from boggers.serve.house import House
from boggers.serve.talk import Bridge


def house_of(request: Request) -> House:
    """The house that the application serves."""
    house: House = request.app.state.house
    return house


def bridge_of(request: Request) -> Bridge:
    """The bridge into the running loop."""
    bridge: Bridge = request.app.state.bridge
    return bridge


def client_of(request: Request) -> str:
    """Who asks: the key, not readable, or else the address."""
    key = request.headers.get("authorization")
    if key:
        return hashlib.sha256(key.encode()).hexdigest()[:16]
    return "" if request.client is None else request.client.host


InHouse = Annotated[House, Depends(house_of)]
OverBridge = Annotated[Bridge, Depends(bridge_of)]
Client = Annotated[str, Depends(client_of)]


def events(lines: AsyncIterator[str]) -> EventSourceResponse:
    """Lines of JSON as server-sent events, as OpenAI sends them."""

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for line in lines:
            yield ServerSentEvent(data=line, sep="\n")

    return EventSourceResponse(stream(), sep="\n", ping=15)


STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {
                        "data": {
                            "type": "string",
                            "description": "A piece of the answer as JSON, or an error object; "
                            "[DONE] at the end.",
                        }
                    },
                },
                "example": 'data: {"choices": [{"text": "…"}]}\n\ndata: [DONE]\n\n',
            }
        }
    }
}
"""For the OpenAPI description of what can also be streamed: each event."""
