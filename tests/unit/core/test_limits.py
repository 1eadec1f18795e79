"""What CAs publish of their limits, and tables of one's own."""

from __future__ import annotations

import tomllib
from datetime import timedelta

import pytest

from knit.core import limits
from knit.core.limits import LETS_ENCRYPT, NONE, STAGING, Limit, Rate


@pytest.mark.parametrize(
    ("limit", "count", "seconds"),
    [(Limit.ORDERS, 300, 36), (Limit.DOMAIN, 50, 12096), (Limit.SET, 5, 120960), (Limit.FAILURES, 5, 720)],
)
def test_lets_encrypts_page_says_how_many_and_how_soon_one_comes_back(limit: Limit, count: int, seconds: int) -> None:
    assert LETS_ENCRYPT.rates[limit] == Rate(count=count, every=timedelta(seconds=seconds))


def test_a_ca_is_known_by_the_host_of_its_directory() -> None:
    assert limits.of_directory("https://acme-v02.api.letsencrypt.org/directory") is LETS_ENCRYPT
    assert limits.of_directory("https://acme-staging-v02.api.letsencrypt.org/directory") is STAGING
    assert limits.of_directory("https://ca.example/letsencrypt.org") is NONE
    assert limits.of_directory("selfsigned:dev") is NONE


def test_an_issuer_that_says_its_limits_is_not_judged_by_its_directory() -> None:
    directory = "https://acme-v02.api.letsencrypt.org/directory"
    assert limits.of(None, directory) is LETS_ENCRYPT
    assert limits.of("none", directory) is NONE
    assert limits.of({"like": "letsencrypt-staging"}, directory).rates == STAGING.rates


def table(text: str) -> limits.Model:
    return limits.from_table(tomllib.loads(text))


def test_a_table_of_ones_own_starts_from_nothing_or_from_a_model() -> None:
    own = table('orders_per_account = { count = 10, per = "1h" }')
    assert dict(own.rates) == {Limit.ORDERS: Rate(count=10, every=timedelta(minutes=6))}
    assert (own.spared_renewals, own.spares_replaced) == (frozenset(), False)
    orders = 'orders_per_account = { count = 3000, per = "3h" }'
    raised = table(f'like = "letsencrypt"\n{orders}\ncertificates_per_set = false')
    assert raised.rates[Limit.ORDERS].count == 3000
    assert Limit.SET not in raised.rates
    assert raised.rates[Limit.DOMAIN] == LETS_ENCRYPT.rates[Limit.DOMAIN]
    assert raised.spares_replaced


def test_a_table_says_which_orders_are_not_counted() -> None:
    own = table('replaced_not_counted = true\nrenewals_not_counted_by = ["certificates_per_domain"]')
    assert own.spares_replaced
    assert own.spared_renewals == {Limit.DOMAIN}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('order_per_account = { count = 1, per = "1h" }', "orders_per_account?"),
        ('like = "letsencript"', "letsencrypt?"),
        ("like = 3", "like: text"),
        ("orders_per_account = 300", "orders_per_account: {"),
        ('orders_per_account = { count = 0, per = "1h" }', "count from 1"),
        ('orders_per_account = { count = true, per = "1h" }', "count from 1"),
        ('orders_per_account = { count = 5, per = "soon" }', "duration"),
        ('orders_per_account = { count = 5, per = "4000d" }', "duration"),
        ('orders_per_account = { count = 5, per = "500d" }', "to a year"),
        ('orders_per_account = { count = 5, per = "1h", burst = 3 }', "orders_per_account: {"),
        ('renewals_not_counted_by = "orders"', "renewals_not_counted_by: a list"),
        ("replaced_not_counted = 1", "replaced_not_counted: true"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^\w") as refused:
        table(text)
    assert said in str(refused.value)


def test_a_token_never_comes_back_sooner_than_the_limit_says() -> None:
    rate = Rate.of(7, timedelta(seconds=1))
    assert rate.every * rate.count >= timedelta(seconds=1)
