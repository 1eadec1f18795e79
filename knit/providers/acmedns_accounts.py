"""Where the accounts at an acme-dns server are kept, one for each domain: lego's file, or lego's account server."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator

from knit.errors import Refused
from knit.ports.solving import Timing
from knit.providers.base import Runtime
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import MISSING, Api
from knit.providers.http.exchange import Body

_CREATED = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsAccount:
    """One account: whoever points a CNAME at `fulldomain` lets it set the TXT values there."""

    fulldomain: str
    subdomain: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    server_url: str = ""


class Accounts(Protocol):
    """Accounts by domain, without `_acme-challenge.` and `*.`."""

    def get(self, domain: str) -> DnsAccount | None: ...

    def add(self, domain: str, register: Callable[[], DnsAccount]) -> tuple[DnsAccount, bool]:
        """The account kept for the domain, or else the one that `register` gives, kept from now on.

        Also tells whether whoever keeps it has made the CNAME record for it.
        """


class _Kept(BaseModel):
    """An account as lego writes it. Its older releases wrote the names with capitals."""

    fulldomain: str
    subdomain: str
    username: str
    password: str

    @model_validator(mode="before")
    @classmethod
    def _in_small_letters(cls, given: object) -> object:
        return {str(name).lower(): value for name, value in given.items()} if isinstance(given, dict) else given

    def account(self) -> DnsAccount:
        return DnsAccount(
            fulldomain=self.fulldomain.rstrip(".").lower(),
            subdomain=self.subdomain,
            username=self.username,
            password=self.password,
        )


class FileAccounts:
    """lego's JSON file. Other entries in it stay as they are; a lock file beside it keeps two writers apart."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def get(self, domain: str) -> DnsAccount | None:
        """See Accounts. Raises Refused when the file cannot be read."""
        entry = self._read().get(domain)
        if entry is None:
            return None
        try:
            return _Kept.model_validate(entry).account()
        except ValidationError:
            raise Refused(f"acmedns: {self._path}: the account of {domain} is not as lego writes it") from None

    def add(self, domain: str, register: Callable[[], DnsAccount]) -> tuple[DnsAccount, bool]:
        """See Accounts."""
        with self._locked():
            account = self.get(domain)
            if account is None:
                account = register()
                self._write({**self._read(), domain: asdict(account)})
        return account, False

    def _read(self) -> dict[str, object]:
        try:
            return TypeAdapter(dict[str, object]).validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as e:
            raise Refused(f"acmedns: cannot read {self._path}: {e.strerror}") from None
        except ValidationError:
            raise Refused(f"acmedns: {self._path} is not a JSON object of accounts") from None

    def _write(self, accounts: dict[str, object]) -> None:
        """A new file in its place, for its owner alone, whole whatever happens."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(accounts, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._path.with_name(f"{self._path.name}.lock").open("w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as e:
            raise Refused(f"acmedns: cannot keep an account in {self._path}: {e.strerror}") from None


class HttpAccounts:
    """lego's account server (https://go-acme.github.io/lego/dns/acmedns/): GET and POST at <url>/<domain>."""

    def __init__(self, url: str, timing: Timing, runtime: Runtime) -> None:
        account = Account(provider="acmedns (account server)", rights="whatever that server wants", sign=anonymous)
        self._api = Api(url, account, runtime, timeout=timing.http)

    def get(self, domain: str) -> DnsAccount | None:
        """See Accounts."""
        reply = self._api.get(f"/{quote(domain)}", ok=MISSING)
        return None if reply.missing else reply.parse(_Kept).account()

    def add(self, domain: str, register: Callable[[], DnsAccount]) -> tuple[DnsAccount, bool]:
        """See Accounts. The server says by status 201 that it has made the CNAME."""
        account = register()
        reply = self._api.call("POST", f"/{quote(domain)}", Body(json=asdict(account)))
        return account, reply.status == _CREATED
