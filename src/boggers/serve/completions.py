"""POST /v1/completions and POST /v1/generate."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from boggers.serve.answers import Completion, Generated
from boggers.serve.asking import STREAMED, Client, InHouse, OverBridge, events
from boggers.serve.compose import (
    Draft,
    Drafts,
    attractor_meta,
    ending,
    head,
    jobs_of,
    logprobs_of,
)
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.house import House
from boggers.serve.schema import CompletionRequest, GenerateRequest, Prompt
from boggers.serve.talk import Talk, whole
from boggers.serve.work import PromptRead

router = APIRouter(tags=["writing"])


@router.post("/v1/completions", response_model=Completion, responses={**RESPONSES, **STREAMED})
async def completions(
    body: CompletionRequest, request: Request, house: InHouse, bridge: OverBridge, client: Client
) -> Response:
    """Continue one prompt or several, each in one way or several."""
    jobs = await run_in_threadpool(
        jobs_of,
        house,
        body,
        prompts_of(body.prompt),
        max_tokens=body.max_tokens,
        client=client,
        choices=body.best_of or body.n,
        top_logprobs=body.logprobs,
        echo=body.echo,
    )
    talk = Talk(house.engine, bridge, jobs)
    drafts = Drafts(house, jobs)
    beginning = head("text_completion", "cmpl", jobs[0].mind)
    if body.stream:
        return events(_stream(body, talk, drafts, beginning))
    async with talk:
        for number, event in await whole(request, talk):
            drafts.take(number, event)
    chosen = drafts.best(body.n)
    await feel(house, chosen)
    choices = [_choice(place, draft, body, house) for place, draft in enumerate(chosen)]
    return JSONResponse({**beginning, "choices": choices, "usage": drafts.usage()})


@router.post("/v1/generate", response_model=Generated, responses=RESPONSES)
async def generate(
    body: GenerateRequest, request: Request, house: InHouse, bridge: OverBridge, client: Client
) -> Response:
    """The prompt and what follows it, with the tension of the last token's settling."""
    measured = body.model_copy(update={"attractor_meta": True})
    jobs = await run_in_threadpool(
        jobs_of, house, measured, [body.prompt], max_tokens=body.max_tokens, client=client
    )
    drafts = Drafts(house, jobs)
    async with Talk(house.engine, bridge, jobs) as talk:
        for number, event in await whole(request, talk):
            drafts.take(number, event)
    (draft,) = drafts.best(1)
    await feel(house, [draft])
    meta = attractor_meta(jobs[0], draft.told, house)
    assert meta is not None
    curve = meta["tension_curve"]
    said = {
        "text": body.prompt + draft.text,
        "tension_curve": curve,
        "last_tension": curve[-1] if curve else None,
        "ts_tension": meta.get("ts_tension"),
        "evolve_count": meta.get("evolve_count"),
        **ending(draft),
    }
    said.pop("stop_reason", None)
    return JSONResponse(said)


def prompts_of(given: Prompt) -> list[str | list[int]]:
    """The prompts of a request: one text, one list of ids, or several of either."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise ApiError(400, "The list of prompts is empty.", "invalid_value", "prompt")
    if all(isinstance(part, int) for part in given):
        return [list(given)]  # type: ignore[arg-type]
    return list(given)  # type: ignore[arg-type]


async def feel(house: House, drafts: Sequence[Draft]) -> None:
    """Let the graph, if there is one, know how tense the model was, if that was measured."""
    if house.graph is None:
        return
    for draft in drafts:
        tensions = [one.physics.tension for one in draft.told if one.physics is not None]
        if tensions:
            # It may be in the middle of a thousand ticks.
            await run_in_threadpool(house.graph.feel, sum(tensions) / len(tensions))


def _choice(place: int, draft: Draft, body: CompletionRequest, house: House) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": place,
        "text": draft.text,
        "logprobs": logprobs_of(draft.told, draft.offsets, body.logprobs),
        **ending(draft),
    }
    meta = attractor_meta(draft.job, draft.told, house)
    return choice if meta is None else {**choice, "attractor_meta": meta}


async def _stream(
    body: CompletionRequest, talk: Talk, drafts: Drafts, beginning: dict[str, Any]
) -> AsyncIterator[str]:
    """The answer in pieces, then its usage if asked for, then [DONE]."""
    house, usage = drafts.house, {"usage": None} if _wants_usage(body) else {}
    shown: dict[int, tuple[int, int]] = {}
    try:
        async for batch in talk.batches():
            for number, draft in changed(drafts, batch):
                text, told = shown.get(id(draft), (0, 0))
                shown[id(draft)] = (len(draft.text), len(draft.told))
                new = draft.told[told:]
                choice: dict[str, Any] = {
                    "index": number,
                    "text": draft.text[text:],
                    "logprobs": logprobs_of(new, draft.offsets[told:], body.logprobs),
                    **ending(draft),
                }
                meta = attractor_meta(draft.job, new, house)
                if meta is not None:
                    choice["attractor_meta"] = meta
                yield json.dumps({**beginning, "choices": [choice], **usage})
        await feel(house, [draft for row in drafts.rows for draft in row])
        if _wants_usage(body):
            yield json.dumps({**beginning, "choices": [], "usage": drafts.usage()})
        yield "[DONE]"
    except ApiError as error:
        # The headers are gone: what failed is said in the stream, as OpenAI does.
        yield json.dumps(error.body())
    finally:
        talk.close()


def changed(drafts: Drafts, batch: Sequence[tuple[int, Any]]) -> list[tuple[int, Draft]]:
    """The drafts that a batch of events changed, each once, with its index in the answer."""
    found: dict[int, Draft] = {}
    per_job = [len(row) for row in drafts.rows]
    for number, event in batch:
        first = sum(per_job[:number])
        draft = drafts.take(number, event)
        if draft is not None:
            found[first + event.choice] = draft
        elif isinstance(event, PromptRead) and drafts.jobs[number].echo:
            for choice, each in enumerate(drafts.rows[number]):
                found[first + choice] = each
    return sorted(found.items())


def _wants_usage(body: CompletionRequest) -> bool:
    return body.stream_options is not None and body.stream_options.include_usage
