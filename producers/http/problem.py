"""Why a request, or one event of it, was refused: RFC 9457's problem details."""

from __future__ import annotations

from typing import Any

TYPE = b"application/problem+json"


class Problem(Exception):
    """A refusal.

    Args:
        status: of HTTP.
        code: which refusal it is, for programs: one word.
        detail: what happened, where, and what to do, for people.
        field: path of the field that does not fit, if it is one.
        retry_after: seconds after which a repeat may succeed.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str = "",
        retry_after: int = 0,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = headers
        if retry_after:
            self.headers = (*headers, (b"retry-after", str(retry_after).encode()))

    def told(self) -> dict[str, Any]:
        """The refusal as JSON has it."""
        found: dict[str, Any] = {"status": self.status, "code": self.code, "detail": self.detail}
        return {**found, "field": self.field} if self.field else found
