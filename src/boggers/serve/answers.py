"""What answers look like; the OpenAPI description is made from these."""

from typing import Any, Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length"]


class PromptDetails(BaseModel):
    """Tokens of the prompt that did not have to be read again."""

    cached_tokens: int


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | None = None


class Logprobs(BaseModel):
    """Log-probabilities of a completion's tokens."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class AttractorMeta(BaseModel):
    """How the tokens of a choice settled; the curves are those of the last one."""

    energy: list[float | None]
    tension: list[float | None]
    relax_steps: list[int | None]
    residual: list[float | None]
    energy_curve: list[float]
    tension_curve: list[float]
    ts_tension: float | None = None
    evolve_count: int | None = None


class Choice(BaseModel):
    """One continuation."""

    index: int
    text: str
    finish_reason: FinishReason | None
    stop_reason: str | None = None
    logprobs: Logprobs | None = None
    attractor_meta: AttractorMeta | None = None
    state: str | None = None


class Completion(BaseModel):
    """The answer of /v1/completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None


class TokenLogprob(BaseModel):
    """A token of a chat answer and how likely it was."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[dict[str, Any]]


class ChatLogprobs(BaseModel):
    """Log-probabilities of a chat answer."""

    content: list[TokenLogprob]


class ChatMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: ChatMessage
    finish_reason: FinishReason | None
    stop_reason: str | None = None
    logprobs: ChatLogprobs | None = None
    attractor_meta: AttractorMeta | None = None
    state: str | None = None


class ChatCompletion(BaseModel):
    """The answer of /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class Generated(BaseModel):
    """The answer of /v1/generate: the prompt and what follows it."""

    text: str
    tension_curve: list[float]
    last_tension: float | None
    ts_tension: float | None
    evolve_count: int | None
    finish_reason: FinishReason
    state: str | None = None


class Tokens(BaseModel):
    """The answer of /tokenize."""

    tokens: list[Any]
    count: int


class Content(BaseModel):
    """The answer of /detokenize, under the name that llama.cpp gives it and that of vLLM."""

    content: str
    prompt: str


class TokenizerInfo(BaseModel):
    """The answer of /tokenizer_info: no text spells the separator, so there is no `eos_token`."""

    tokenizer_class: str
    vocab_size: int
    separator_id: int | None
    fingerprint: str
    eos_token: str | None
    bos_token: str | None
    pad_token: str | None


class Embedding(BaseModel):
    """The direction in which a text settles, of length 1."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """The answer of /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ModelCard(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    meta: dict[str, Any]


class Models(BaseModel):
    """The answer of /v1/models."""

    object: Literal["list"]
    data: list[ModelCard]


class StateCard(BaseModel):
    """A saved state."""

    id: str
    object: Literal["state"]
    created: int
    tokens: int
    bytes: int
    relax_steps: int
    fingerprint: str


class States(BaseModel):
    """The answer of GET /v1/states."""

    object: Literal["list"]
    data: list[StateCard]


class Deleted(BaseModel):
    """The answer of DELETE /v1/states/ID."""

    id: str
    object: Literal["state"]
    deleted: bool


class TracedToken(BaseModel):
    """How one token settled before the next one was read from it."""

    id: int
    text: str
    surprise: float | None
    steps: int
    residual: float
    energy: float
    tension: float
    energies: list[float]
    tensions: list[float]
    path: list[list[float]]
    tops: list[list[tuple[str, float]]]


class Trace(BaseModel):
    """The answer of /v1/trace."""

    model: str
    architecture: str
    stages: int
    tokens: list[TracedToken]
    explained: list[float]


class Health(BaseModel):
    """The answer of GET /health."""

    status: Literal["ok", "loading", "broken"]
    live: bool
    ready: bool
    model: str | None
    vocab_size: int | None
    state_dim: int | None
    last_tension: float | None
    ts_tension: float | None
    evolve_count: int | None
    version: str


class Live(BaseModel):
    """The answer of GET /health/live."""

    status: Literal["ok"]


class Tension(BaseModel):
    """The answer of GET /metrics/tension: the token that was measured last."""

    tension_curve: list[float]
    final_tension: float | None
    steps: int


class GraphTension(BaseModel):
    """The answer of GET /ts/tension."""

    ts_tension: float
    tick: int
    evolve_count: int


class Propagated(BaseModel):
    """The answer of POST /ts/propagate."""

    ts_tension: float
    icarus_line: str
    tick: int


class GraphNode(BaseModel):
    """One node of the living graph."""

    name: str
    activation: float
    stability: float
    tension: float


class GraphNodes(BaseModel):
    """The answer of GET /ts/nodes: the most active ones."""

    nodes: list[GraphNode]
