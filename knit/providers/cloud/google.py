"""Who we are at Google Cloud: a service account's key, or application default credentials; through google-auth."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knit.errors import CredentialsRejected, Misconfigured, Unreachable
from knit.ports.solving import Timing
from knit.providers.base import LIBRARY, Values, Variable
from knit.providers.http.tls import Trust

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_ACCOUNT = Variable(names=("GCE_SERVICE_ACCOUNT",), help="key of a service account (JSON)", secret=True)
_FILE = Variable(names=("GCE_SERVICE_ACCOUNT_FILE",), help="path of that key")
_PROJECT = Variable(names=("GCE_PROJECT",), help="project; else that of the credentials")
_AS = Variable(names=("GCE_IMPERSONATE_SERVICE_ACCOUNT",), help="e-mail address of a service account to act as")

VARIABLES = (_ACCOUNT, _FILE, _PROJECT, _AS)

_SCOPE = "https://www.googleapis.com/auth/ndev.clouddns.readwrite"
_ANY_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

Load = Callable[[], "tuple[Credentials, str | None]"]
"""Finds credentials, and the project they belong to."""


class Login:
    """Gives access tokens; google-auth keeps and renews them. Safe between threads."""

    def __init__(
        self, load: Load, *, project: str | None, timing: Timing, rights: str, trust: Trust | None = None
    ) -> None:
        self._load = load
        self._project = project
        self._timeout = min(LIBRARY, timing.http)
        self._rights = rights
        self._trust = trust or Trust()
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()

    def project(self) -> str:
        """Misconfigured when neither the settings nor the credentials name one."""
        if self._project is None:
            self.token()
        if self._project is None:
            raise Misconfigured(f"{_PROJECT.name} is not set, and the credentials name no project")
        return self._project

    def token(self) -> str:
        """A token that is good for some minutes. Raises CredentialsRejected, Unreachable."""
        from google.auth import exceptions

        with self._lock:
            try:
                return self._fresh()
            except exceptions.DefaultCredentialsError as e:
                raise CredentialsRejected(f"gcloud: {_said(e)}; it needs {self._rights}") from None
            except (exceptions.RefreshError, exceptions.MutualTLSChannelError) as e:
                if e.retryable:
                    raise Unreachable(f"gcloud: Google gives no access token now: {_said(e)}") from None
                said = f"gcloud: Google does not accept the credential: {_said(e)}"
                raise CredentialsRejected(f"{said}; it needs {self._rights}") from None
            except exceptions.GoogleAuthError as e:
                raise Unreachable(f"gcloud: no access token ({type(e).__name__})") from None

    def _fresh(self) -> str:
        import requests
        from google.auth.transport.requests import Request

        credentials = self._loaded()
        if not credentials.valid:
            with requests.Session() as session:
                session.verify = self._trust.bundle()
                request = partial(Request(session), timeout=self._timeout)
                credentials.refresh(request)  # type: ignore[no-untyped-call]
        return str(credentials.token)

    def _loaded(self) -> Credentials:
        if self._credentials is None:
            self._credentials, found = self._load()
            self._project = self._project or found
        return self._credentials


def login(values: Values, timing: Timing, *, rights: str, trust: Trust | None = None) -> Login:
    """By the settings. Raises Misconfigured without google-auth, or for a key that is none."""
    try:
        import google.auth  # noqa: F401 - only whether it is there
    except ImportError:
        raise Misconfigured("Google's authentication needs google-auth: install knit-certs[gcloud]") from None
    scope = _SCOPE if values.get(_AS) is None else _ANY_SCOPE
    text = _key(values)
    load = partial(_default, scope) if text is None else partial(_account, _parsed(text), scope)
    acting = partial(_acting, load, values.get(_AS))
    return Login(acting, project=values.get(_PROJECT), timing=timing, rights=rights, trust=trust)


def _key(values: Values) -> str | None:
    text, path = values.get(_ACCOUNT), values.get(_FILE)
    if text is not None or path is None:
        return text
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{_FILE.name}={path}: cannot be read") from None


def _parsed(text: str) -> dict[str, Any]:
    from google.oauth2 import service_account

    try:
        info: dict[str, Any] = json.loads(text)
        service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Misconfigured(f"{_ACCOUNT.name} must be the key of a service account, as JSON") from None
    return info


def _account(info: dict[str, Any], scope: str) -> tuple[Credentials, str | None]:
    from google.oauth2 import service_account

    credentials = service_account.Credentials.from_service_account_info(info, scopes=[scope])  # type: ignore[no-untyped-call]
    return credentials, info.get("project_id")


def _default(scope: str) -> tuple[Credentials, str | None]:
    import google.auth

    return google.auth.default(scopes=[scope])


def _acting(load: Load, principal: str | None) -> tuple[Credentials, str | None]:
    from google.auth import impersonated_credentials

    credentials, project = load()
    if principal is None:
        return credentials, project
    acting = impersonated_credentials.Credentials(credentials, principal, [_SCOPE])  # type: ignore[no-untyped-call]
    return acting, project


def _said(e: Exception) -> str:
    """Its first argument is a sentence; what follows may be whole answers."""
    return " ".join(str(e.args[0] if e.args else type(e).__name__).split())[:200]
