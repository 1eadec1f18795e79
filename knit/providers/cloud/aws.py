"""Who we are at AWS: keys from the settings, from where the AWS SDK looks for them, or of a role; through botocore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Unreachable
from knit.ports.process import Sleep
from knit.ports.solving import Timing
from knit.providers.base import LIBRARY, Runtime, Values, Variable
from knit.providers.http.accounts import Signer
from knit.providers.http.fresh import KEPT

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from botocore.exceptions import ClientError
    from botocore.session import Session

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

_CONNECT = 8.0
_ROLE_KEPT = timedelta(minutes=45)
_ROLE_LASTS = 3600
_PAUSES = (0.5, 2.0)
_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded"}
_TRUST = "sts:AssumeRole on this role, and the role must trust it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where Route 53 is for this account, and the region that requests to it are signed for."""

    url: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What AssumeRole is asked for; `url` only where STS is not at the address botocore knows."""

    asked: Mapping[str, object]
    region: str
    url: str | None = None


class Login:
    """Gives keys, which botocore finds and renews. Not safe between threads."""

    def __init__(self, session: Session, role: Role | None, sleep: Sleep, *, rights: str) -> None:
        self._session = session
        self._role = role
        self._sleep = sleep
        self._rights = rights

    def keys(self) -> tuple[ReadOnlyCredentials, timedelta]:
        """Keys, and for how long they may be used before asking again.

        Raises CredentialsRejected, RateLimited, Unreachable.
        """
        own = self._own()
        return (own, KEPT) if self._role is None else (self._acting(own, self._role), _ROLE_KEPT)

    def _own(self) -> ReadOnlyCredentials:
        from botocore import exceptions

        try:
            found = self._session.get_credentials()
            keys = None if found is None else found.get_frozen_credentials()
        except exceptions.ClientError as e:
            raise _refusal(e, str(e.response["Error"].get("Code")), self._rights) from None
        except exceptions.BotoCoreError as e:
            raise _failure(e) from None
        if keys is None or not keys.access_key or not keys.secret_key:
            raise CredentialsRejected(f"route53: the AWS SDK found no credentials; it needs {self._rights}")
        return keys

    def _acting(self, own: ReadOnlyCredentials, role: Role) -> ReadOnlyCredentials:
        """Keys of the role (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)."""
        from botocore.credentials import ReadOnlyCredentials
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            sts = self._session.create_client("sts", region_name=role.region, endpoint_url=role.url)
            granted = self._asked(sts, role)["Credentials"]
            return ReadOnlyCredentials(granted["AccessKeyId"], granted["SecretAccessKey"], granted["SessionToken"])
        except ClientError as e:
            raise _refusal(e, _said(e, own), _TRUST) from None
        except BotoCoreError as e:
            raise _failure(e) from None
        except (ResponseParserError, KeyError):
            raise Unreachable("route53: the answer of STS is not as documented") from None

    def _asked(self, sts: Any, role: Role) -> Any:
        """An answer 5xx is asked for twice more; botocore itself tries once."""
        from botocore.exceptions import ClientError

        for pause in _PAUSES:
            try:
                return sts.assume_role(**role.asked)
            except ClientError as e:
                if _status(e) < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
            self._sleep(pause)
        return sts.assume_role(**role.asked)


def server(values: Values) -> Server:
    """AWS proper, China or GovCloud, by the region."""
    region = _region(values)
    if region.startswith("cn-"):
        return Server(url="https://route53.amazonaws.com.cn", region="cn-northwest-1")
    if region.startswith("us-gov-"):
        return Server(url="https://route53.us-gov.amazonaws.com", region="us-gov-west-1")
    return Server(url="https://route53.amazonaws.com", region="us-east-1")


def login(values: Values, timing: Timing, runtime: Runtime, *, rights: str, sts: str | None = None) -> Login:
    """By the settings. Raises Misconfigured without botocore, or for half a key."""
    try:
        import botocore.session
        from botocore.config import Config
    except ImportError:
        raise Misconfigured("authentication at AWS needs boto3: pip install 'knit-certs[route53]'") from None
    session = botocore.session.Session(profile=values.get(_PROFILE))
    times = {"connect_timeout": min(_CONNECT, timing.http), "read_timeout": min(LIBRARY, timing.http)}
    session.set_default_client_config(Config(**times, retries={"total_max_attempts": 1}))
    if session.get_config_variable("ca_bundle") is None:
        session.set_config_variable("ca_bundle", runtime.trust.bundle())
    shared = values.get(_SHARED)
    if shared is not None:
        session.set_config_variable("credentials_file", shared)
    if values.get(_ID) is not None or values.get(_SECRET) is not None:
        session.set_credentials(values.text(_ID), values.text(_SECRET), values.get(_TOKEN))
    return Login(session, _role(values, sts), runtime.sleep, rights=rights)


def signer(keys: ReadOnlyCredentials, region: str) -> Signer:
    """Signs requests to Route 53 (Signature Version 4)."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    def sign(request: requests.PreparedRequest) -> None:
        signed = AWSRequest(method=request.method, url=request.url, data=request.body or b"")
        SigV4Auth(keys, "route53", region).add_auth(signed)
        request.headers.update(signed.headers.items())

    return sign


def secrets(keys: ReadOnlyCredentials) -> tuple[str, ...]:
    """What of these keys must never be shown."""
    return tuple(text for text in (keys.secret_key, keys.token) if text)


def _region(values: Values) -> str:
    return values.get(_REGION) or "us-east-1"


def _role(values: Values, url: str | None) -> Role | None:
    arn, external = values.get(_ROLE), values.get(_EXTERNAL)
    if arn is None:
        return None
    asked = {"RoleArn": arn, "RoleSessionName": "knit", "DurationSeconds": _ROLE_LASTS}
    return Role(asked=asked | ({"ExternalId": external} if external else {}), region=_region(values), url=url)


def _status(e: ClientError) -> int:
    return int(e.response["ResponseMetadata"]["HTTPStatusCode"])


def _said(e: ClientError, own: ReadOnlyCredentials) -> str:
    """The words of STS: on a wrong signature it repeats the whole request, session token included."""
    text = " ".join(str(e.response["Error"].get("Message")).split())
    for secret in secrets(own):
        text = text.replace(secret, "***")
    return text[:300]


def _refusal(e: ClientError, said: str, needs: str) -> KnitError:
    status = _status(e)
    if e.response["Error"].get("Code") in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(f"route53: STS asks to slow down (HTTP {status}): {said}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable(f"route53: STS cannot serve now (HTTP {status}): {said}")
    return CredentialsRejected(f"route53: STS does not accept the credential (HTTP {status}): {said}; it needs {needs}")


def _failure(e: Exception) -> KnitError:
    """For errors whose text may hold URLs and paths: only what kind it is."""
    from botocore import exceptions

    if isinstance(e, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Unreachable(f"route53: no credentials, as AWS does not answer ({type(e).__name__})")
    return CredentialsRejected(f"route53: the AWS SDK found no usable credentials ({type(e).__name__})")
