"""Keys: each goes to the endpoint that it is named for, never unencrypted to another machine, never on to a third."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, ask, client_of, serving
from films import films_suite
from taught import KEY
from vectalk.errors import TeacherError
from vectalk.llm import ChatClient, Endpoint
from vectalk.space import VectorSpace
from worlds import call

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key", "asked_for")
SECRETS = {
    "OPENAI_ADMIN_KEY": "admin-4711",
    "OPENAI_ORG_ID": "org-4711",
    "OPENAI_PROJECT_ID": "project-4711",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer custom-4711\nX-Token: token-4711",
}


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts beyond this machine that somebody asked the network for; none of them is reached."""
    hosts: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def check(host: Any) -> None:
        host = host.decode() if isinstance(host, bytes) else str(host)
        if host not in ("127.0.0.1", "::1", "localhost"):
            hosts.append(host)
            raise OSError(f"the network is forbidden: {host}")

    def connecting(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        connect(self, address)

    def looking_up(host: Any, *more: Any, **options: Any) -> Any:
        check(host)
        return look_up(host, *more, **options)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    return hosts


def test_the_network_is_forbidden(asked_for: list[str]) -> None:
    with (
        ChatClient(
            Endpoint(model="m", base_url="https://llm.example.org/v1", api_key_env="none", attempts=1), None
        ) as c,
        pytest.raises(TeacherError, match="the connection was lost"),
    ):
        ask(c, "Hi")
    assert asked_for == ["llm.example.org"]


# ---- which key goes where


def test_this_machine_gets_no_key_that_is_not_named_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with serving() as fake:
        with client_of(fake) as client:
            ask(client, "Hi")
        with client_of(fake, api_key_env="OPENAI_API_KEY") as client:
            ask(client, "Hi")
    assert fake.keys == ["Bearer none", f"Bearer {KEY}"]
    sent = json.dumps(fake.headers)
    assert "4711" not in sent.replace(KEY, "")
    assert KEY not in json.dumps(fake.headers[0])


def test_a_named_variable_is_read_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " other-secret\n")
    with serving() as fake, client_of(fake, api_key_env="MY_KEY") as client:
        ask(client, "Hi")
    assert fake.keys == ["Bearer other-secret"]
    with (
        serving() as fake,
        pytest.raises(TeacherError, match=r"no key for 127.*: set the environment variable NO_SUCH"),
    ):
        client_of(fake, api_key_env="NO_SUCH")
    monkeypatch.setenv("MY_KEY", "geheim\nniß")
    with pytest.raises(TeacherError, match="MY_KEY holds no key") as refused:
        Endpoint(model="m", base_url="https://llm.example.org", api_key_env="MY_KEY").key()
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("address", [None, "https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_the_key_of_openai_goes_to_openai(address: str | None) -> None:
    assert Endpoint(model="m", base_url=address).key() == KEY


@pytest.mark.parametrize(
    "host",
    [
        *("llm.example.org", "api.openai.com.example.org", "my-api.openai.com.co", "xapi.openai.com"),
        *("api.openai.com@example.org", "openai.com", "localhost.example.org", "192.168.0.7:8000"),
    ],
)
def test_no_other_host_gets_it(host: str, asked_for: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = Endpoint(model="m", base_url=f"https://{host}/v1")
    with pytest.raises(TeacherError, match=r"no key is named for .*--api-key-env NAME.*--api-key-env none"):
        place.key()
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://{host}/v1")
    with pytest.raises(TeacherError, match="no key is named for"):
        ChatClient(Endpoint(model="m"), None)
    assert place.model_copy(update={"api_key_env": "none"}).key() == "none"
    assert place.model_copy(update={"api_key_env": "OPENAI_API_KEY"}).key() == KEY  # named for it by the user
    assert asked_for == []


# ---- unencrypted


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.8.9.10", "[::1]:8000", "LOCALHOST"])
def test_this_machine_is_asked_over_http(host: str) -> None:
    assert Endpoint(model="m", base_url=f"http://{host}/v1").key() == "none"
    assert Endpoint(model="m", base_url=f"http://{host}/v1", api_key_env="OPENAI_API_KEY").key() == KEY


@pytest.mark.parametrize(
    "host",
    [
        *(
            "llm.example.org",
            "api.openai.com",
            "192.168.0.7:8000",
            "0.0.0.0",
            "[::]",
            "[::ffff:10.0.0.1]",
            "2130706433",
        ),
        *("127.0.0.1.example.org", "localhost.example.org", "127.0.0.1@example.org", "me:pw@example.org", "127.1"),
    ],
)
@pytest.mark.parametrize("named", [None, "none", "OPENAI_API_KEY"])
def test_nothing_goes_unencrypted_to_another_machine(host: str, named: str | None, asked_for: list[str]) -> None:
    place = Endpoint(model="m", base_url=f"http://{host}/v1", api_key_env=named)
    with pytest.raises(TeacherError, match=r"would travel unencrypted.*--plain-http") as refused:
        ChatClient(place, None)
    assert "pw" not in str(refused.value)
    assert asked_for == []


def test_the_user_may_say_so(asked_for: list[str]) -> None:
    place = Endpoint(model="m", base_url="http://gpu.example.org:8000/v1", plain_http=True, attempts=1)
    with pytest.raises(TeacherError, match="no key is named for"):
        place.key()
    with (
        ChatClient(place.model_copy(update={"api_key_env": "none"}), None) as client,
        pytest.raises(TeacherError, match="the connection was lost"),
    ):
        ask(client, "Hi")
    assert asked_for == ["gpu.example.org"]
    assert place.model_copy(update={"api_key_env": "OPENAI_API_KEY"}).key() == KEY


@pytest.mark.parametrize(
    "address",
    [
        *("localhost:8000/v1", "ftp://localhost/v1", "http:///v1", "http://localhost:port/v1", "http://[::1/v1"),
        *("http://127.0.0.1\\@example.org/v1", "http://127.0.0.1 @example.org", "http://localhost/#@example.org", ""),
    ],
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    with pytest.raises(TeacherError, match="base_url: an address starts with"):
        Endpoint.read(None, model="m", base_url=address)


# ---- on to a third


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", ["other", "https://llm.example.org/v1/chat/completions", "/other/path"])
def test_a_redirect_is_told_and_not_followed(status: int, elsewhere: str, asked_for: list[str]) -> None:
    with serving() as other:
        there = f"{other.url}/chat/completions" if elsewhere == "other" else elsewhere
        with (
            serving(Answer(status=status, headers={"Location": there})) as fake,
            client_of(fake, api_key_env="OPENAI_API_KEY", concurrency=1) as client,
            pytest.raises(TeacherError, match=f"refuses: {status}: it sends requests on to .*--base-url") as told,
        ):
            ask(client, "Hi")
        assert there in str(told.value)
        assert (len(fake.requests), len(other.requests), asked_for) == (1, 0, [])


def test_no_proxy_stands_between_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, serving() as fake:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with client_of(fake, api_key_env="OPENAI_API_KEY") as client:
            ask(client, "Hi")
        assert (len(fake.requests), len(proxy.requests)) == (1, 0)


# ---- never shown


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize("before", [0, 480, 495])  # also where what is said is cut
def test_a_key_that_is_repeated_is_not_shown(status: int, before: int) -> None:
    body = json.dumps({"error": {"message": f"{'x' * before} {KEY} is no good key"}}).encode()
    with (
        serving(Answer(status=status, body=body)) as fake,
        client_of(fake, api_key_env="OPENAI_API_KEY", attempts=2, max_wait=0) as client,
        pytest.raises(TeacherError) as told,
    ):
        ask(client, "Hi")
    assert "sk-" not in str(told.value)


# ---- from the command line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--base-url", "http://llm.example.org/v1"], "would travel unencrypted"),
        (["--base-url", "http://llm.example.org/v1", "--api-key-env", "OPENAI_API_KEY"], "would travel unencrypted"),
        (["--base-url", "https://llm.example.org/v1"], "no key is named for llm.example.org"),
        (["--set", "base_url=https://llm.example.org/v1"], "no key is named for llm.example.org"),
        (["--base-url", "https://llm.example.org/v1", "--api-key-env", "NO_SUCH"], "environment variable NO_SUCH"),
    ],
)
def test_a_verb_asks_nobody_before_the_key_is_right(
    options: list[str], said: str, films: VectorSpace, tmp_path: Path, capsys, asked_for: list[str]
) -> None:
    (tmp_path / "films.yaml").write_text(films_suite("summary").dump())
    start = ["corpus", "build", "--space", f"film={films.path}", "--suite", str(tmp_path / "films.yaml")]
    where = ["--out", str(tmp_path / "corpus"), "--cache", str(tmp_path / "cache")]
    code, out, err = call([*start, *where, "--teacher", "openai:m", *options], capsys)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert KEY not in err
    assert asked_for == []
