"""Who we are at AWS: keys from the settings, from where the AWS SDK looks for them, or of a role taken on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

from knit.errors import CredentialsRejected, Misconfigured, Unreachable
from knit.solvers.base import Runtime, Timing, Values, Variable
from knit.solvers.fresh import KEPT
from knit.solvers.http import Account, Api, Body, Reply
from knit.solvers.sigv4 import Keys, signer

_ID = Variable(names=("AWS_ACCESS_KEY_ID",), help="access key id")
_SECRET = Variable(names=("AWS_SECRET_ACCESS_KEY",), help="secret access key", secret=True)
_TOKEN = Variable(names=("AWS_SESSION_TOKEN",), help="session token of temporary keys", secret=True)
_REGION = Variable(names=("AWS_REGION", "AWS_DEFAULT_REGION"), help="tells China and GovCloud from the rest")
_PROFILE = Variable(names=("AWS_PROFILE",), help="profile in the shared files")
_SHARED = Variable(names=("AWS_SHARED_CREDENTIALS_FILE",), help="path of the shared credentials file")
_LOAD = Variable(names=("AWS_SDK_LOAD_CONFIG",), help="ignored: the shared config file is always read")
_ROLE = Variable(names=("AWS_ASSUME_ROLE_ARN",), help="role to take on")
_EXTERNAL = Variable(names=("AWS_EXTERNAL_ID",), help="external id the role asks for")

VARIABLES = (_ID, _SECRET, _TOKEN, _REGION, _PROFILE, _SHARED, _LOAD, _ROLE, _EXTERNAL)

Source = Callable[[], tuple[Keys, timedelta]]
"""Gives keys, and for how long they may be used before asking again."""

_ROLE_KEPT = timedelta(minutes=45)
_HOUR = "3600"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One AWS service, and the region that requests to it are signed for."""

    url: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the account lives."""

    route53: Server
    sts: Server


def place(values: Values) -> Place:
    """AWS proper, China or GovCloud, by the region."""
    region = values.get(_REGION) or "us-east-1"
    if region.startswith("cn-"):
        home, suffix = Server(url="https://route53.amazonaws.com.cn", region="cn-northwest-1"), "amazonaws.com.cn"
    elif region.startswith("us-gov-"):
        home, suffix = Server(url="https://route53.us-gov.amazonaws.com", region="us-gov-west-1"), "amazonaws.com"
    else:
        home, suffix = Server(url="https://route53.amazonaws.com", region="us-east-1"), "amazonaws.com"
    return Place(route53=home, sts=Server(url=f"https://sts.{region}.{suffix}", region=region))


def source(values: Values, runtime: Runtime, timing: Timing, *, rights: str) -> Source:
    """Where the keys come from. Raises Misconfigured."""
    own = _given(values) or _found(values, rights)
    role = values.get(_ROLE)
    if role is None:
        return own
    asked = {"RoleArn": role, "ExternalId": values.get(_EXTERNAL) or ""}
    return assumed(own, asked, place(values).sts, runtime, timing)


def assumed(own: Source, role: dict[str, str], server: Server, runtime: Runtime, timing: Timing) -> Source:
    """Keys of a role, which `own` keys may take on (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)."""
    asked = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleSessionName": "knit", "DurationSeconds": _HOUR}
    form = asked | {name: value for name, value in role.items() if value}

    def ask() -> tuple[Keys, timedelta]:
        keys, _ = own()
        sign = signer(keys, server.region, "sts", runtime.clock)
        rights = "sts:AssumeRole on this role, and the role must trust it"
        account = Account(provider="route53", rights=rights, sign=sign, secrets=keys.secrets)
        reply = Api(server.url, account, runtime, timeout=timing.http).call("POST", "/", Body(form=form))
        return _granted(reply), _ROLE_KEPT

    return ask


def _granted(reply: Reply) -> Keys:
    try:
        answer = ET.fromstring(reply.body)  # noqa: S314 - expat itself bounds entities, the client bounds the size
    except (ET.ParseError, ValueError):
        raise Unreachable("route53: the answer of STS is not XML") from None
    parts = [answer.findtext(f".//{{*}}{name}") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if not all(parts):
        raise Unreachable("route53: the answer of STS holds no keys")
    found, secret, token = (part or "" for part in parts)
    return Keys(id=found, secret=secret, token=token)


def _given(values: Values) -> Source | None:
    found, secret = values.get(_ID), values.get(_SECRET)
    if found is None and secret is None:
        return None
    keys = Keys(id=values.text(_ID), secret=values.text(_SECRET), token=values.get(_TOKEN) or "")
    return lambda: (keys, timedelta(days=1))


def _found(values: Values, rights: str) -> Source:
    """The chain of the AWS SDK: shared files, web identity, SSO, container, instance."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:
        names = f"{_ID.name} and {_SECRET.name}"
        raise Misconfigured(f"set {names}, or install knit[route53] to find credentials as the AWS SDK does") from None
    session = botocore.session.Session(profile=values.get(_PROFILE))
    shared = values.get(_SHARED)
    if shared is not None:
        session.set_config_variable("credentials_file", shared)

    def ask() -> tuple[Keys, timedelta]:
        try:
            found: Any = session.get_credentials()
            frozen: Any = None if found is None else found.get_frozen_credentials()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as e:
            raise CredentialsRejected(
                f"route53: the AWS SDK found no usable credentials ({type(e).__name__})"
            ) from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise CredentialsRejected(f"route53: the AWS SDK found no credentials; it needs {rights}")
        return Keys(id=frozen.access_key, secret=frozen.secret_key, token=frozen.token or ""), KEPT

    return ask
