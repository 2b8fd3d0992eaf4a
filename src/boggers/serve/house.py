"""Everything that the endpoints share: the mind that is served, the engine, states, counters."""

import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boggers.errors import UserError
from boggers.serve.bias import Bias
from boggers.serve.dials import Dials, dials_for
from boggers.serve.engine import ServingEngine
from boggers.serve.errors import ApiError
from boggers.serve.graph import Graph
from boggers.serve.limits import MEGABYTE, Limits
from boggers.serve.metrics import Metrics
from boggers.serve.mind import Mind
from boggers.serve.schema import Dialled, EnergyBias
from boggers.serve.states import Saved, StateStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How a server is set up.

    Attributes:
        limits: on what clients may ask for.
        api_keys: one of them must come with every request; none = everybody may ask.
        cors_origins: web pages of these origins may ask.
        drain_seconds: how long unfinished requests may go on after SIGTERM.
    """

    limits: Limits
    api_keys: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    drain_seconds: float = 30.0


class House:
    """The state of one server.

    Args:
        open_mind: opens the newest checkpoint of the run; called in a thread of its own.
        settings: see there.
        graph: the living graph, if one is attached.
    """

    def __init__(
        self, open_mind: Callable[[], Mind], settings: Settings, graph: Graph | None = None
    ) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.graph = graph
        self.metrics = Metrics()
        self.engine = ServingEngine(settings.limits, self.metrics)
        self.states = StateStore(int(settings.limits.states_mb * MEGABYTE))
        self.failure: str | None = None
        """Why there is no mind, in a sentence."""
        self._open_mind = open_mind
        self._mind: Mind | None = None
        self._loading = threading.Lock()

    @property
    def loaded(self) -> Mind | None:
        """The mind that is served, once it is there."""
        return self._mind

    @property
    def mind(self) -> Mind:
        """The mind that is served.

        Raises:
            ApiError: 503 until it has been loaded.
        """
        if self._mind is None:
            said = self.failure or "The model is being loaded. Try again in a moment."
            raise ApiError(503, said, "loading", retry_after=1)
        return self._mind

    def load(self) -> bool:
        """Open the newest checkpoint and serve it from now on; texts in progress keep the old one.

        Returns:
            Whether another checkpoint than before is served now.

        Raises:
            UserError: it cannot be opened; what was served before still is.
        """
        with self._loading:
            before = self._mind
            try:
                mind = self._open_mind()
            except UserError as error:
                if before is None:
                    self.failure = str(error)
                raise
            if before is not None and mind.fingerprint == before.fingerprint:
                return False
            self._mind = mind
            if before is not None:
                self.engine.retire(before.fingerprint)
            log.info("serving %s of %s", mind.checkpoint, mind.name)
            return True

    def named(self, model: str | None) -> Mind:
        """The mind that a request's `model` means.

        Raises:
            ApiError: 404 if there is none of that name, 503 while none is loaded.
        """
        mind = self.mind
        if model not in (None, mind.name):
            sentence = f"There is no model {model!r}; this server has {mind.name!r}."
            raise ApiError(404, sentence, "model_not_found", "model")
        return mind

    def allowed(self, key: str | None) -> bool:
        """Whether a key opens this server."""
        keys = self.settings.api_keys
        given = (key or "").encode()
        # Every key is compared, so that the time tells nothing.
        fits = [hmac.compare_digest(given, known.encode()) for known in keys]
        return not keys or any(fits)

    def state(self, name: str, mind: Mind) -> Saved:
        """A saved state that belongs to the mind.

        Raises:
            ApiError: 404 if there is none, 400 if it belongs to another checkpoint.
        """
        saved = self.states.get(name)
        if saved is None:
            sentence = f"There is no state {name!r}. It may have been forgotten for others' sake."
            raise ApiError(404, sentence, "state_not_found", "state")
        if saved.fingerprint != mind.fingerprint:
            sentence = (
                f"The state {name!r} belongs to another checkpoint than the one that is served "
                "now. Read the text anew."
            )
            raise ApiError(400, sentence, "state_of_another_model", "state")
        return saved

    def dials(self, request: Dialled, mind: Mind, begin: Saved | None) -> Dials:
        """How a request wants its states to settle.

        Raises:
            ApiError: the state that it goes on from was made with other steps.
            UserError: the model cannot settle like that.
        """
        steps = request.relax_steps
        if begin is not None and mind.architecture == "stream":
            if steps not in (None, begin.steps):
                sentence = (
                    f"This state was made with {begin.steps} relaxation steps and cannot go on "
                    f"with {steps}. Leave relax_steps out."
                )
                raise ApiError(400, sentence, "invalid_value", "relax_steps")
            steps = begin.steps
        bias = None if request.energy_bias is None else bias_of(request.energy_bias, mind)
        return dials_for(mind.model, steps, request.relax_tolerance, bias)

    def prompt(self, given: str | Sequence[int], mind: Mind, *, after: bool = False) -> list[int]:
        """The ids of a prompt; an empty one begins a document, unless it goes on from a state.

        Raises:
            ApiError: it is too long, or holds an id that the model does not know.
            UserError: UTF-8 cannot write it.
        """
        ids = mind.tokenizer.encode(given) if isinstance(given, str) else list(given)
        known = mind.model.vocab_size
        if any(not 0 <= token < known for token in ids):
            wrong = next(token for token in ids if not 0 <= token < known)
            sentence = f"Token ids must be from 0 to {known - 1}, {wrong} came."
            raise ApiError(400, sentence, "invalid_value", "prompt")
        most = self.limits.max_prompt_tokens
        if len(ids) > most:
            sentence = f"A prompt may have {most:,} tokens, this one has {len(ids):,}. Shorten it."
            raise ApiError(400, sentence, "context_length_exceeded", "prompt")
        if not ids and not after:
            return [mind.tokenizer.separator_id or 0]
        return ids


def bias_of(wanted: EnergyBias, mind: Mind) -> Bias:
    """The extra energy that a request describes.

    Raises:
        ApiError: it names no token of the model, or all of them.
    """
    towards = wanted.towards is not None
    given = wanted.towards if wanted.towards is not None else wanted.away
    assert given is not None
    ids: list[int] = []
    for part in [given] if isinstance(given, str) else given:
        ids += mind.tokenizer.encode(part) if isinstance(part, str) else [part]
    if isinstance(given, list):
        ids = sorted(set(ids))
    known = mind.model.vocab_size
    if not ids or any(token >= known for token in ids) or len(ids) > 4096:
        sentence = f"energy_bias must name 1 to 4,096 tokens from 0 to {known - 1}."
        raise ApiError(400, sentence, "invalid_value", "energy_bias")
    if isinstance(given, list) and len(ids) == known:
        raise ApiError(400, "energy_bias names every token.", "invalid_value", "energy_bias")
    kind = "text" if isinstance(given, str) else "tokens"
    return Bias(kind, tuple(ids), towards, wanted.strength, wanted.name)  # type: ignore[arg-type]
