"""Who may ask what, over HTTP: with keys every path is closed that is not listed as open."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.server.api.doors import Doors, is_admin
from shared.metrics import Refusal
from shared.settings import OPEN_PATHS, ServerSettings
from tests.unit.server.api_client import Api, assert_problem, run

CLIENT, OTHER, ADMIN = "client-key-client-key", "other-key-other-key", "admin-key-admin-key"
KEYS: Mapping[str, Any] = {"api_keys": (CLIENT, OTHER), "admin_keys": (ADMIN,)}
MISSING: tuple[Mapping[str, str], ...] = ({}, {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": CLIENT})
WRONG: tuple[Mapping[str, str], ...] = (
    {"Authorization": "Bearer nobody"},
    {"Authorization": "Bearer "},
    {"X-API-Key": ""},
    {"X-API-Key": CLIENT.upper()},
    {"X-API-Key": CLIENT + "\xe9"},
    {"X-API-Key": "nobody", "Authorization": f"Bearer {CLIENT}"},
)
RIGHT: tuple[Mapping[str, str], ...] = (
    {"Authorization": f"Bearer {CLIENT}"},
    {"authorization": f"bearer  {OTHER}"},
    {"X-API-Key": CLIENT},
    {"X-API-Key": CLIENT, "Authorization": "Basic dXNlcjpwYXNz"},
    {"X-API-Key": ADMIN},
)


def refused(api: Api, reason: Refusal) -> float | None:
    return api.metrics.get_sample_value("tidemill_requests_refused_total", {"reason": reason.value})


def test_without_keys_in_the_settings_nobody_is_asked_for_one() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.predict(text="a film")).status_code == 200

    run(story)


@pytest.mark.parametrize("headers", MISSING)
def test_without_a_key_inference_is_401_and_says_how_to_send_one(headers: Mapping[str, str]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        response = await api.client.post("/v1/predict", json={"text": "a"}, headers=headers)
        assert_problem(response, 401, "X-API-Key")
        assert response.headers["www-authenticate"] == 'Bearer realm="tidemill"'
        assert refused(api, Refusal.NO_KEY) == 1
        assert api.requests("invalid") == 0

    run(story, **KEYS)


@pytest.mark.parametrize("headers", WRONG)
def test_with_a_wrong_key_inference_is_401_and_the_key_is_not_repeated(headers: Mapping[str, str]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        sent = [(name, value.encode("latin-1")) for name, value in headers.items()]
        response = await api.client.post("/v1/predict", json={"text": "a"}, headers=sent)
        assert_problem(response, 401, "not known")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        assert "nobody" not in response.text
        assert refused(api, Refusal.WRONG_KEY) == 1

    run(story, **KEYS)


@pytest.mark.parametrize("headers", RIGHT)
def test_with_a_right_key_inference_is_answered(headers: Mapping[str, str]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.post("/v1/predict", json={"text": "a"}, headers=headers)).status_code == 200

    run(story, **KEYS)


def test_a_body_is_not_read_for_somebody_without_a_key() -> None:
    async def story(api: Api) -> None:
        too_large = await api.client.post("/v1/predict", content=b" " * 5000)
        assert_problem(too_large, 401)

    run(story, max_body_bytes=1000, **KEYS)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_probes_scrapers_and_readers_need_no_key(path: str) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.get(path)).status_code == 200

    run(story, **KEYS)


def test_what_is_open_is_a_setting() -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.get("/metrics"), 401)
        assert (await api.client.get("/healthz")).status_code == 200

    run(story, open_paths=("/healthz",), **KEYS)


@given(path=st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=30).map("/{}".format))
def test_every_path_that_is_not_listed_asks_for_a_key(path: str) -> None:
    doors = Doors(ServerSettings(api_keys=(SecretStr(CLIENT),), admin_keys=(SecretStr(ADMIN),)))
    assert (doors.refusal(path, None) is None) == (path in OPEN_PATHS)
    assert doors.refusal(path, ADMIN.encode()) is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_without_a_key_nobody_learns_which_addresses_there_are(method: str) -> None:
    async def story(api: Api) -> None:
        for path in ("/v1/predict", "/v1/nothing", "/v1/predict/", "//v1/predict", "/healthz/"):
            assert (await api.client.request(method, path)).status_code == 401

    run(story, **KEYS)


def test_administration_takes_an_admins_key_only() -> None:
    async def story(api: Api) -> None:
        for path in ("/v1/admin/check", "/v1/admin/check/", "/v1/admin", "/v1/admin%2Fcheck", "/v1/admin/nothing"):
            assert_problem(await api.client.post(path), 401)
            assert_problem(await api.client.post(path, headers={"X-API-Key": "nobody"}), 401)
            refusal = await api.client.post(path, headers={"X-API-Key": CLIENT})
            assert_problem(refusal, 403, "admin key")
            assert 'error="insufficient_scope"' in refusal.headers["www-authenticate"]
        assert not api.look.is_set()
        assert (await api.client.post("/v1/admin/check", headers={"X-API-Key": ADMIN})).status_code == 202
        assert api.look.is_set()

    run(story, **KEYS)


@pytest.mark.parametrize("keys", [{}, {"api_keys": (CLIENT,)}])
def test_without_an_admin_key_administration_is_closed_and_says_how_to_open_it(keys: Mapping[str, Any]) -> None:
    async def story(api: Api) -> None:
        for headers in ({}, {"X-API-Key": CLIENT}):
            assert_problem(await api.client.post("/v1/admin/check", headers=headers), 403, "server.admin_keys")
        assert refused(api, Refusal.ADMIN_CLOSED) == 2

    run(story, **keys)


def test_administration_cannot_be_listed_as_open() -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.post("/v1/admin/check"), 401)

    run(story, open_paths=("/v1/admin/check",), **KEYS)


def test_an_admin_key_alone_closes_administration_and_leaves_inference_open() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.predict(text="a film")).status_code == 200
        assert_problem(await api.client.post("/v1/admin/check"), 401)

    run(story, admin_keys=(ADMIN,))


def test_an_administrator_sees_where_every_thread_stands() -> None:
    async def story(api: Api) -> None:
        page = await api.client.get("/v1/admin/stacks", headers={"X-API-Key": ADMIN})
        assert page.headers["content-type"].startswith("text/plain")
        assert "MainThread" in page.text
        assert "test_an_administrator_sees_where_every_thread_stands" in page.text

    run(story, **KEYS)


@pytest.mark.parametrize("keys", [{}, KEYS])
def test_the_document_tells_which_operations_ask_for_a_key(keys: Mapping[str, Any]) -> None:
    async def story(api: Api) -> None:
        document = (await api.client.get("/openapi.json")).json()
        assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
        for path, operations in document["paths"].items():
            asked = is_admin(path) or (bool(keys) and path not in OPEN_PATHS)
            for operation in operations.values():
                assert ("security" in operation, "401" in operation["responses"]) == (asked, asked), path
                assert ("403" in operation["responses"]) == is_admin(path)

    run(story, **keys)
