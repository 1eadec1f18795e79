"""What is sent to an API, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from knit.errors import Unreachable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent: query parameters, and at most one of a JSON value, form fields or raw bytes.

    `again`: a POST or PATCH that leaves the same behind when it arrives twice, so it may be sent again when no answer
    has come.
    """

    params: Mapping[str, str] | None = None
    json: object = None
    form: Mapping[str, str] | None = None
    raw: bytes | None = None
    headers: Mapping[str, str] | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer. `said` is its text made fit for an error: short, one line, no secrets."""

    provider: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    said: str

    @property
    def missing(self) -> bool:
        """Status 404."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    def parse(self, shape: type[T]) -> T:
        """The JSON body as `shape` (a pydantic model, `list[Model]`, …); Unreachable when it is anything else."""
        try:
            return TypeAdapter(shape).validate_json(self.body)
        except ValidationError as e:
            where = ".".join(str(part) for part in e.errors(include_input=False)[0]["loc"]) or "the whole answer"
            raise Unreachable(f"{self.provider}: the API's answer is not as documented ({where})") from None
