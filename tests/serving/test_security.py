"""Who may do what: every route but one asks for a key, and no key stands where it can be read."""

from __future__ import annotations

import logging
import re
from hashlib import sha256

import pytest

from gloss.cli.main import main
from gloss.errors import ConfigError, InputError
from gloss.serving.security import SCOPES, Keys, new_key
from gloss.serving.server import check_host
from gloss.serving.settings import ServingSettings
from services import running

TEXTS = {scope: new_key(scope, [scope]) for scope in SCOPES}
OPEN = {"/livez"}


@pytest.fixture(scope="module")
def shop(shop_bundle, tmp_path_factory):
    """A service with one key for each scope."""
    keys = Keys(tuple(key for _, key in TEXTS.values()))
    with running(shop_bundle, tmp_path_factory.mktemp("state") / "state.db", keys) as service:
        yield service


@pytest.fixture(scope="module")
def unguarded(shop_bundle, tmp_path_factory):
    """A service without keys."""
    with running(shop_bundle, tmp_path_factory.mktemp("state") / "state.db") as service:
        yield service


def routes(shop) -> list[tuple[str, str]]:
    """Every method and path that the application answers to, OpenAPI's own included."""
    document = shop.client.get("/v1/openapi.json", headers=bearer("admin")).json()
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    return sorted(described | {("GET", "/v1/openapi.json")})


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TEXTS[scope][0]}"}


def filled(path: str) -> str:
    """A path with something in the place of its parameters."""
    return re.sub(r"\{(item|user)\}", "x", path)


def test_no_route_but_livez_answers_without_a_key(shop):
    asked = routes(shop)
    assert len(asked) == 22
    for method, path in asked:
        answer = shop.client.request(method, filled(path))
        expected = 200 if path in OPEN else 401
        assert answer.status_code == expected, (method, path)
        if expected == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


def test_what_is_no_route_asks_for_a_key_too(shop):
    assert shop.client.get("/nothing").status_code == 401
    assert shop.client.get("/nothing", headers=bearer("admin")).status_code == 404


SCOPE_OF = {
    "/v1/recommend": "recommend",
    "/v1/similar": "recommend",
    "/v1/ground": "recommend",
    "/v1/search": "recommend",
    "/v1/events": "events",
    "/v1/users/{user}": "events",
    "/v1/users/{user}/export": "events",
    "/v1/live": "metrics",
    "/v1/report": "metrics",
    "/metrics": "metrics",
    "/v1/admin/reload": "admin",
    "/v1/items/bulk": "catalogue",
}
ANY_KEY = {"/readyz", "/v1/info", "/v1/openapi.json"}


def test_every_route_wants_the_scope_that_its_work_needs(shop):
    for method, path in routes(shop):
        if path in OPEN | ANY_KEY:
            continue
        if path in ("/v1/items", "/v1/items/{item}"):
            needed = "recommend" if method == "GET" else "catalogue"
        else:
            needed = SCOPE_OF[path]
        for scope in SCOPES:
            answer = shop.client.request(method, filled(path), headers=bearer(scope), json={})
            assert (answer.status_code == 403) == (scope != needed), (method, path, scope)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic {key}", "Bearer {key}x", "Bearer {hash}", "{key}"],
)
def test_what_is_not_the_key_is_refused(shop, header):
    text, key = TEXTS["admin"]
    sent = {"Authorization": header.format(key=text, hash=key.sha256)}
    assert shop.client.get("/v1/info", headers=sent).status_code == 401


def test_keys_stand_in_no_log_and_no_answer(shop, caplog):
    caplog.set_level(logging.DEBUG)
    text = TEXTS["admin"][0]
    answers = [
        shop.client.request(method, filled(path), headers=bearer("admin"), json={})
        for method, path in routes(shop)
    ]
    answers += [shop.client.get("/v1/info", headers={"Authorization": f"Bearer {text}x"})]
    logged = [record.getMessage() for record in caplog.records if "httpx" not in record.name]
    assert not [line for line in logged if text in line]
    assert not [answer for answer in answers if text in answer.text + str(answer.headers)]


def test_the_policy_of_every_answer_admits_nothing_from_elsewhere(shop):
    for path in ("/livez", "/nothing", "/v1/info"):
        policy = shop.client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*", policy)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("shop.example", 403),
        ("127.0.0.1.shop.example", 403),
        ("localhost.shop.example:80", 403),
    ],
)
def test_without_keys_only_this_machines_names_are_answered(unguarded, host, status):
    assert unguarded.client.get("/v1/info", headers={"Host": host}).status_code == status


def test_other_machines_are_not_served_without_keys():
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 can be reached by others: make a key"):
        check_host(ServingSettings(host="0.0.0.0"), has_keys=False)
    check_host(ServingSettings(host="0.0.0.0"), has_keys=True)
    check_host(ServingSettings(), has_keys=False)


def test_a_key_is_shown_once_and_its_hash_is_kept(tmp_path, monkeypatch, capsys):
    file = tmp_path / "keys.json"
    call = [
        "gloss",
        "key",
        "shop",
        "--keys",
        str(file),
        "--scope",
        "events",
        "--scope",
        "recommend",
    ]
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().out.strip()
    assert ended.value.code == 0
    assert text not in file.read_text()
    kept = Keys.of_file(file)
    assert [(key.name, key.scopes) for key in kept.keys] == [("shop", ("recommend", "events"))]
    assert kept.keys[0].sha256 == sha256(text.encode()).hexdigest()
    assert kept.find(text) == kept.keys[0]
    with pytest.raises(ConfigError, match="a key named 'shop' already"):
        kept.with_key(kept.keys[0])


def test_a_damaged_key_file_is_named_without_its_content(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"name": "a", "scopes": ["all"], "sha256": "secret"}]}')
    with pytest.raises(InputError, match=r"keys\.json holds no keys of ours") as refused:
        Keys.of_file(file)
    assert "secret" not in str(refused.value)
