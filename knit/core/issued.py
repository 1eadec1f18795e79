"""What is recorded of a certificate that is published."""

from __future__ import annotations

from datetime import datetime

from knit.core.imported import IMPORTED
from knit.core.model.attempt import Attempt
from knit.core.model.certificate import CertSpec, Issued, Leaf
from knit.core.model.issuer import Asked
from knit.core.names import key_of


def recorded(
    spec: CertSpec,
    asked: Asked | Attempt,
    leaf: Leaf,
    *,
    issued_at: datetime,
    sha256: str,
    generation: int,
    cert_path: str,
    key_path: str,
) -> Issued:
    """`asked` is what the CA was asked for, for the names of the leaf: what is wanted (`spec`) may have changed since.

    `sha256`, `generation` and the paths are those of the published value.
    """
    return Issued(
        cert_id=spec.id,
        names_key=key_of(leaf.names),
        issuer=asked.issuer,
        directory=asked.directory,
        key_type=asked.key_type,
        profile=asked.profile,
        preferred_chain=asked.preferred_chain,
        serial=leaf.serial,
        # Its CA has nothing to say to knit about one that a person brings.
        ari_id=None if asked.issuer == IMPORTED else leaf.ari_id,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issued_at=issued_at,
        sha256=sha256,
        generation=generation,
        valkey_key=spec.valkey_key,
        cert_path=cert_path,
        key_path=key_path,
    )
