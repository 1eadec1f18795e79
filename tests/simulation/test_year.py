"""A virtual year: certificates of mixed lifetimes, two issuers, CAs that go away, names that always fail."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from knit.core.limits import Limit, Rate
from knit.core.model.decision import Rules
from knit.core.model.issuer import Terms
from knit.flows.forecast import Forecast
from tests.simulation.year import DAY, HOUR, MINUTE, START, Row, TheCA, Year, cert

LE, BACKUP = "https://le.example/directory", "https://backup.example/directory"
RULES = Rules(
    issuers=(
        Terms(name="le", directory=LE, limits="letsencrypt"),
        Terms(name="backup", directory=BACKUP, limits="none"),
    )
)
SHORTER = datetime(2027, 2, 10, tzinfo=UTC)
"""From then on Let's Encrypt's certificates of the classic profile live 64 days instead of 90."""

FAILING = [f"bad-{number}.failing.example" for number in range(100)]


def life(profile: str, now: datetime) -> timedelta:
    classic = 90 * DAY if now < SHORTER else 64 * DAY
    return {"shortlived": 160 * HOUR, "tlsserver": 45 * DAY, "classic": classic}[profile]


def everybody() -> list[Row]:
    """1,000: 150 live 160 hours, 350 for 45 days, 500 as long as most; 100 of these are of one domain."""
    rows = []
    for number in range(1, 1001):
        profile = "shortlived" if number <= 150 else "tlsserver" if number <= 500 else "classic"
        domain = "crowded.example" if number > 900 else f"d{number % 300}.example"
        issuer = "le,backup" if profile == "classic" else "le"
        rows.append(cert(number, f"h{number}.{domain}", domain, profile=profile, issuer=issuer))
    return rows


def cas(**more: list[tuple[str, datetime, datetime]]) -> dict[str, TheCA]:
    return {
        LE: TheCA(directory=LE, lives=life, refuses=frozenset(FAILING), **more),  # type: ignore[arg-type]
        BACKUP: TheCA(directory=BACKUP, lives=life, counts=False),
    }


AWAY = [
    ("shortlived", START + 40 * DAY, START + 41 * DAY),
    ("shortlived", START + 120.3 * DAY, START + 121.3 * DAY),
    ("tlsserver", START + 50 * DAY, START + 57 * DAY),
    ("classic", START + 55 * DAY, START + 85 * DAY),
]


@pytest.fixture(scope="module")
def year() -> Year:
    rows = everybody()
    for number, name in enumerate(FAILING, 2001):
        late = cert(number, name, "failing.example", profile="classic")
        late.look_at = START + 20 * DAY
        rows.append(late)
    made = Year(rows, RULES, cas(away=list(AWAY)))
    made.run(START + 365 * DAY)
    return made


def good(year: Year) -> list[Row]:
    return [row for row in year.rows.values() if row.spec.id <= 1000]


@pytest.mark.timeout(600)
def test_nothing_expires_though_its_ca_is_away_for_a_day_a_week_and_a_month(year: Year) -> None:
    assert (year.expired, year.dead(year.clock.now)) == ([], [])
    assert all(row.issued for row in good(year))
    by_profile = Counter(row.spec.profile for row in good(year) for _ in row.issued)
    assert by_profile["shortlived"] > 150 * 365 / 4
    assert by_profile["tlsserver"] > 350 * 11


@pytest.mark.timeout(600)
def test_the_ca_never_has_to_say_that_it_is_asked_too_often(year: Year) -> None:
    assert year.cas[LE].limited == 0
    assert len(year.cas[LE].orders) > 10_000


@pytest.mark.timeout(600)
def test_certificates_go_to_the_second_issuer_while_the_first_is_away_and_come_back(year: Year) -> None:
    """Where a domain has more certificates than the first issuer takes new ones in a week, some come back later."""
    orders = [(at, name) for at, name in year.cas[BACKUP].orders if at > START + 10 * DAY]
    in_time = [name for at, name in orders if START + 55 * DAY <= at <= START + 85 * DAY]
    assert len(in_time) > 100
    assert all(name.endswith("crowded.example") for _, name in orders[len(in_time) :])
    assert len(orders) - len(in_time) <= 100
    directories = {row.state.issued.directory for row in good(year) if row.state.issued}
    assert directories == {LE}


@pytest.mark.timeout(600)
def test_names_that_always_fail_are_tried_four_times_in_two_hours_and_then_once_a_day(year: Year) -> None:
    for number in range(2001, 2101):
        tries = year.rows[number].tries  # type: ignore[index]
        assert not year.rows[number].issued  # type: ignore[index]
        early = [at for at in tries if at <= tries[0] + 2 * HOUR]
        assert len(early) <= 4
        later = tries[len(early) :]
        assert all(apart >= 0.79 * DAY for apart in (after - before for before, after in pairwise(later)))
        assert len(later) >= 250


@pytest.mark.timeout(600)
def test_names_that_always_fail_delay_nobody(year: Year) -> None:
    """From the day on which they were added, while no CA is away, whatever is due is issued within minutes."""
    late = [
        (row.spec.id, due)
        for row in good(year)
        for due, at, _ in row.issued
        if due > START + 20 * DAY and at - due > 10 * MINUTE and not _near_outage(due, at)
    ]
    assert late == []


def _near_outage(due: datetime, at: datetime) -> bool:
    return any(due < until and at >= since for _, since, until in AWAY)


@pytest.mark.timeout(600)
def test_what_was_first_issued_together_is_renewed_spread_evenly(year: Year) -> None:
    """Over a ninetieth of life, as chi-squared has it: 27.9 is passed by chance once in a thousand times."""
    bins: Counter[int] = Counter()
    for row in good(year):
        if row.spec.profile == "tlsserver":
            (_, first, _), (due, _, ends) = row.issued[:2]
            assert first < START + 10 * DAY
            window = ends - 15 * DAY
            bins[min(int((due - window) / (45 * DAY / 90) * 10), 9)] += 1
    expected = sum(bins.values()) / 10
    assert sum(bins.values()) == 350
    assert sum((bins[number] - expected) ** 2 / expected for number in range(10)) < 27.9


@pytest.mark.timeout(600)
def test_shorter_lives_from_one_day_on_pass_unnoticed(year: Year) -> None:
    """No more orders on any day around it than there were on the worst day before, and nothing renewed twice."""
    days = Counter((at - START) // DAY for at, _ in year.cas[LE].orders if _classic(year, _))
    change = (SHORTER - START) // DAY
    around = max(days[day] for day in range(change - 3, change + 10))
    assert around <= max(days[day] for day in range(5, change - 3)) * 1.5
    for row in good(year):
        if row.spec.profile == "classic":
            assert all(after - before > 20 * DAY for (_, before, _), (_, after, _) in pairwise(row.issued))


def _classic(year: Year, name: str) -> bool:
    return name.startswith("h") and int(name[1:].partition(".")[0]) > 500


@pytest.mark.timeout(600)
def test_a_forecast_names_the_day_on_which_the_last_of_five_hundred_is_issued() -> None:
    already = [cert(number, f"a{number}.example.org", "example.org", profile="classic") for number in range(1, 26)]
    year = Year(already, RULES, cas())
    year.run(START + HOUR)
    forecast = Forecast(store=year, room=year.room, rules=RULES)
    (terms, _) = RULES.issuers
    had = forecast.had(500, "example.org", [terms], year.clock.now)
    assert had.limit is not None
    assert had.limit.limit is Limit.DOMAIN
    more = [cert(number, f"b{number}.example.org", "example.org", profile="classic") for number in range(101, 601)]
    for row in more:
        year.rows[row.spec.id] = row
        year._look(row, year.clock.now)
    year.run(START + 120 * DAY)
    last = max(row.issued[0][1] for row in more)
    assert abs(last - had.at) <= Rate.of(50, 7 * DAY).every
    assert year.cas[LE].limited == 0
