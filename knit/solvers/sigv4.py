"""AWS Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

Written out here, because it is all that keys from the environment need: no SDK.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import reduce
from urllib.parse import parse_qsl, quote, urlsplit

import requests

from knit.ports import Clock
from knit.solvers.http import Signer

_METHOD = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key; `token` belongs to keys that last for a while only."""

    id: str
    secret: str = field(repr=False)
    token: str = field(repr=False, default="")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(text for text in (self.secret, self.token) if text)


def signer(keys: Keys, region: str, service: str, clock: Clock) -> Signer:
    """Signs requests to one service in one region."""

    def sign(request: requests.PreparedRequest) -> None:
        stamp = clock().strftime("%Y%m%dT%H%M%SZ")
        request.headers["Host"] = urlsplit(str(request.url)).netloc
        request.headers["X-Amz-Date"] = stamp
        if keys.token:
            request.headers["X-Amz-Security-Token"] = keys.token
        names = ["host", "x-amz-date", *(["x-amz-security-token"] if keys.token else [])]
        scope = (stamp[:8], region, service, "aws4_request")
        told = "\n".join((_METHOD, stamp, "/".join(scope), _sha256(_canonical(request, names))))
        key = reduce(_hmac, scope, f"AWS4{keys.secret}".encode())
        request.headers["Authorization"] = (
            f"{_METHOD} Credential={keys.id}/{'/'.join(scope)}, "
            f"SignedHeaders={';'.join(names)}, Signature={_hmac(key, told).hex()}"
        )

    return sign


def _canonical(request: requests.PreparedRequest, names: list[str]) -> bytes:
    split = urlsplit(str(request.url))
    query = sorted((_encoded(key), _encoded(value)) for key, value in parse_qsl(split.query, keep_blank_values=True))
    body = request.body or b""
    parts = (
        str(request.method),
        quote(split.path or "/", safe="/-_.~"),
        "&".join(f"{key}={value}" for key, value in query),
        *(f"{name}:{str(request.headers[name]).strip()}" for name in names),
        "",
        ";".join(names),
        _sha256(body if isinstance(body, bytes) else str(body).encode()),
    )
    return "\n".join(parts).encode()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
