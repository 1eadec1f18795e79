"""Who we are at a provider, and how each request says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import requests
from requests.auth import AuthBase

from knit.errors import CredentialsRejected

Signer = Callable[[requests.PreparedRequest], None]
"""Adds authentication to a finished request: a header, or a signature over method, URL and body."""


def header(name: str, value: str) -> Signer:
    """Authentication by one request header, such as `Authorization: Bearer …`."""

    def sign(request: requests.PreparedRequest) -> None:
        request.headers[name] = value

    return sign


def basic(user: str, password: str) -> Signer:
    """HTTP basic authentication (RFC 7617)."""

    def sign(request: requests.PreparedRequest) -> None:
        requests.auth.HTTPBasicAuth(user.encode(), password.encode())(request)

    return sign


def anonymous(request: requests.PreparedRequest) -> None:
    """No authentication in headers (it is in the path, the query or the body, or there is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who we are at a provider, for `Api`.

    `rights` finishes the sentence "the credential needs …". Every text in `secrets` is blotted out of what the
    provider answers before any of it is shown.
    """

    provider: str
    rights: str
    sign: Signer = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False, default=())


def opened(url: str, account: Account) -> tuple[str, Account]:
    """The address without the user and password in it, and an account that shows them."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if not at:
        return url, account
    user, _, password = (unquote(part) for part in userinfo.partition(":"))
    enter = basic(user, password)

    def sign(request: requests.PreparedRequest) -> None:
        enter(request)
        account.sign(request)

    secrets = (*account.secrets, password, userinfo.partition(":")[2])
    return f"{scheme}{separator}{host}{slash}{path}", replace(account, sign=sign, secrets=secrets)


def proxies_for(url: str, chosen: Mapping[str, str]) -> dict[str, str] | None:
    """What requests is to be told: chosen proxies, or that this host is to be reached without any."""
    if not chosen:
        return None
    if chosen.get("no_proxy") and requests.utils.should_bypass_proxies(url, chosen["no_proxy"]):
        return {"no_proxy": chosen["no_proxy"]}
    return {scheme: proxy for scheme, proxy in chosen.items() if scheme != "no_proxy"}


class Signed(AuthBase):
    """Hands the finished request to the signer. Being set at all, it keeps ~/.netrc out of the request."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._account.sign(request)
        if not all(_fits(value) for value in request.headers.values()):
            said = "the credential holds a character that no HTTP header can carry, such as a line break"
            raise CredentialsRejected(f"{self._account.provider}: {said}")
        return request


def _fits(value: str | bytes) -> bool:
    """Whether a header can have this value (RFC 9110 section 5.5)."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return all(character == "\t" or (" " <= character <= "\xff" and character != "\x7f") for character in text)
