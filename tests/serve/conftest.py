"""Small minds that speak bytes, engines that run them, and what comes out."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
import torch
import uvicorn

from boggers.infer.engine import Engine
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.serve import server as server_module
from boggers.serve.dials import dials_for
from boggers.serve.engine import ServingEngine
from boggers.serve.house import House, Settings
from boggers.serve.limits import Limits
from boggers.serve.metrics import Metrics
from boggers.serve.mind import Mind
from boggers.serve.physics import Physics
from boggers.serve.states import Saved
from boggers.serve.work import Ended, Event, Failed, Job, Piece, PromptRead, Ticket, Told
from boggers.text.byte import ByteTokenizer

STREAM = StreamConfig(
    state_dim=16,
    num_stages=2,
    num_waves=2,
    num_dynamics_steps=2,
    memory_patterns=8,
    num_basins=2,
    fast_values=True,
)
WINDOW = WindowConfig(state_dim=16, num_waves=2, window_size=4, num_dynamics_steps=3)


def noisy(model: StreamModel | WindowModel, scale: float = 0.3) -> StreamModel | WindowModel:
    """The model with noise on its weights, so that nothing in it is zero."""
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=noise)
    return model


def stream_mind(config: StreamConfig = STREAM, name: str = "small") -> Mind:
    model = StreamModel(config, 257, torch.Generator().manual_seed(0))
    return mind_of(Engine(noisy(model), ByteTokenizer()), name)


def window_mind(config: WindowConfig = WINDOW, name: str = "small") -> Mind:
    model = WindowModel(config, 257, torch.Generator().manual_seed(0))
    return mind_of(Engine(noisy(model), ByteTokenizer()), name)


def mind_of(engine: Engine, name: str) -> Mind:
    return Mind(name, engine, "step-0000005", f"{name:0<16}"[:16], 5, 100, 1_700_000_000)


@pytest.fixture(scope="session", params=["stream", "window"])
def mind(request: pytest.FixtureRequest) -> Mind:
    """One mind of either architecture."""
    return stream_mind() if request.param == "stream" else window_mind()


@dataclass
class Answer:
    """Everything that came of one job."""

    prompt: PromptRead | None = None
    failed: Failed | None = None
    text: dict[int, str] = field(default_factory=dict)
    tokens: dict[int, list[Told]] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)
    pieces: int = 0

    @property
    def ids(self) -> list[int]:
        """What the first choice wrote."""
        return [told.id for told in self.tokens.get(0, [])]

    @property
    def physics(self) -> list[Physics | None]:
        return [told.physics for told in self.tokens.get(0, [])]

    @property
    def saved(self) -> Saved:
        saved = self.ended[0].saved
        assert saved is not None
        return saved


class Pending:
    """A job that has been submitted."""

    def __init__(self, engine: ServingEngine, job: Job) -> None:
        self.job = job
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        (self.ticket,) = engine.submit([job], self._take)

    def _take(self, events: Sequence[tuple[Ticket, Event]]) -> None:
        for _, event in events:
            self._events.put(event)

    def next(self, seconds: float = 60) -> Event:
        return self._events.get(timeout=seconds)

    @property
    def silent(self) -> bool:
        return self._events.empty()

    def answer(self) -> Answer:
        """Wait for the end."""
        answer = Answer()
        while len(answer.ended) < self.job.choices and answer.failed is None:
            event = self.next()
            if isinstance(event, PromptRead):
                answer.prompt = event
            elif isinstance(event, Failed):
                answer.failed = event
            elif isinstance(event, Ended):
                answer.ended[event.choice] = event
            elif isinstance(event, Piece):
                answer.pieces += 1
                answer.text[event.choice] = answer.text.get(event.choice, "") + event.text
                answer.tokens.setdefault(event.choice, []).extend(event.tokens)
        return answer


Submit = Callable[..., Pending]
Ask = Callable[..., Answer]


def job(mind: Mind, prompt: str | Sequence[int] = "the ", **options: Any) -> Job:
    ids = mind.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    steps, tolerance, bias = (options.pop(name, None) for name in ("steps", "tolerance", "bias"))
    dials = dials_for(mind.model, steps, tolerance, bias)
    return Job(mind=mind, ids=tuple(ids), dials=dials, **options)


@pytest.fixture
def engine() -> Iterator[ServingEngine]:
    made = ServingEngine(Limits(), Metrics())
    yield made
    made.close()


@pytest.fixture
def submit(engine: ServingEngine) -> Submit:
    return lambda mind, *args, **options: Pending(engine, job(mind, *args, **options))


@pytest.fixture
def ask(submit: Submit) -> Ask:
    return lambda *args, **options: submit(*args, **options).answer()


class Live:
    """A server that runs in a thread of this process, and clients that are closed with it."""

    def __init__(self, house: House, url: str, server: uvicorn.Server) -> None:
        self.house = house
        self.url = url
        self.server = server
        self.http = httpx.Client(base_url=url, timeout=120)
        self.client = self.openai("none")

    def openai(self, key: str) -> Any:
        """OpenAI's client with a key."""
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=key, max_retries=0, http_client=self.http
        )

    def close(self) -> None:
        self.http.close()
        self.server.should_exit = True


Serve = Callable[..., Live]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start servers; all of them are stopped at the end of the module."""
    begun: list[tuple[Live, threading.Thread]] = []

    def start(open_mind: Callable[[], Mind] | Mind, graph: Any = None, **options: Any) -> Live:
        wait = options.pop("wait", True)
        limits = Limits(**options.pop("limits", {}))
        opens = (lambda: open_mind) if isinstance(open_mind, Mind) else open_mind
        house = House(opens, Settings(limits, **options), graph)
        bound = server_module.bind("127.0.0.1", 0)
        server = server_module.make_server(house)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        live = Live(house, f"http://127.0.0.1:{bound.getsockname()[1]}", server)
        begun.append((live, thread))
        end = time.monotonic() + 30
        while not (server.started and (house.loaded or house.failure or not wait)):
            assert time.monotonic() < end
            time.sleep(0.01)
        return live

    yield start
    for live, _ in begun:
        live.close()
    for _, thread in begun:
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def live(serve: Serve) -> Live:
    """A stream that is served without a key."""
    return serve(stream_mind())
