"""E-mail by SMTP, encrypted from the start or by STARTTLS, in one thread for each Release.

What always holds: a password goes over TLS alone, to a server whose certificate is trusted for its name; and a server
that answers ever so slowly is left at the deadline, which the library does not do by itself.
"""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from watcher.adapters.bounded_http import Deadline, connect
from watcher.adapters.errors import AdapterError, Fatal, Transient
from watcher.adapters.notifications.posting import Secret
from watcher.core.notices import Notice

WITHIN = 20.0
"""Seconds for one whole message, from the look-up of a name to the last answer."""
DOMAIN = "bluegreen-watcher.invalid"
"""Behind the `@` of what names a message; nobody has this domain."""


@dataclass(frozen=True, slots=True)
class Email:
    """Sends through one SMTP server, with or without a login."""

    name: str
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    to: tuple[str, ...]
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None

    @property
    def threads(self) -> bool:
        return False

    def quoted(self, value: str) -> str:
        return value

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. Raises Transient or Fatal."""
        password = self.password.read() if self.password else ""
        message = self._message(notice, text)
        with _in_words(), self._session() as smtp:
            smtp.ehlo_or_helo_if_needed()
            if self.security == "starttls":
                smtp.starttls(context=self._trust())
                smtp.ehlo()
            if self.username:
                smtp.login(self.username, password)
            refused = smtp.send_message(message)
            if refused:
                raise Fatal(f"{len(refused)} of {len(self.to)} addresses were refused; the others have it")
        return ""

    def _message(self, notice: Notice, text: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(f"[{notice.severity}] {notice.title}".split())
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Date"] = format_datetime(notice.at)
        message["Message-ID"] = _id(notice.key)  # the same for a second one, by which mail programs know it
        message["References"] = message["In-Reply-To"] = _id(notice.thread)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n\n".join([text] if text else _paragraphs(notice)) + "\n\n-- \n" + _where(notice) + "\n")
        return message

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise Fatal(f"caFile cannot be used ({error.strerror or type(error).__name__})") from None

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        deadline = Deadline(WITHIN)
        sock = connect(self.host, self.port, deadline)
        handle = sock.dup()  # TLS takes the first one over
        watchdog = threading.Timer(max(0.0, deadline.remaining()), _cut, [handle])
        watchdog.daemon = True
        watchdog.start()
        smtp = _Session(self.host)
        try:
            sock.settimeout(WITHIN)
            smtp.begin(self._trust().wrap_socket(sock, server_hostname=self.host) if self.security == "tls" else sock)
            yield smtp
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()
        finally:
            watchdog.cancel()
            smtp.close()
            _cut(handle)
            for one in (sock, handle):
                one.close()


class _Session(smtplib.SMTP):
    """The library's client on a connection that is there already."""

    def __init__(self, host: str) -> None:
        super().__init__(local_hostname="bluegreen-watcher")
        self._host = host  # the name that STARTTLS checks the certificate for

    def begin(self, sock: socket.socket) -> None:
        self.sock = sock
        code, _ = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, b"")


def _cut(sock: socket.socket) -> None:
    """End every read and write of a connection."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what the library raises into this project's errors. Its texts quote the server, which may quote a secret."""
    try:
        yield
    except AdapterError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise Transient(f"TLS failed (the certificate is not valid: {error.verify_message})") from None
    except smtplib.SMTPNotSupportedError:
        raise Fatal("the server does not offer what the settings ask for: STARTTLS, or a login") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        kind = Transient if any(code < 500 for code in codes) else Fatal
        raise kind(f"every address was refused ({', '.join(map(str, sorted(codes)))})") from None
    except smtplib.SMTPResponseException as error:
        kind = Transient if error.smtp_code < 500 else Fatal
        raise kind(f"the server answered {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Transient(f"the connection broke ({why})") from None


def _paragraphs(notice: Notice) -> Iterator[str]:
    yield notice.message
    if notice.why:
        yield "Why:\n" + "\n".join(f"  - {one}" for one in notice.why)
    for label, link in notice.links.items():
        yield f"{label}:\n  {link}"
    if notice.next:
        yield f"Next: {notice.next}"
    if notice.commands:
        yield "What you can do:\n" + "\n".join(f"  {one}" for one in notice.commands)


def _where(notice: Notice) -> str:
    parts = (notice.namespace, notice.release, notice.actor, f"{notice.at:%Y-%m-%d %H:%M:%S} UTC")
    return " / ".join(part for part in parts if part)


def _id(key: str) -> str:
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{DOMAIN}>"
