"""The application: endpoints, gate and page around one house."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from sse_starlette.sse import AppStatus

from boggers.errors import UserError
from boggers.serve import chat, completions, errors, memories, texts, tracing, watching
from boggers.serve.gate import Gate
from boggers.serve.house import House
from boggers.serve.talk import Bridge
from boggers.version import __version__

PAGE = Path(__file__).parent / "page"
FILES = {
    "observatory.css": "text/css",
    "observatory.js": "text/javascript",
    "api.js": "text/javascript",
    "drawing.js": "text/javascript",
}

ABOUT = (
    "A language model that thinks by settling, behind OpenAI's interface. Beside OpenAI's fields "
    "a request may set how states settle (relax_steps, relax_tolerance, energy_bias), ask for "
    "each token's energy, tension, steps and residual (attractor_meta), and go on from a saved "
    "state."
)


def create_app(house: House) -> FastAPI:
    """The application that serves a house; it loads the model when it starts."""
    # A stream that is being written when SIGTERM comes is written to its end.
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    app = FastAPI(
        title="BoggersTheLanguageModel",
        version=__version__,
        description=ABOUT,
        lifespan=_lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.house = house
    errors.install(app)
    for router in (
        completions.router,
        chat.router,
        watching.router,
        texts.router,
        memories.router,
        tracing.router,
    ):
        app.include_router(router)
    _add_page(app)
    app.add_middleware(Gate, house=house)
    if house.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(house.settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load in a thread of its own, so that /health answers meanwhile; end the engine at the end."""
    house: House = app.state.house
    app.state.bridge = Bridge(asyncio.get_running_loop())
    # Traces and embeddings are computed beside the engine, one at a time.
    app.state.thinking = asyncio.Semaphore(1)

    def load() -> None:
        with contextlib.suppress(UserError):  # kept as house.failure
            house.load()

    threading.Thread(target=load, name="boggers-load", daemon=True).start()
    try:
        yield
    finally:
        house.engine.close()


def _add_page(app: FastAPI) -> None:
    """The observatory: a few files, nothing from elsewhere."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html", headers=_headers())

    for name, kind in FILES.items():
        app.add_api_route(f"/page/{name}", _file(name, kind), include_in_schema=False)


def _file(name: str, kind: str) -> Callable[[], FileResponse]:
    return lambda: FileResponse(PAGE / name, media_type=kind, headers=_headers())


def _headers() -> dict[str, str]:
    """The page may load nothing from elsewhere and be shown in no other page."""
    return {
        "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
