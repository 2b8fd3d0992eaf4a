"""Saved states over HTTP: /v1/states."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from boggers.serve.answers import Deleted, StateCard, States
from boggers.serve.asking import Client, InHouse, OverBridge
from boggers.serve.compose import saved_in
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.house import House
from boggers.serve.schema import StateRequest
from boggers.serve.states import Saved, saved_from_bytes
from boggers.serve.talk import Talk, whole
from boggers.serve.work import Job

FILE = "application/octet-stream"
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {FILE: {"schema": {"type": "string", "format": "binary"}}}}
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {FILE: {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = APIRouter(prefix="/v1/states", tags=["states"], responses=RESPONSES)


@router.post("", response_model=StateCard, status_code=201)
async def save(
    body: StateRequest, request: Request, house: InHouse, bridge: OverBridge, client: Client
) -> Response:
    """Read a prompt, after another state if one is named, and keep where it stands."""
    mind = house.named(body.model)
    begin = None if body.state is None else house.state(body.state, mind)
    job = Job(
        mind=mind,
        ids=tuple(house.prompt(body.prompt, mind, after=begin is not None)),
        dials=house.dials(body, mind, begin),
        begin=begin,
        max_tokens=0,
        save=True,
        seconds=house.limits.max_seconds,
        client=body.user or client,
    )
    async with Talk(house.engine, bridge, [job]) as talk:
        saved = saved_in(await whole(request, talk))
    return JSONResponse(house.states.keep(saved).describe(), 201)


@router.get("", response_model=States)
async def every(house: InHouse) -> Response:
    """All states that are kept, the most recently used first."""
    return JSONResponse(
        {"object": "list", "data": [saved.describe() for saved in house.states.all()]}
    )


@router.post("/upload", response_model=StateCard, status_code=201, openapi_extra=BODY)
async def upload(request: Request, house: InHouse) -> Response:
    """Keep a state that was downloaded before, from this server or another of the same model."""
    saved = saved_from_bytes(await request.body(), house.mind)
    return JSONResponse(house.states.keep(saved).describe(), 201)


@router.get("/{name}", response_model=StateCard)
async def one(name: str, house: InHouse) -> Response:
    """What is worth knowing of a state."""
    return JSONResponse(_named(house, name).describe())


@router.get("/{name}/content", response_class=Response, responses={**RESPONSES, **CONTENT})
async def download(name: str, house: InHouse) -> Response:
    """The state as a safetensors file."""
    saved = _named(house, name)
    says = {"Content-Disposition": f'attachment; filename="{saved.id}.safetensors"'}
    return Response(saved.to_bytes(), media_type=FILE, headers=says)


@router.post("/{name}/fork", response_model=StateCard, status_code=201)
async def fork(name: str, house: InHouse) -> Response:
    """The same state under another name: two texts may go on from one beginning."""
    return JSONResponse(house.states.keep(_named(house, name).fork()).describe(), 201)


@router.delete("/{name}", response_model=Deleted)
async def forget(name: str, house: InHouse) -> Response:
    """Forget a state."""
    saved = _named(house, name)
    house.states.drop(saved.id)
    return JSONResponse({"id": saved.id, "object": "state", "deleted": True})


def _named(house: House, name: str) -> Saved:
    saved = house.states.get(name)
    if saved is None:
        sentence = f"There is no state {name!r}. It may have been forgotten for others' sake."
        raise ApiError(404, sentence, "state_not_found", "state")
    return saved
