"""Models, tokens and embeddings: GET /v1/models, /tokenize, /detokenize, POST /v1/embeddings."""

import base64
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from boggers.serve.answers import Content, Embeddings, ModelCard, Models, TokenizerInfo, Tokens
from boggers.serve.asking import InHouse
from boggers.serve.completions import prompts_of
from boggers.serve.dials import Dials
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.flock import StreamDriver, WindowDriver, driver_for
from boggers.serve.mind import Mind
from boggers.serve.prefixes import CHUNK
from boggers.serve.schema import DetokenizeRequest, EmbeddingRequest, TokenizeRequest

router = APIRouter(tags=["texts"])


@router.get("/v1/models", response_model=Models, responses=RESPONSES)
async def models(house: InHouse) -> Response:
    """The model that is served, with what is worth knowing of it."""
    return JSONResponse({"object": "list", "data": [_card(house.mind)]})


@router.get("/v1/models/{name}", response_model=ModelCard, responses=RESPONSES)
async def model(name: str, house: InHouse) -> Response:
    """One model."""
    return JSONResponse(_card(house.named(name)))


@router.post("/tokenize", response_model=Tokens, responses=RESPONSES)
async def tokenize(body: TokenizeRequest, house: InHouse) -> Response:
    """The ids of a text; with `with_pieces` also what each stands for."""
    tokenizer = house.named(body.model).tokenizer
    text = body.prompt if body.content is None else body.content
    ids = await run_in_threadpool(tokenizer.encode, text or "")
    if body.add_special_tokens and tokenizer.separator_id is not None:
        ids = [tokenizer.separator_id, *ids]
    if not body.with_pieces:
        return JSONResponse({"tokens": ids, "count": len(ids)})
    pieces = [{"id": token, "piece": tokenizer.decode([token])} for token in ids]
    return JSONResponse({"tokens": pieces, "count": len(ids)})


@router.post("/detokenize", response_model=Content, responses=RESPONSES)
async def detokenize(body: DetokenizeRequest, house: InHouse) -> Response:
    """The text of ids."""
    mind = house.named(body.model)
    text = mind.tokenizer.decode(house.prompt(body.tokens, mind, after=True))
    return JSONResponse({"content": text, "prompt": text})


@router.get("/tokenizer_info", response_model=TokenizerInfo, responses=RESPONSES)
async def tokenizer_info(house: InHouse) -> Response:
    """What cuts texts into tokens."""
    tokenizer = house.mind.tokenizer
    said = {
        "tokenizer_class": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "separator_id": tokenizer.separator_id,
        "fingerprint": tokenizer.fingerprint,
        **dict.fromkeys(("eos_token", "bos_token", "pad_token")),
    }
    return JSONResponse(said)


@router.post("/v1/embeddings", response_model=Embeddings, responses=RESPONSES)
async def embeddings(body: EmbeddingRequest, request: Request, house: InHouse) -> Response:
    """Where texts settle: the mean direction of their tokens' settled states, of length 1."""
    mind = house.named(body.model)
    given = prompts_of(body.input)
    if len(given) > house.limits.max_prompts:
        sentence = f"There may be at most {house.limits.max_prompts} inputs, {len(given)} came."
        raise ApiError(400, sentence, "invalid_value", "input")
    width = mind.model.config.state_dim
    if body.dimensions not in (None, width):
        sentence = f"This model's embeddings have {width} dimensions, not {body.dimensions}."
        raise ApiError(400, sentence, "invalid_value", "dimensions")
    dials = house.dials(body, mind, None)
    texts = [house.prompt(text, mind) for text in given]
    async with request.app.state.thinking:
        vectors = await run_in_threadpool(embed, mind, dials, texts)
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": vector.tolist()
            if body.encoding_format == "float"
            else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        }
        for place, vector in enumerate(vectors)
    ]
    read = sum(map(len, texts))
    usage = {"prompt_tokens": read, "total_tokens": read}
    return JSONResponse({"object": "list", "data": data, "model": mind.name, "usage": usage})


def embed(mind: Mind, dials: Dials, texts: Sequence[Sequence[int]]) -> "list[np.ndarray]":
    """The mean direction in which the tokens of every text rest, of length 1."""
    driver = driver_for(mind.model, dials)
    with torch.no_grad():
        return [_embed(driver, ids) for ids in texts]  # type: ignore[arg-type]


def _embed(driver: StreamDriver | WindowDriver, ids: Sequence[int]) -> "np.ndarray":
    width = driver.model.config.state_dim
    total = torch.zeros(width, dtype=torch.float64)
    place = driver.start()
    for first in range(0, len(ids), CHUNK):
        states, place = driver.rest(ids[first : first + CHUNK], place)
        total += F.normalize(states.cpu().double(), dim=-1).sum(dim=0)
    vector: np.ndarray = F.normalize(total, dim=0).float().numpy()
    return vector


def _card(mind: Mind) -> dict[str, object]:
    return {
        "id": mind.name,
        "object": "model",
        "created": mind.created,
        "owned_by": "boggers",
        "meta": mind.describe(),
    }
