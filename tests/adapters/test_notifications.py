"""Each channel against servers that do what servers do; what it raises holds nothing secret."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.conftest import Asked, Server, reply
from tests.packaging.rendered import ROOT
from tests.support.certificates import certificate, server_context
from watcher.adapters.errors import AdapterError, Fatal, Transient
from watcher.adapters.notifications import Channel, channel
from watcher.adapters.notifications.posting import retry_after
from watcher.core.channels import Notification
from watcher.core.notices import Notice, sample

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
NOTICE = sample("team-chat", NOW)
PLAIN = str.maketrans("", "", "\\")
"""Takes away what Teams needs before its markup."""
SECRET = "T0/B0/s3cr3t-of-the-address"  # noqa: S105 - no real one

Serve = Callable[..., Server]


def made(**settings: Any) -> Channel:
    return channel(Notification.model_validate({"name": "team-chat", **settings}, strict=False))


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], str]:
    """Put a secret into a file; returns its path."""

    def write(text: str) -> str:
        file = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        file.write_text(text + "\n", "utf-8")
        return str(file)

    return write


KINDS: dict[str, Callable[[str, Callable[[str], str]], dict[str, Any]]] = {
    "webhook": lambda url, secret: {"urlFile": secret(f"{url}/{SECRET}")},
    "slack-bot": lambda url, secret: {"slack": {"tokenFile": secret(SECRET), "channel": "C1", "api": url}},
    "teams": lambda url, secret: {"teams": {"urlFile": secret(f"{url}/{SECRET}")}},
    "pagerduty": lambda url, secret: {"pagerDuty": {"routingKeyFile": secret(SECRET), "url": f"{url}/v2/enqueue"}},
    "slack-webhook": lambda url, secret: {"slack": {"urlFile": secret(f"{url}/{SECRET}")}},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def taken(_: Any, send: Any, __: Any) -> None:
    send(reply(200, {"ok": True, "ts": "1700000000.000100"}))


@every_kind
def test_a_message_says_what_why_what_next_and_what_to_do(kind: str, serve: Serve, secret: Any) -> None:
    server = serve(taken)
    made(**KINDS[kind](server.url, secret)).send(NOTICE, "", "")
    (asked,) = server.asked
    said = json.dumps(json.loads(asked.body), ensure_ascii=False).translate(PLAIN)
    for part in ("rolled back", "error-rate was 4.2%", "0.042 against", "stays out until", "watcher release show"):
        assert part in said
    assert (asked.method, asked.headers["content-type"].partition(";")[0]) == ("POST", "application/json")


@every_kind
def test_words_of_its_own_take_the_place_of_the_default_ones(kind: str, serve: Serve, secret: Any) -> None:
    server = serve(taken)
    made(**KINDS[kind](server.url, secret)).send(NOTICE, "Look at the kitchen.", "")
    assert "Look at the kitchen." in server.asked[0].body.decode()


@every_kind
@pytest.mark.parametrize(
    ("answer", "error", "said", "wait"),
    [
        (reply(500), Transient, "it answered 500", 0),
        (reply(503, Retry_After="17"), Transient, "it answered 503", 17),
        (reply(429, Retry_After="30"), Transient, "it answered 429", 30),
        (reply(404), Fatal, "it answered 404", 0),
        (reply(403, f"{SECRET} is revoked"), Fatal, "it answered 403", 0),
        (b"HTTP/1.1 2", Transient, "the connection broke", 0),
        (b"", Transient, "the connection broke", 0),
    ],
    ids=["500", "503", "429", "404", "403", "half-an-answer", "closed"],
)
def test_what_is_not_taken_is_tried_again_or_not_and_nothing_secret_is_said(
    kind: str, serve: Serve, secret: Any, answer: bytes, error: type[AdapterError], said: str, wait: float
) -> None:
    def script(_: Any, send: Any, __: Any) -> bool:
        send(answer)
        return False

    there = made(**KINDS[kind](serve(script).url, secret))
    with pytest.raises(error) as caught:
        there.send(NOTICE, "", "")
    assert said in str(caught.value)
    assert getattr(caught.value, "retry_after", 0) == wait
    assert "s3cr3t" not in repr(caught.value) + repr(there)


@every_kind
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(kind: str, serve: Serve, secret: Any, status: int) -> None:
    elsewhere = serve(taken)
    server = serve(lambda _, send, __: send(reply(status, Location=elsewhere.url)))
    with pytest.raises(Fatal, match="redirect"):
        made(**KINDS[kind](server.url, secret)).send(NOTICE, "", "")
    assert not elsewhere.connections


@every_kind
def test_a_server_that_drips_an_answer_is_left_at_the_deadline(
    kind: str, serve: Serve, secret: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(_: Any, send: Any, stopped: Any) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stopped.wait(0.05):
            send(b"x")

    monkeypatch.setattr("watcher.adapters.notifications.posting.WITHIN", 0.5)
    began = time.monotonic()
    with pytest.raises(Transient):
        made(**KINDS[kind](serve(drip).url, secret)).send(NOTICE, "", "")
    assert time.monotonic() - began < 5


@every_kind
def test_a_certificate_that_nobody_vouches_for_gets_no_secret(
    kind: str, serve: Serve, secret: Any, tmp_path: Path
) -> None:
    server = serve(taken, server_context(*certificate(tmp_path)))
    with pytest.raises(Transient, match="TLS failed"):
        made(**KINDS[kind](server.url, secret)).send(NOTICE, "", "")
    assert not server.asked


@every_kind
def test_a_certificate_of_ones_own_authority_is_trusted_by_its_file(
    kind: str, serve: Serve, secret: Any, tmp_path: Path
) -> None:
    files = certificate(tmp_path)
    server = serve(taken, server_context(*files))
    made(**KINDS[kind](server.url, secret), caFile=str(files[0])).send(NOTICE, "", "")
    assert server.asked


@every_kind
def test_a_secret_that_is_not_there_yet_is_waited_for(kind: str, serve: Serve, tmp_path: Path) -> None:
    missing = tmp_path / "later"
    there = made(**KINDS[kind]("http://127.0.0.1:9", lambda _: str(missing)))
    with pytest.raises(Transient, match="cannot be read"):
        there.send(NOTICE, "", "")
    missing.write_text("\n", "utf-8")
    with pytest.raises(Transient, match="is empty"):
        there.send(NOTICE, "", "")


def test_a_secret_may_come_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(taken)
    with pytest.raises(Transient, match="TEAM_CHAT_URL"):
        made(urlEnv="TEAM_CHAT_URL").send(NOTICE, "", "")
    monkeypatch.setenv("TEAM_CHAT_URL", server.url)
    made(urlEnv="TEAM_CHAT_URL").send(NOTICE, "", "")
    assert server.asked


def test_retry_after_is_read_as_seconds_or_as_a_date_and_has_a_limit() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after(soon) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [retry_after(text) for text in ("5", "99999999999", "-1", "soon", "", "٣")] == [5, 3600, 0, 0, 0, 0]


# -- webhook ----------------------------------------------------------------------------------------------------------


def receiver() -> Callable[[dict[str, str], bytes, bytes], bool]:
    """The check that the document shows to receivers."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notifications.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - what the document shows has to work
    found: Callable[[dict[str, str], bytes, bytes], bool] = names["genuine"]
    return found


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("a-key-of-ours", b"a-key-of-ours"),
        ("whsec_c2VjcmV0LWtleQ==", b"secret-key"),
        ("old-key\nnew-key", b"old-key"),
        ("old-key\nnew-key", b"new-key"),
    ],
    ids=["text", "base64", "rotated-old", "rotated-new"],
)
def test_a_signed_document_is_what_the_shown_check_takes_and_a_changed_one_is_not(
    serve: Serve, secret: Any, file: str, key: bytes
) -> None:
    server, genuine = serve(taken), receiver()
    made(url=server.url, signingKeyFile=secret(file)).send(NOTICE, "", "")
    (asked,) = server.asked
    assert genuine(asked.headers, asked.body, key)
    assert not genuine(asked.headers, asked.body, b"another key")
    assert not genuine(asked.headers, asked.body.replace(b"rolled", b"polled"), key)
    for header, value in (("webhook-id", "another"), ("webhook-timestamp", str(int(time.time()) - 60))):
        assert not genuine({**asked.headers, header: value}, asked.body, key)
    old = {**asked.headers, "webhook-timestamp": str(int(time.time()) - 600)}
    assert not genuine(old, asked.body, key)


def test_a_signing_key_that_is_no_base64_is_said_without_it(serve: Serve, secret: Any) -> None:
    with pytest.raises(Fatal, match="no base64") as caught:
        made(url=serve(taken).url, signingKeyFile=secret("whsec_s3cr3t!")).send(NOTICE, "", "")
    assert "s3cr3t" not in str(caught.value)


def test_a_webhook_gets_the_key_by_which_it_knows_a_second_one(serve: Serve) -> None:
    server = serve(taken)
    made(url=server.url).send(NOTICE, "", "")
    assert json.loads(server.asked[0].body)["key"] == NOTICE.key
    assert server.asked[0].headers["idempotency-key"] == f'"{NOTICE.key}"'


# -- Slack ------------------------------------------------------------------------------------------------------------


class Slack:
    """Slack's chat.postMessage, as far as the bot uses it."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors)
        self.posted: list[dict[str, Any]] = []

    def __call__(self, asked: Asked, send: Any, _: Any) -> None:
        assert asked.path == "/chat.postMessage"
        message = json.loads(asked.body)
        if asked.headers["authorization"] != f"Bearer {SECRET}":
            send(reply(200, {"ok": False, "error": "invalid_auth"}))
        elif self.errors and (error := self.errors.pop(0)):
            send(reply(200, {"ok": False, "error": error}))
        else:
            self.posted.append(message)
            send(reply(200, {"ok": True, "channel": "C1", "ts": f"170000000{len(self.posted)}.000100"}))


def bot(server: Server, secret: Any) -> Channel:
    return made(**KINDS["slack-bot"](server.url, secret))


def test_what_follows_about_a_release_hangs_on_the_first_message(serve: Serve, secret: Any) -> None:
    slack = Slack()
    there = bot(serve(slack), secret)
    thread = there.send(NOTICE, "", "")
    assert thread == "1700000001.000100"
    assert there.send(NOTICE.model_copy(update={"severity": "info"}), "", thread) == thread
    assert there.send(NOTICE, "", thread) == thread
    assert [message.get("thread_ts") for message in slack.posted] == [None, thread, thread]
    assert [message.get("reply_broadcast") for message in slack.posted] == [None, False, True]


def test_a_thread_that_somebody_deleted_is_begun_anew(serve: Serve, secret: Any) -> None:
    slack = Slack("thread_not_found")
    assert bot(serve(slack), secret).send(NOTICE, "", "1699999999.000100") == "1700000001.000100"


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("ratelimited", Transient),
        ("internal_error", Transient),
        ("channel_not_found", Fatal),
        ("not_in_channel", Fatal),
        (f"<{SECRET}>", Fatal),
    ],
)
def test_slacks_words_decide_whether_it_is_tried_again(
    serve: Serve, secret: Any, word: str, error: type[AdapterError]
) -> None:
    """It answers 200 to everything."""
    with pytest.raises(error, match="Slack says") as caught:
        bot(serve(Slack(word)), secret).send(NOTICE, "", "")
    assert "s3cr3t" not in str(caught.value)
    assert word in str(caught.value) or "<" in word


@pytest.mark.parametrize("body", ["", "no JSON", "[]", "{}", '"ok"'])
def test_an_answer_that_is_not_slacks_is_no_receipt(serve: Serve, secret: Any, body: str) -> None:
    with pytest.raises(Transient, match="not Slack's"):
        bot(serve(reply(200, body)), secret).send(NOTICE, "", "")


def test_nothing_in_a_message_calls_everybody_or_becomes_a_link(serve: Serve, secret: Any) -> None:
    slack = Slack()
    hostile = NOTICE.model_copy(update={"message": "<!channel> & <http://evil|good>", "why": ("<!here>",)})
    bot(serve(slack), secret).send(hostile, "", "")
    said = json.dumps([slack.posted[0]["text"], slack.posted[0]["blocks"][1:3]])
    assert "&lt;!channel&gt; &amp; &lt;http://evil|good&gt;" in said
    assert "<!" not in said


def test_blocks_stay_within_slacks_limits(serve: Serve, secret: Any) -> None:
    slack = Slack()
    long: Notice = NOTICE.model_copy(update={"title": "t" * 500, "message": "&" * 5000, "why": ("w" * 4000,) * 8})
    bot(serve(slack), secret).send(long, "", "")
    header, *others = slack.posted[0]["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3000 for block in others if "text" in block)


# -- Teams, PagerDuty -------------------------------------------------------------------------------------------------


def test_teams_gets_an_adaptive_card_in_which_no_value_is_markup(serve: Serve, secret: Any) -> None:
    server = serve(reply(202))
    hostile = NOTICE.model_copy(update={"message": "[click](http://evil) **now**", "links": {"Graph": "https://graph"}})
    made(**KINDS["teams"](server.url, secret)).send(hostile, "", "")
    message = json.loads(server.asked[0].body)
    (attachment,) = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"TextBlock"}
    assert "\\[click\\]\\(http://evil\\) \\*\\*now\\*\\*" in [block["text"] for block in card["body"]]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Graph", "url": "https://graph"}]


def test_pagerduty_opens_one_incident_for_a_release_and_closes_it_when_traffic_is_safe(
    serve: Serve, secret: Any
) -> None:
    server = serve(reply(202))
    there = made(**KINDS["pagerduty"](server.url, secret))
    there.send(NOTICE, "", "")
    there.send(NOTICE.model_copy(update={"resolves": True}), "", "")
    trigger, resolve = (json.loads(asked.body) for asked in server.asked)
    assert [trigger["event_action"], resolve["event_action"]] == ["trigger", "resolve"]
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["routing_key"] == resolve["routing_key"] == SECRET
    assert trigger["payload"]["severity"] == "critical"
    assert trigger["payload"]["custom_details"]["what you can do"] == list(NOTICE.commands)
    assert len(trigger["payload"]["summary"]) <= 1024


# -- everything else --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'imghdr'")  # what it imports
def test_apprise_delivers_to_what_has_no_channel_of_its_own(
    serve: Serve, secret: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(reply(200))
    address = secret(f"json://user:s3cr3t@127.0.0.1:{server.port}/")
    made(apprise={"urlFile": address}).send(NOTICE, "", "")
    assert "stays out until" in server.asked[0].body.decode()
    broken = serve(reply(500))
    with pytest.raises(Transient, match="could not deliver") as caught:
        made(apprise={"urlFile": secret(f"json://user:s3cr3t@127.0.0.1:{broken.port}/")}).send(NOTICE, "", "")
    with pytest.raises(Fatal, match="does not know"):
        made(apprise={"urlFile": secret("nonsense-s3cr3t")}).send(NOTICE, "", "")
    assert "s3cr3t" not in str(caught.value) + "".join(capfd.readouterr())


def test_without_the_extra_it_says_what_to_install(secret: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Fatal, match=r"pip install .bluegreen-watcher\[apprise\]"):
        made(apprise={"urlFile": secret("json://127.0.0.1/")}).send(NOTICE, "", "")
