"""`overnight webhooks …` against a real server: what a person sets up a sender with, and a sender to try it."""

import threading
from datetime import UTC, datetime

import pytest

from overnight.cli import main
from overnight.core import lifecycle


@pytest.fixture
def overnight(capfd, server, engine, monkeypatch):
    """Run a command; its exit code and what it printed."""
    engine.time = datetime.now(UTC)  # the command line signs by the clock on the wall
    monkeypatch.setenv("OVERNIGHT_URL", server.url)
    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")
    monkeypatch.delenv("OVERNIGHT_WEBHOOK_SECRET", raising=False)

    def run(*arguments):
        capfd.readouterr()
        code = main(arguments)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


SCHEMES = {
    "standard-webhooks": {},
    "github": {"signature": "github"},
    "stripe": {"signature": "stripe"},
    "slack": {"signature": "slack"},
    "langflow": {"signature": "langflow"},
    "hmac": {
        "signature": "hmac",
        "header": "X-Sig",
        "algorithm": "sha1",
        "encoding": "base64",
        "prefix": "sha1=",
        "timestamp_header": "X-Time",
        "template": "{body}|{timestamp}",
    },
    "token": {"signature": "token", "query": "key"},
    "none": {"signature": "none"},
}


@pytest.mark.parametrize("webhook", SCHEMES.values(), ids=SCHEMES)
def test_a_test_delivery_is_signed_in_any_scheme(overnight, sender, webhook):
    orders = sender(**webhook)
    code, out, err = overnight("webhooks", "send", "orders", "--data", '{"id": "evt_1"}')
    assert (code, err) == (0, "")
    [execution] = orders.kept()
    assert out == f"execution {execution.id}\n"
    assert execution.payload.value["body"] == {"id": "evt_1"}


@pytest.fixture
def working(engine):
    """What comes is worked off meanwhile."""
    ended = threading.Event()

    def work():
        while not ended.wait(0.01):
            engine.work()

    worker = threading.Thread(target=work)
    worker.start()
    yield
    ended.set()
    worker.join()


@pytest.mark.usefixtures("working")
def test_a_delivery_that_waits_prints_the_text_of_its_execution(overnight, sender):
    orders = sender(agent={"input": {"input_value": "Monday"}})
    code, out, _ = overnight("webhooks", "send", "orders/in", "--wait", "--id", "msg_1")
    assert (code, out) == (0, "ran Monday\n")
    assert [execution.dedupe_key for execution in orders.kept()] == ["hook:in:msg_1"]


@pytest.mark.usefixtures("working")
def test_a_delivery_that_waits_says_why_its_execution_failed(overnight, sender):
    sender(agent={"input": {"input_value": "fail"}, "retries": {"attempts": 1}})
    code, out, _ = overnight("webhooks", "send", "orders", "-w")
    assert code == 1
    assert "ValueError: it was told to" in out


def test_a_handshake_runs_nothing(overnight, sender):
    orders = sender(signature="github")
    assert overnight("webhooks", "send", "orders", "--header", "X-GitHub-Event: ping")[:2] == (
        0,
        "answered, and nothing runs\n",
    )
    assert orders.kept() == []


def test_a_supplied_secret_is_asked_of_the_environment(overnight, sender, engine, monkeypatch):
    orders = sender(signature="stripe", secret="secret:supplied")
    code, _, err = overnight("webhooks", "send", orders.hook_id)
    assert code == 1
    assert "give it in OVERNIGHT_WEBHOOK_SECRET" in err
    monkeypatch.setenv("OVERNIGHT_WEBHOOK_SECRET", "wrong")
    code, _, err = overnight("webhooks", "send", orders.hook_id)
    assert (code, err) == (1, "error: the delivery is not signed as this address asks for\n")
    monkeypatch.setenv("OVERNIGHT_WEBHOOK_SECRET", engine.ports.secrets.resolve("secret:supplied"))
    assert overnight("webhooks", "send", orders.hook_id)[0] == 0


def test_a_file_is_sent_as_it_is(overnight, sender, tmp_path):
    orders = sender()
    path = tmp_path / "event.txt"
    path.write_bytes("Grüße".encode())
    assert overnight("webhooks", "send", "orders", "--data", f"@{path}")[0] == 0
    assert orders.kept()[0].payload.value["body"] == "Grüße"
    code, _, err = overnight("webhooks", "send", "orders", "--data", f"@{tmp_path}/none")
    assert (code, err) == (1, f"error: {tmp_path}/none: no such file or directory\n")


def test_webhooks_are_listed_and_shown(overnight, sender, server):
    orders = sender(rate_limit_per_minute=60)
    _, out, _ = overnight("webhooks", "list")
    assert out.splitlines()[1].split() == ["orders", "in", "standard-webhooks", "ACTIVE", server.url + orders.path]
    _, out, _ = overnight("webhooks", "show", "orders")
    assert dict(line.split(maxsplit=1) for line in out.splitlines()) == {
        "address": server.url + orders.path,
        "agent": "orders",
        "trigger": "in",
        "signature": "standard-webhooks",
        "secret": "made here, shown by --secret",
        "version": "1",
        "limit": "60 a minute",
    }
    _, out, _ = overnight("webhooks", "show", "orders", "--secret")
    assert orders.secret in out


SIGNING = {name: webhook for name, webhook in SCHEMES.items() if name != "none"}


@pytest.mark.parametrize("webhook", SIGNING.values(), ids=SIGNING)
def test_a_secret_is_rotated_in_any_scheme(overnight, sender, webhook):
    orders = sender(**webhook)
    old = orders.secret
    code, out, _ = overnight("webhooks", "rotate-secret", "orders")
    assert code == 0
    assert orders.secret != old
    assert orders.secret in out
    assert "accepted until" in out
    assert "accepted until" in overnight("webhooks", "show", "orders")[1]
    assert orders.post(b'{"id": "evt_1"}', secret=old).status_code == 202
    assert overnight("webhooks", "rotate-secret", "orders", "--overlap-seconds", "0")[1].endswith("ended\n")
    assert orders.post(b'{"id": "evt_2"}', secret=old).status_code == 401
    assert overnight("webhooks", "send", "orders", "--data", '{"id": "evt_3"}')[0] == 0
    assert len(orders.kept()) == 2


def test_what_has_no_secret_of_its_own_has_none_to_show_or_rotate(overnight, sender):
    sender(signature="none")
    for command in (("show", "orders", "--secret"), ("rotate-secret", "orders")):
        code, _, error = overnight("webhooks", *command)
        assert code == 1
        assert error.endswith(" has no secret: its trigger says signature none\n")


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("nobody", "there is no agent 'nobody'"),
        ("orders/none", "orders has no webhook called none"),
        ("orders", "orders has several webhooks: orders/in, orders/other"),
        ("0" * 32, f"there is no webhook '{'0' * 32}'"),
    ],
)
def test_a_webhook_that_is_not_there_or_not_the_only_one_is_said_to_be_so(overnight, sender, ref, error):
    sender(agent={"triggers": [{"name": "in", "webhook": {}}, {"name": "other", "webhook": {}}]})
    assert overnight("webhooks", "show", ref) == (1, "", f"error: {error}\n")


def test_a_recorded_delivery_is_replayed(overnight, sender):
    orders = sender()
    first = orders.post().json()["execution_id"]
    code, out, _ = overnight("executions", "replay", first)
    replayed = orders.kept()[1]
    assert (code, out) == (0, f"{replayed.id} is pending, a replay of {first}\n")
    assert replayed.replay_of == first


def test_an_agents_notifications_are_shown(overnight, sender, engine, client):
    orders = sender(agent={"notify": {"on": ["succeeded", "failed"], "url": "https://example.com/hook"}})
    orders.post()
    engine.work()
    view = client.get("/api/v1/background_agents/orders/notifications").json()
    assert (view["url"], view["on"]) == ("https://example.com/hook", ["succeeded", "failed"])
    [delivery] = view["deliveries"]
    assert (delivery["status"], delivery["tries"]) == ("pending", 0)
    _, out, _ = overnight("agents", "notifications", "orders")
    assert "https://example.com/hook" in out
    assert "pending" in out
    assert view["secret"] not in out
    assert view["secret"] in overnight("agents", "notifications", "orders", "--secret")[1]
    lifecycle.delete(engine.ports, orders.agent_id)
    assert client.get("/api/v1/background_agents/orders/notifications").status_code == 404
