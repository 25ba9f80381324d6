"""Mail through a server on loopback: encrypted or not, with or without a login, and one that does not play along."""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate, server_context
from watcher.adapters.errors import AdapterError, Fatal, Transient
from watcher.adapters.notifications import Channel, channel
from watcher.core.channels import Notification
from watcher.core.notices import sample

NOTICE = sample("mail", datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC))
PASSWORD = "s3cr3t"  # noqa: S105 - no real one


@dataclass
class MailServer:
    """A small SMTP server. `answers` replaces its answer to a command; None there hangs, `drip` sends byte by byte."""

    tls: ssl.SSLContext | None = None
    starttls: ssl.SSLContext | None = None
    answers: dict[str, str | None] = field(default_factory=dict)
    mails: list[EmailMessage] = field(default_factory=list)
    heard: list[tuple[str, bool]] = field(default_factory=list)
    """Each command, and whether it came encrypted."""

    def __post_init__(self) -> None:
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                self._talk(connection, encrypted=self.tls is not None)

    def _talk(self, connection: socket.socket, *, encrypted: bool) -> None:
        stream = connection.makefile("rb")
        if not (encrypted and self.starttls):
            self._say(connection, "220", "220 ready")
        while line := stream.readline().decode().strip():
            self.heard.append((line, encrypted))
            verb = line.split(" ", maxsplit=1)[0].upper()
            if verb == "EHLO":
                offers = ["250-here", *(["250-STARTTLS"] if self.starttls and not encrypted else []), "250 AUTH PLAIN"]
                self._say(connection, verb, "\r\n".join(offers))
            elif verb == "STARTTLS" and self.starttls:
                self._say(connection, verb, "220 go")
                with self.starttls.wrap_socket(connection, server_side=True) as wrapped:
                    self._talk(wrapped, encrypted=True)
                return
            elif verb == "DATA":
                self._say(connection, verb, "354 go on")
                lines = []
                while (data := stream.readline()) != b".\r\n":
                    lines.append(data)
                self.mails.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
                self._say(connection, "DONE", "250 taken")
            else:
                self._say(connection, verb, {"AUTH": "235 welcome", "QUIT": "221 bye"}.get(verb, "250 fine"))

    def _say(self, connection: socket.socket, verb: str, usual: str) -> None:
        said = self.answers.get(verb, usual)
        if said is None:
            self.stopped.wait(30)
        elif said == "drip":
            while not self.stopped.wait(0.02):
                connection.sendall(b"2")
        elif said:
            connection.sendall(f"{said}\r\n".encode())


Start = Callable[..., MailServer]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[MailServer] = []

    def begin(**settings: Any) -> MailServer:
        servers.append(MailServer(**settings))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path)


def mail(server: MailServer, ca_file: Path | None = None, **settings: Any) -> Channel:
    given = {
        "host": "localhost",
        "port": server.port,
        "from": "watcher@example.com",
        "to": ["ann@example.com", "bob@example.com"],
    }
    return channel(
        Notification.model_validate(
            {"name": "mail", "caFile": ca_file and str(ca_file), "email": given | settings}, strict=False
        )
    )


def test_a_mail_says_what_why_and_what_to_do_in_one_thread_for_a_release(start: Start) -> None:
    server = start()
    there = mail(server, security="none")
    there.send(NOTICE, "", "")
    there.send(NOTICE.model_copy(update={"key": "another", "title": "two\nlines"}), "In other words.", "")
    first, second = server.mails
    assert first["Subject"].strip() == f"[critical] {NOTICE.title}"
    assert (first["From"], first["To"]) == ("watcher@example.com", "ann@example.com, bob@example.com")
    said = first.get_content()
    for part in ("error-rate was 4.2%", "0.042 against > 1%", "watcher release show", "Next: 2.4.1 stays out"):
        assert part in said
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]
    assert second["Subject"].strip() == "[critical] two lines"
    assert second.get_content().startswith("In other words.")


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_a_login_goes_over_tls_alone(
    start: Start, files: tuple[Path, Path], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    server = start(**{way: server_context(*files)})
    mail(server, files[0], security=way, username="ann", passwordEnv="MAIL_PASSWORD").send(NOTICE, "", "")
    assert len(server.mails) == 1
    (login,) = [line for line in server.heard if line[0].startswith("AUTH")]
    given = base64.b64encode(b"\0ann\0s3cr3t").decode()
    assert login == (f"AUTH PLAIN {given}", True)


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_gets_neither_login_nor_mail(
    start: Start, files: tuple[Path, Path], way: str
) -> None:
    server = start(**{way: server_context(*files)})
    with pytest.raises(Transient, match="certificate is not valid"):
        mail(server, security=way).send(NOTICE, "", "")
    assert not server.mails
    with pytest.raises(Fatal, match="caFile"):
        mail(server, Path("/nowhere"), security=way).send(NOTICE, "", "")


def test_a_server_that_offers_no_starttls_gets_nothing(start: Start) -> None:
    server = start()
    with pytest.raises(Fatal, match="does not offer"):
        mail(server).send(NOTICE, "", "")
    assert not server.mails


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ({"220": "421 busy s3cr3t"}, Transient, "answered 421"),
        ({"MAIL": "452 full"}, Transient, "answered 452"),
        ({"MAIL": "550 no s3cr3t"}, Fatal, "answered 550"),
        ({"RCPT": "450 later"}, Transient, "every address was refused (450)"),
        ({"RCPT": "550 who?"}, Fatal, "every address was refused (550)"),
        ({"DATA": "554 spam"}, Fatal, "answered 554"),
        ({"DONE": "451 try again"}, Transient, "answered 451"),
    ],
    ids=lambda value: next(iter(value.items()), None) if isinstance(value, dict) else "",
)
def test_its_codes_decide_whether_it_is_tried_again_and_its_words_are_not_repeated(
    start: Start, answers: dict[str, str], error: type[AdapterError], said: str
) -> None:
    with pytest.raises(error) as caught:
        mail(start(answers=answers), security="none").send(NOTICE, "", "")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_wrong_password_is_fatal_and_not_repeated(
    start: Start, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    server = start(tls=server_context(*files), answers={"AUTH": "535 s3cr3t is wrong"})
    with pytest.raises(Fatal, match="answered 535") as caught:
        mail(server, files[0], security="tls", username="ann", passwordEnv="MAIL_PASSWORD").send(NOTICE, "", "")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("way", ["none", "tls", "starttls"])
@pytest.mark.parametrize("stuck", [None, "drip"], ids=["hangs", "drips"])
def test_a_server_that_hangs_or_drips_is_left_at_the_deadline(
    start: Start, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, way: str, stuck: str | None
) -> None:
    monkeypatch.setattr("watcher.adapters.notifications.email.WITHIN", 0.5)
    context = {} if way == "none" else {way: server_context(*files)}
    server = start(answers={"MAIL": stuck}, **context)
    began = time.monotonic()
    with pytest.raises(Transient, match=r"broke|answered"):
        mail(server, files[0], security=way).send(NOTICE, "", "")
    assert time.monotonic() - began < 8


def test_nobody_listening_is_said(start: Start) -> None:
    server = start()
    server.close()
    with pytest.raises(Transient, match="refused"):
        mail(server, security="none").send(NOTICE, "", "")
