from fastapi import Request

from services.server.api.callers import caller_of


def request(*headers: tuple[str, str], client: tuple[str, int] | None = ("192.0.2.1", 5000)) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": raw, "client": client})


def test_what_the_caller_says_counts_first() -> None:
    assert caller_of(request(("X-Canary-Key", "ann"), ("Authorization", "Bearer secret"))) == "ann"


def test_credentials_keep_a_caller_on_its_side_and_are_not_kept_themselves() -> None:
    found = caller_of(request(("Authorization", "Bearer secret")))
    assert found == caller_of(request(("Authorization", "Bearer secret"), client=("192.0.2.9", 1)))
    assert found != caller_of(request(("Authorization", "Bearer other")))
    assert "secret" not in str(found)
    assert str(caller_of(request(("X-API-Key", "secret")))).startswith("credential:")


def test_else_the_address_counts_without_its_port() -> None:
    assert caller_of(request()) == caller_of(request(client=("192.0.2.1", 6000))) == "address:192.0.2.1"


def test_nobody_may_be_known() -> None:
    assert caller_of(request(client=None)) is None
