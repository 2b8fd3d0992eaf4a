"""What requests look like: OpenAI's fields, and our own dials beside them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown fields are refused: what is asked for is done, or the client is told."""

    model_config = ConfigDict(extra="forbid")


class EnergyBias(Strict):
    """A named extra energy. A text means the direction in which it settles, a list the tokens in
    it; give either `towards` or `away`."""

    name: str = Field("bias", max_length=64)
    towards: str | list[str | Token] | None = None
    away: str | list[str | Token] | None = None
    strength: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> "EnergyBias":
        if (self.towards is None) == (self.away is None):
            raise ValueError("give either towards or away")
        if not (self.towards or self.away):
            raise ValueError("it must name something, a text or a list of tokens")
        return self


class Dialled(Strict):
    """How states settle."""

    relax_steps: int | None = Field(None, ge=0, le=64)
    relax_tolerance: float | None = Field(None, ge=0, allow_inf_nan=False)
    energy_bias: EnergyBias | None = None


class Drawn(Dialled):
    """How tokens are drawn, and how much is told."""

    model: str | None = None
    temperature: float = Field(1.0, ge=0, le=100, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=-1)
    min_p: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    n: int = Field(1, ge=1)
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    presence_penalty: float = Field(0.0, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float = Field(0.0, ge=-2, le=2, allow_inf_nan=False)
    repeat_penalty: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    no_repeat_last_extra: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    logit_bias: dict[str, Bias] | None = Field(None, max_length=1024)
    ignore_eos: bool = False
    user: str | None = Field(None, max_length=256)
    attractor_meta: bool = False
    state: str | None = Field(None, max_length=128)
    save_state: bool = False


class StreamOptions(Strict):
    """What a stream tells besides its text."""

    include_usage: bool = False


Prompt = str | list[str] | list[Token] | list[list[Token]]


class CompletionRequest(Drawn):
    """POST /v1/completions."""

    prompt: Prompt = ""
    max_tokens: int = Field(16, ge=0)
    best_of: int | None = Field(None, ge=1)
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=100)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _agree(self) -> "CompletionRequest":
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError("best_of must be at least n")
        if self.stream and self.best_of is not None and self.best_of > self.n:
            raise ValueError("best_of above n cannot be streamed: the best is known at the end")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream")
        return self


class TextPart(Strict):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None


class ChatRequest(Drawn):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=0)
    max_completion_tokens: int | None = Field(None, ge=0)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=100)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _agree(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream")
        return self


class GenerateRequest(Drawn):
    """POST /v1/generate."""

    prompt: str = ""
    max_tokens: int = Field(64, ge=0)
    n: Literal[1] = 1


class TokenizeRequest(Strict):
    """POST /tokenize: `content`, as llama.cpp calls the text, or `prompt`, as vLLM does."""

    content: str | None = None
    prompt: str | None = None
    model: str | None = None
    add_special_tokens: bool = False
    with_pieces: bool = False

    @model_validator(mode="after")
    def _one(self) -> "TokenizeRequest":
        if (self.content is None) == (self.prompt is None):
            raise ValueError("give either content or prompt")
        return self


class DetokenizeRequest(Strict):
    """POST /detokenize."""

    tokens: list[Token]
    model: str | None = None


class EmbeddingRequest(Dialled):
    """POST /v1/embeddings."""

    input: Prompt
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = Field(None, max_length=256)


class StateRequest(Dialled):
    """POST /v1/states: read a prompt, after another state if one is named, and keep the state."""

    prompt: str | list[Token] = ""
    state: str | None = Field(None, max_length=128)
    model: str | None = None
    user: str | None = Field(None, max_length=256)


class TraceRequest(Dialled):
    """POST /v1/trace: how every token of a text settles."""

    prompt: str | list[Token]
    model: str | None = None
    top: int = Field(5, ge=1, le=20)


class PropagateRequest(Strict):
    """POST /ts/propagate."""

    steps: int = Field(1, ge=1, le=1000)
