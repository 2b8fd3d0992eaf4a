"""Errors as OpenAI's clients understand them: an object with a sentence and a code."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from boggers.errors import UserError

CLIENT_GONE = 499
"""Not of HTTP; nginx writes it where a client has left."""

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}
"""What kind of error a status is."""


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """An answer that is an error."""

    error: ErrorBody


class ApiError(Exception):
    """Ends a request with an error object.

    Args:
        status: of HTTP. message: a sentence. code: a word for programs.
        param: the field it is about. retry_after: seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return error_body(self.status, self.message, self.code, self.param)

    def response(self) -> JSONResponse:
        """As an answer."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else None
        return JSONResponse(self.body(), self.status, headers=headers)


class ClientGoneError(Exception):
    """The client has closed its connection before the answer was there."""


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The error object."""
    kind = TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def overloaded() -> ApiError:
    """429: the queue is full."""
    sentence = "The queue is full. Try again in a moment."
    return ApiError(429, sentence, "queue_full", retry_after=1)


def closing() -> ApiError:
    """503: the server is going away."""
    sentence = "The server is going away. Try again in a moment."
    return ApiError(503, sentence, "shutting_down", retry_after=5)


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in (
        (400, "Something in the request is not as it must be."),
        (401, "The key is missing or wrong."),
        (404, "There is no such thing here."),
        (413, "The request is too large."),
        (429, "The queue is full."),
        (503, "The model is being loaded, or the server is going away."),
    )
}
"""For the OpenAPI description."""


def install(app: FastAPI) -> None:
    """Turn every way in which a request can fail into an error object."""

    @app.exception_handler(ApiError)
    async def _api_error(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(ClientGoneError)
    async def _gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_GONE)  # nobody reads it but the access log

    @app.exception_handler(UserError)
    async def _user_error(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse(error_body(400, str(error), "invalid_value"), 400)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        message, param = _told(error)
        return JSONResponse(error_body(400, message, "invalid_value", param), 400)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        message = {
            404: f"There is no {request.url.path} here; GET /docs lists what there is.",
            405: f"{request.url.path} does not take {request.method}.",
            # The parser gave up on the body, with a reason that it keeps to itself.
            400: "The body could not be read as JSON; it may be nested too deeply.",
        }.get(error.status_code, str(error.detail))
        body = error_body(error.status_code, message)
        return JSONResponse(body, error.status_code, headers=dict(error.headers or {}))

    @app.exception_handler(500)
    async def _defect(_: Request, __: Exception) -> JSONResponse:
        # What went wrong is in the log; a stranger learns nothing of the inside.
        return JSONResponse(error_body(500, "The server failed; its log says why."), 500)


def _told(error: RequestValidationError) -> tuple[str, str | None]:
    """The first mistake as a sentence, and the field it is in."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    kind = first["type"]
    if kind == "json_invalid":
        return f"The body must be JSON, but it is not: {first['ctx']['error']}.", None
    if kind == "extra_forbidden":
        return f"There is no parameter {where!r}. Leave it out.", where
    if kind == "missing" and not where:
        return "The request needs a JSON body.", None
    if kind == "missing":
        return f"{where} is missing.", where
    said = str(first["msg"]).removeprefix("Value error, ")
    return (f"{where}: {said}." if where else f"{said}."), where or None
