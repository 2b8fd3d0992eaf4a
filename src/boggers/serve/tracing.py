"""POST /v1/trace: how every token of a text settles, step by step."""

from collections.abc import Sequence
from typing import Any

import torch
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from boggers.infer.decoder import window_contexts
from boggers.infer.noise import breaking_noise
from boggers.model.basins import Rests
from boggers.model.stream import StreamModel
from boggers.model.window import WindowModel
from boggers.serve.answers import Trace
from boggers.serve.asking import InHouse
from boggers.serve.dials import Dials
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.flock import StreamDriver, WindowDriver, driver_for
from boggers.serve.mind import Mind
from boggers.serve.physics import Physics, stream_physics, window_physics
from boggers.serve.schema import TraceRequest
from boggers.serve.transcript import spelled

MOST = 512
"""Tokens of a text that is traced."""

router = APIRouter(tags=["watching"])


@router.post("/v1/trace", response_model=Trace, responses=RESPONSES)
async def trace(body: TraceRequest, request: Request, house: InHouse) -> Response:
    """Everything that the observatory shows of a text."""
    mind = house.named(body.model)
    ids = house.prompt(body.prompt, mind)
    if len(ids) > MOST:
        sentence = f"A traced text may have {MOST} tokens, this one has {len(ids)}. Shorten it."
        raise ApiError(400, sentence, "context_length_exceeded", "prompt")
    dials = house.dials(body, mind, None)
    async with request.app.state.thinking:
        return JSONResponse(await run_in_threadpool(traced, mind, dials, ids, body.top))


def traced(mind: Mind, dials: Dials, ids: Sequence[int], top: int) -> dict[str, Any]:
    """How every token of a text settles.

    Returns:
        For every token its physics, the path of its state in the two directions in which all
        states of the text vary most, and the likeliest tokens at every step; `explained` is the
        share of that variation which the two directions hold.
    """
    driver = driver_for(mind.model, dials)
    with torch.no_grad():
        if isinstance(driver, StreamDriver):
            physics, paths, tops, logprobs = _stream(driver, ids, top)
        else:
            assert isinstance(driver, WindowDriver)
            physics, paths, tops, logprobs = _windows(driver, ids, top)
        plane, explained = two_directions(paths)
    tokenizer = mind.tokenizer
    tokens = []
    for place, token in enumerate(ids):
        at = physics[place] if physics else Physics(0.0, 0.0, 0.0, 0, (), ())
        surprise = None if place == 0 else -float(logprobs[place - 1, token])
        tokens.append(
            {
                "id": token,
                "text": tokenizer.decode([token]),
                "surprise": surprise,
                "steps": at.steps,
                "residual": at.residual,
                "energy": at.energy,
                "tension": at.tension,
                "energies": at.energies,
                "tensions": at.tensions,
                "path": plane[:, place].tolist(),
                "tops": [
                    [
                        (spelled(tokenizer, int(one)), float(share))
                        for one, share in zip(likely, shares, strict=True)
                    ]
                    for likely, shares in zip(*tops[place], strict=True)
                ],
            }
        )
    stages = mind.model.config.num_stages if isinstance(mind.model, StreamModel) else 1
    return {
        "model": mind.name,
        "architecture": mind.architecture,
        "stages": stages,
        "tokens": tokens,
        "explained": explained,
    }


Tops = list[tuple[list[list[int]], list[list[float]]]]


def _stream(
    driver: StreamDriver, ids: Sequence[int], top: int
) -> tuple[list[Physics], Tensor, Tops, Tensor]:
    model = driver.model
    tokens = torch.tensor([list(ids)], device=model.embedding.device)
    before = driver.start()
    reading = driver.settle(tokens, before, measure=True, reads="none")
    settled = reading.settled
    paths = [rest.path for rest in settled if rest.path is not None]
    # The last state of a stage is the first of the next.
    path = [paths[0][0][0], *(state[0] for each in paths for state in each[1:])] if paths else []
    steps = torch.stack(path or [reading.states[0]])  # (S, T, D)
    # What a state on the way would say if the position rested there.
    rests = [Rests.in_one(state[None]) for state in steps]
    if settled:
        rests[-1] = model.rests(steps[-1][None], settled[-1].slope, settled[-1].proposal)
    logits = [model.read_text(rest, tokens, before)[0][0] for rest in rests]
    physics = stream_physics(settled, 1)[0]
    return physics, steps, _tops(logits, top), logits[-1].double().log_softmax(dim=-1)


def _windows(
    driver: WindowDriver, ids: Sequence[int], top: int
) -> tuple[list[Physics], Tensor, Tops, Tensor]:
    model: WindowModel = driver.model
    contexts = window_contexts(model, [driver.latest(ids[: end + 1]) for end in range(len(ids))])
    relaxation = model.settle(
        contexts,
        steps=driver.dials.steps,
        generator=breaking_noise(contexts.device),
        keep_path=True,
        tolerance=driver.dials.tolerance,
        bias=driver.bias,
    )
    path = [model.embed(contexts), *(relaxation.path or ())]
    logits = [model.read(state) for state in path]
    steps = torch.stack([state.flatten(1) for state in path])
    last = logits[-1].double().log_softmax(dim=-1)
    return window_physics(relaxation), steps, _tops(logits, top), last


def _tops(logits: Sequence[Tensor], top: int) -> Tops:
    """For every token the likeliest ids and their probabilities at every step."""
    best = [each.softmax(dim=-1).topk(min(top, each.shape[-1])) for each in logits]
    ids = torch.stack([each.indices for each in best], dim=1).tolist()
    shares = torch.stack([each.values for each in best], dim=1).tolist()
    return list(zip(ids, shares, strict=True))


def two_directions(steps: Tensor) -> tuple[Tensor, list[float]]:
    """States (S, T, D) in the plane in which they vary most, and the shares of its two axes.

    Signs are fixed so that the same states always give the same picture.
    """
    flat = steps.flatten(0, 1).double()
    centred = flat - flat.mean(dim=0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    total = float(sizes.square().sum())
    axes = axes[:2]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    plane = centred @ axes.t()
    if plane.shape[1] < 2:  # a single state has no direction
        plane = torch.nn.functional.pad(plane, (0, 2 - plane.shape[1]))
    explained = [float(size**2) / total if total else 0.0 for size in sizes[:2]]
    return plane.view(*steps.shape[:2], 2), [*explained, 0.0, 0.0][:2]
