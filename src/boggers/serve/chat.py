"""POST /v1/chat/completions: a conversation as a plain text that a base model continues."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from boggers.serve.answers import ChatCompletion
from boggers.serve.asking import STREAMED, Client, InHouse, OverBridge, events
from boggers.serve.completions import changed, feel
from boggers.serve.compose import (
    Draft,
    Drafts,
    attractor_meta,
    chat_logprobs_of,
    ending,
    head,
    jobs_of,
)
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.house import House
from boggers.serve.schema import ChatRequest, Message
from boggers.serve.talk import Talk, whole
from boggers.serve.template import STOPS, render

DEFAULT_TOKENS = 256

router = APIRouter(tags=["writing"])


@router.post(
    "/v1/chat/completions", response_model=ChatCompletion, responses={**RESPONSES, **STREAMED}
)
async def chat(
    body: ChatRequest, request: Request, house: InHouse, bridge: OverBridge, client: Client
) -> Response:
    """Answer a conversation, in one way or several."""
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    jobs = await run_in_threadpool(
        jobs_of,
        house,
        body,
        [prompt_of(body.messages)],
        max_tokens=min(DEFAULT_TOKENS, house.limits.max_tokens) if most is None else most,
        client=client,
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        stop=STOPS,
    )
    talk = Talk(house.engine, bridge, jobs)
    drafts = Drafts(house, jobs)
    mind = jobs[0].mind
    if body.stream:
        return events(_stream(body, talk, drafts, head("chat.completion.chunk", "chatcmpl", mind)))
    async with talk:
        for number, event in await whole(request, talk):
            drafts.take(number, event)
    chosen = drafts.best(body.n)
    await feel(house, chosen)
    choices = [_choice(place, draft, body, house) for place, draft in enumerate(chosen)]
    beginning = head("chat.completion", "chatcmpl", mind)
    return JSONResponse({**beginning, "choices": choices, "usage": drafts.usage()})


def prompt_of(messages: Sequence[Message]) -> str:
    """The conversation as the template writes it."""
    turns = []
    for message in messages:
        parts = message.content
        said = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        turns.append((message.role, said))
    return render(turns)


def _told(draft: Draft, since: int, body: ChatRequest, house: House) -> dict[str, Any]:
    """What is told of the tokens of a choice from a place on."""
    new = draft.told[since:]
    top = (body.top_logprobs or 0) if body.logprobs else None
    said: dict[str, Any] = {"logprobs": chat_logprobs_of(new, top), **ending(draft)}
    meta = attractor_meta(draft.job, new, house)
    return said if meta is None else {**said, "attractor_meta": meta}


def _choice(place: int, draft: Draft, body: ChatRequest, house: House) -> dict[str, Any]:
    message = {"role": "assistant", "content": draft.text.strip()}
    return {"index": place, "message": message, **_told(draft, 0, body, house)}


async def _stream(
    body: ChatRequest, talk: Talk, drafts: Drafts, beginning: dict[str, Any]
) -> AsyncIterator[str]:
    """The answer in pieces, then its usage if asked for, then [DONE]."""
    wants_usage = body.stream_options is not None and body.stream_options.include_usage
    usage: dict[str, Any] = {"usage": None} if wants_usage else {}
    shown: dict[int, tuple[int, int]] = {}
    try:
        for number in range(body.n):
            delta = {"role": "assistant", "content": ""}
            opening = {"index": number, "delta": delta, "finish_reason": None}
            yield json.dumps({**beginning, "choices": [opening], **usage})
        async for batch in talk.batches():
            for number, draft in changed(drafts, batch):
                text, told = shown.get(id(draft), (0, 0))
                # White space at the start belongs to the template, that at the end to nobody.
                solid = draft.text.rstrip()
                piece = solid[text:] if text else solid.lstrip()
                shown[id(draft)] = (len(solid), len(draft.told))
                delta = {"content": piece} if piece else {}
                choice = {
                    "index": number,
                    "delta": delta,
                    **_told(draft, told, body, drafts.house),
                }
                yield json.dumps({**beginning, "choices": [choice], **usage})
        await feel(drafts.house, drafts.rows[0])
        if wants_usage:
            yield json.dumps({**beginning, "choices": [], "usage": drafts.usage()})
        yield "[DONE]"
    except ApiError as error:
        yield json.dumps(error.body())
    finally:
        talk.close()
