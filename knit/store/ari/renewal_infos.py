"""The port `RenewalInfos` over knit_ari. Rows are made by triggers of knit_issued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from psycopg.types.json import Jsonb

from knit.core.ari import Outcome, Question
from knit.core.model.certificate import CertId
from knit.core.text import clean
from knit.store.database import Database
from knit.store.queries import queries

_as_json = partial(json.dumps, default=datetime.isoformat)


class RenewalInfos:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("ari/renewal_infos")

    def due(self) -> bool:
        """See the port."""
        (row,) = self._database.rows(self._sql["due"])
        return bool(row["due"])

    def take(self, most: int) -> Sequence[Question]:
        """See the port."""
        rows = self._database.rows(self._sql["take"], {"most": most})
        return [Question(**{**row, "cert_id": CertId(row["cert_id"])}) for row in rows]

    def give_back(self, questions: Sequence[Question]) -> None:
        """See the port."""
        if questions:
            self._database.write(self._sql["give_back"], {"ids": [one.cert_id for one in questions]})

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """See the port."""
        if outcomes:
            told = Jsonb([_told(one) for one in outcomes], dumps=_as_json)
            self._database.write(self._sql["keep"], {"told": told})


def _told(outcome: Outcome) -> dict[str, object]:
    window = outcome.window
    return {
        "cert_id": outcome.question.cert_id,
        "ari_id": outcome.question.ari_id,
        "next_poll_at": outcome.next_poll_at,
        "window_start": None if window is None else window.start,
        "window_end": None if window is None else window.end,
        "chosen_at": outcome.chosen_at,
        "explanation_url": None if window is None else window.explanation,
        "error": None if outcome.error is None else clean(outcome.error, 500),
    }
