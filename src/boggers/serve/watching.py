"""How the server and its model are: /health, /metrics, /ts, reloading."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from boggers.serve.answers import (
    GraphNodes,
    GraphTension,
    Health,
    Live,
    ModelCard,
    Propagated,
    Tension,
)
from boggers.serve.asking import InHouse
from boggers.serve.errors import RESPONSES, ApiError
from boggers.serve.graph import Graph
from boggers.serve.house import House
from boggers.serve.metrics import CONTENT_TYPE
from boggers.serve.schema import PropagateRequest
from boggers.version import __version__

router = APIRouter(tags=["watching"])

TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/health", response_model=Health, responses={503: {"model": Health}})
async def health(house: InHouse) -> Response:
    """200 once the model answers, 503 before and after."""
    mind, latest = house.loaded, house.engine.latest
    alive = house.engine.alive and house.failure is None
    ready = alive and mind is not None
    graph = None if house.graph is None else house.graph.tension()
    said = {
        "status": "ok" if ready else "loading" if alive else "broken",
        "live": alive,
        "ready": ready,
        "model": None if mind is None else mind.name,
        "vocab_size": None if mind is None else mind.model.vocab_size,
        "state_dim": None if mind is None else mind.model.config.state_dim,
        "last_tension": None if latest is None else latest.tension,
        "ts_tension": None if graph is None else graph.ts_tension,
        "evolve_count": None if graph is None else graph.evolve_count,
        "version": __version__,
    }
    return JSONResponse(said, 200 if ready else 503)


@router.get("/health/live", response_model=Live)
async def live() -> Response:
    """200 as long as the process answers at all."""
    return JSONResponse({"status": "ok"})


@router.get("/metrics", response_class=Response, responses={**RESPONSES, **TEXT})
async def metrics(house: InHouse) -> Response:
    """All counters in Prometheus' text format."""
    return Response(house.metrics.render(), media_type=CONTENT_TYPE)


@router.get("/metrics/tension", response_model=Tension, responses=RESPONSES)
async def tension(house: InHouse) -> Response:
    """How the token settled that was measured last."""
    latest = house.engine.latest
    curve = [] if latest is None else list(latest.tensions)
    final = curve[-1] if curve else None
    return JSONResponse({"tension_curve": curve, "final_tension": final, "steps": len(curve)})


@router.get("/ts/tension", response_model=GraphTension, responses=RESPONSES)
async def graph_tension(house: InHouse) -> Response:
    """How tense the living graph is."""
    now = await run_in_threadpool(_graph(house).tension)
    return JSONResponse(
        {"ts_tension": now.ts_tension, "tick": now.tick, "evolve_count": now.evolve_count}
    )


@router.post("/ts/propagate", response_model=Propagated, responses=RESPONSES)
async def propagate(house: InHouse, body: PropagateRequest | None = None) -> Response:
    """Let the living graph take a tick, or several."""
    graph, steps = _graph(house), 1 if body is None else body.steps
    done = await run_in_threadpool(graph.propagate, steps)
    return JSONResponse(
        {"ts_tension": done.ts_tension, "icarus_line": done.icarus_line, "tick": done.tick}
    )


@router.get("/ts/nodes", response_model=GraphNodes, responses=RESPONSES)
async def nodes(house: InHouse) -> Response:
    """The most active nodes of the living graph."""
    found = await run_in_threadpool(_graph(house).snapshot)
    return JSONResponse({"nodes": [dict(node) for node in found]})


@router.post("/v1/models/reload", response_model=ModelCard, responses=RESPONSES)
async def reload(request: Request, house: InHouse) -> Response:
    """Serve the newest checkpoint of the run; texts in progress are finished with the old one."""
    mind = house.mind
    await run_in_threadpool(house.load)
    mind = house.mind
    card = {"id": mind.name, "object": "model", "created": mind.created, "owned_by": "boggers"}
    return JSONResponse({**card, "meta": mind.describe()})


def _graph(house: House) -> Graph:
    if house.graph is None:
        sentence = "No living graph is attached to this server. Start it with one."
        raise ApiError(404, sentence, "no_graph")
    return house.graph
