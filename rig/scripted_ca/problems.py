"""Problem documents: the only way this CA says no (RFC 8555 section 6.7, RFC 9773 section 7.4)."""

from enum import StrEnum
from typing import Any

_URN = "urn:ietf:params:acme:error:"


class Kind(StrEnum):
    """Error types of RFC 8555, RFC 9773 and the profiles draft; the value is the word on the wire."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REPLACED = "alreadyReplaced"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    INVALID_PROFILE = "invalidProfile"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"


_STATUS = {
    Kind.ALREADY_REPLACED: 409,
    Kind.ORDER_NOT_READY: 403,
    Kind.RATE_LIMITED: 429,
    Kind.REJECTED_IDENTIFIER: 400,
    Kind.SERVER_INTERNAL: 500,
    Kind.UNAUTHORIZED: 403,
    Kind.USER_ACTION_REQUIRED: 403,
    Kind.EXTERNAL_ACCOUNT_REQUIRED: 403,
    Kind.CAA: 403,
}


def document(kind: str, detail: str, status: int, **extra: Any) -> dict[str, Any]:
    """Give a problem document; a `kind` that is a URN already is kept."""
    urn = kind if ":" in kind else _URN + kind
    return {"type": urn, "detail": detail, "status": status, **extra}


class Refusal(Exception):
    """A request that is refused; carries everything its answer needs."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.status = status or _STATUS.get(kind, 400)
        self.headers = headers
        self.document = document(kind, detail, self.status, **(extra or {}))
