"""What was spent, what is counted by estimate, and when a cap stops a run."""

import pytest

from safemt.core.errors import CallFailure, CapReached, UsageError
from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.prices import Price, PriceTable
from safemt.endpoints.spend import Asked, Budget, Spend, Usage, cost_of, dollars, recorded_prices

TARGET = Asked("target", "openai/m", "http://a")
JUDGE = Asked("judge", "openai/j", "http://b")
PRICES = PriceTable({"openai/m": Price(input=1.0, output=10.0), "openai/j": Price(input=0.0, output=0.0)})
ASKED = [Message("user", "x" * 48)]


def reached(spend: Spend) -> CapReached:
    stop = spend.reached()
    assert stop is not None
    return stop


def test_target_and_judge_count_together_and_each_addition_is_recorded() -> None:
    recorded: list[tuple[Asked, Usage]] = []
    spend = Spend(record=lambda asked, usage: recorded.append((asked, usage)), budget=Budget(prices=PRICES))
    spend.count_reply(TARGET, ASKED, Reply("a", prompt_tokens=1_000_000, completion_tokens=100_000))
    spend.count_reply(JUDGE, ASKED, Reply("a", prompt_tokens=7, completion_tokens=3))
    assert spend.tokens == 1_100_010
    assert spend.cost == 2.0
    assert recorded == [
        (TARGET, Usage(calls=1, prompt_tokens=1_000_000, completion_tokens=100_000)),
        (JUDGE, Usage(calls=1, prompt_tokens=7, completion_tokens=3)),
    ]


def test_what_the_endpoint_does_not_report_is_counted_by_estimate_and_said() -> None:
    spend = Spend(budget=Budget(max_tokens=20))
    spend.count_reply(TARGET, ASKED, Reply("x" * 48))
    assert spend.tokens == 17 + 10
    assert "1 calls by estimate" in str(reached(spend))


def test_an_answer_of_no_use_counts_if_it_has_tokens() -> None:
    spend = Spend()
    spend.count_failure(TARGET, CallFailure("empty_reply", "no text", prompt_tokens=5, completion_tokens=9))
    spend.count_failure(TARGET, CallFailure("timeout", "no answer"))
    assert spend.tokens == 14


def test_what_was_spent_before_counts_and_is_told_apart() -> None:
    before = {TARGET: Usage(calls=3, prompt_tokens=60, completion_tokens=20)}
    spend = Spend(before=before, budget=Budget(max_tokens=100))
    assert spend.reached() is None
    spend.count_reply(TARGET, ASKED, Reply("a", prompt_tokens=15, completion_tokens=5))
    assert (reached(spend).code, reached(spend).fields) == (
        "max_tokens_reached",
        {"cap": "budget.max_tokens"},
    )


def test_a_cap_on_cost_says_what_was_spent() -> None:
    spend = Spend(
        before={TARGET: Usage(calls=1, prompt_tokens=400_000)}, budget=Budget(max_cost=0.5, prices=PRICES)
    )
    assert spend.reached() is None
    spend.count_reply(TARGET, ASKED, Reply("a", prompt_tokens=112_345, completion_tokens=0))
    assert reached(spend).code == "max_cost_reached"
    assert "has spent $0.51, $0.40 of it before" in str(reached(spend))


def test_an_unknown_price_is_unknown_and_a_cap_on_cost_is_refused() -> None:
    other = Asked("judge", "openai/other", "http://b")
    assert cost_of({TARGET: Usage(calls=1), other: Usage(calls=1)}, PRICES) is None
    Budget(max_tokens=1).require_prices([other])
    Budget(max_cost=1.0, prices=PRICES).require_prices([TARGET, JUDGE])
    with pytest.raises(UsageError) as error:
        Budget(max_cost=1.0, prices=PRICES).require_prices([TARGET, other])
    assert error.value.code == "unknown_price"
    assert error.value.fields == {"model": "openai/other", "origin": "http://b"}
    with pytest.raises(UsageError) as error:
        Budget(max_cost=float("nan"), prices=PRICES).require_prices([])
    assert error.value.code == "bad_max_cost"


def test_a_manifest_holds_the_prices_that_were_counted_by() -> None:
    manifest = {"budget": Budget(max_cost=1.0, prices=PRICES).record([TARGET])}
    assert recorded_prices(manifest) == PriceTable({"openai/m": PRICES.models["openai/m"]})
    assert recorded_prices({}) == PriceTable({})


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.1, "$0.10"), (0.0456, "$0.046"), (0.00001234, "$0.000012")],
)
def test_small_amounts_can_be_told_from_nothing(amount: float, said: str) -> None:
    assert dollars(amount) == said
