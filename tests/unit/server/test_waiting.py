"""The queue before the model: fair between requests, nothing lost, nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from services.server.waiting import OVERTAKEN_AT_MOST, FairQueue, Flow, Waiting

Queue = FairQueue[str, str]
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=8)
requests = st.lists(sizes, min_size=1, max_size=12)
budgets = st.integers(1, 100)


def filled(asked: list[list[int]], models: list[str] | None = None) -> Queue:
    queue = Queue()
    for number, tokens in enumerate(asked):
        queue.add(str(number), models[number] if models else "model", [f"{size}" for size in tokens], tokens)
    return queue


def emptied(queue: Queue, budget: int) -> list[list[Waiting[str]]]:
    batches = []
    while batch := queue.take(budget):
        batches.append(batch)
    return batches


def tokens_of(batch: list[Waiting[str]]) -> int:
    return sum(waiting.tokens for waiting in batch)


@given(requests, budgets)
def test_every_text_is_taken_once_within_the_budget(asked: list[list[int]], budget: int) -> None:
    batches = emptied(filled(asked), budget)
    taken = sorted((waiting.asker, waiting.place) for batch in batches for waiting in batch)
    assert taken == sorted((str(number), place) for number, tokens in enumerate(asked) for place in range(len(tokens)))
    assert all(len(batch) == 1 or tokens_of(batch) <= budget for batch in batches)


@given(requests, budgets)
def test_the_first_in_turn_is_always_taken(asked: list[list[int]], budget: int) -> None:
    queue = filled(asked)
    turn = [(waiting.tag, waiting.number) for batch in emptied(filled(asked), 1) for waiting in batch]
    first = queue.take(budget)[0]
    assert first.number == min(turn)[1]


@given(requests, budgets)
def test_what_is_passed_over_would_not_have_fitted(asked: list[list[int]], budget: int) -> None:
    queue = filled(asked)
    batch = queue.take(budget)
    room = budget - tokens_of(batch)
    assert all(waiting.tokens > room for later in emptied(queue, budget) for waiting in later)


@given(requests, st.lists(st.sampled_from("ab"), min_size=12, max_size=12), budgets)
def test_a_batch_is_for_one_model(asked: list[list[int]], models: list[str], budget: int) -> None:
    for batch in emptied(filled(asked, models), budget):
        assert len({models[int(waiting.asker)] for waiting in batch}) == 1


@given(requests, st.sets(st.integers(0, 11)), budgets, st.sets(st.integers(0, 11)))
def test_what_was_dropped_is_never_taken_and_takes_no_room(
    asked: list[list[int]], dropped: set[int], budget: int, flowing: set[int]
) -> None:
    queue, flow = Queue(), Flow()
    for number, tokens in enumerate(asked):
        queue.add(str(number), "model", ["text"] * len(tokens), tokens, flow if number in flowing else None)
    for number in dropped:
        queue.drop(str(number))
    kept = {number: tokens for number, tokens in enumerate(asked) if number not in dropped}
    assert len(queue) == sum(map(len, kept.values()))
    assert queue.tokens == sum(map(sum, kept.values()))
    assert queue.flowing_tokens == sum(sum(tokens) for number, tokens in kept.items() if number in flowing)
    taken = {int(waiting.asker) for batch in emptied(queue, budget) for waiting in batch}
    assert taken == set(kept)
    assert (len(queue), queue.tokens, queue.flowing_tokens) == (0, 0, 0)


def test_requests_of_one_text_are_taken_as_they_came() -> None:
    queue = filled([[5], [5], [5]])
    queue.take(5)
    queue.add("later", "model", ["text"], [5])
    assert [batch[0].asker for batch in emptied(queue, 5)] == ["1", "2", "later"]


def test_a_small_request_does_not_wait_for_a_large_one_that_came_before() -> None:
    queue = filled([[10] * 256])
    queue.take(100)
    queue.add("small", "model", ["text"], [10])
    assert "small" in {waiting.asker for waiting in queue.take(100)}


def test_a_large_request_is_done_though_small_ones_keep_coming() -> None:
    """As many as the model can bear arrive with every batch; without a bound they would always go first."""
    queue, batches = filled([[10] * 100]), 0
    while any(waiting.asker == "0" for waiting in queue._order):
        for newcomer in range(10):
            queue.add(f"{batches}-{newcomer}", "model", ["text"], [10])
        queue.take(100)
        batches += 1
    assert batches <= (1 + OVERTAKEN_AT_MOST) * 10 + 1


@given(requests, sizes)
def test_what_is_before_a_newcomer_is_what_is_taken_before_its_last_text(
    asked: list[list[int]], own: list[int]
) -> None:
    queue = filled(asked)
    expected = queue.tokens_before(own)
    queue.add("own", "model", ["text"] * len(own), own)
    taken = [waiting for batch in emptied(queue, 1) for waiting in batch]
    last = max(number for number, waiting in enumerate(taken) if waiting.asker == "own")
    assert sum(waiting.tokens for waiting in taken[:last] if waiting.asker != "own") == expected


def flowed(queue: Queue, flow: Flow, name: str, lines: int) -> None:
    for number in range(lines):
        queue.add(f"{name}-{number}", "model", ["line"], [10], flow)


def test_the_lines_of_a_flow_wait_for_each_other_and_nobody_else_for_them() -> None:
    queue = Queue()
    flowed(queue, Flow(), "stream", 64)
    queue.take(100)
    queue.add("small", "model", ["text"], [10])
    assert "small" in {waiting.asker for waiting in queue.take(100)}


def test_flows_get_tokens_side_by_side_however_many_lines_they_have_here() -> None:
    queue = Queue()
    flowed(queue, Flow(), "many", 60)
    flowed(queue, Flow(), "few", 10)
    taken = [waiting.asker.partition("-")[0] for batch in emptied(queue, 20) for waiting in batch]
    assert [sorted(taken[at : at + 2]) for at in range(0, 20, 2)] == [["few", "many"]] * 10


def test_the_lines_of_a_flow_are_taken_in_their_order() -> None:
    queue = Queue()
    flowed(queue, Flow(), "stream", 30)
    assert [waiting.asker for batch in emptied(queue, 70) for waiting in batch] == [f"stream-{n}" for n in range(30)]


def test_a_flow_that_was_alone_for_long_does_not_pay_for_it_when_others_come() -> None:
    queue, flow, batches = Queue(), Flow(), 0
    for number in range(1000):
        queue.add(f"before-{number}", "model", ["line"], [10], flow)
        queue.take(100)
    flowed(queue, flow, "stream", 10)
    while queue.flowing_tokens:
        for newcomer in range(10):
            queue.add(f"{batches}-{newcomer}", "model", ["text"], [10])
        queue.take(100)
        batches += 1
    assert batches <= 1 + OVERTAKEN_AT_MOST + 1


def test_a_flow_does_not_pay_for_lines_that_were_given_up() -> None:
    queue, flow = Queue(), Flow()
    for number in range(1000):
        queue.add(f"late-{number}", "model", ["line"], [10], flow)
        queue.drop(f"late-{number}")
    for name, within in (("line", flow), ("newcomer", None)):
        queue.add(name, "model", ["text"], [10], within)
    assert [waiting.asker for waiting in queue.take(20)] == ["line", "newcomer"]
