"""Addresses for pods and Services out of one block of loopback, so that each really can listen on its own.

What always holds: no two clusters on the machine share a block (the claim is a listening socket that the kernel gives
to one process only), and an address is handed out again only after every other one of its kind was.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

CLAIM_HOST = "255.254"
CLAIM_PORT = 61001
"""Above the range of ephemeral ports, so that no outgoing connection sits there by chance."""

POD_THIRDS = range(1, 200)
SERVICE_THIRDS = range(200, 250)
"""The third number of an address says what it belongs to: 127.X.1-199.N pods, 127.X.200-249.N Services."""


class AddressBlock:
    """One /16 of 127.0.0.0/8, claimed until `close`."""

    def __init__(self, prefix: str, claim: socket.socket) -> None:
        self.prefix = prefix
        self._claim = claim
        self._used: set[str] = set()
        self._pods = self._cycle(POD_THIRDS)
        self._services = self._cycle(SERVICE_THIRDS)

    @classmethod
    def claim(cls) -> AddressBlock:
        """Take a random free block. Raises OSError when every block of the machine is taken."""
        seconds = list(range(1, 255))
        random.shuffle(seconds)
        for second in seconds:
            prefix = f"127.{second}"
            claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                claim.bind((f"{prefix}.{CLAIM_HOST}", CLAIM_PORT))
                claim.listen(1)
            except OSError:
                claim.close()
                continue
            return cls(prefix, claim)
        raise OSError("no free block of loopback addresses: 254 clusters run on this machine")

    def pod_ip(self) -> str:
        return self._next(self._pods)

    def service_ip(self) -> str:
        return self._next(self._services)

    def take(self, address: str) -> bool:
        """Reserve an address that somebody chose. False when it is outside the Services' part of the block."""
        parts = address.split(".")
        inside = address.startswith(self.prefix + ".") and len(parts) == 4 and int(parts[2]) in SERVICE_THIRDS
        if inside:
            self._used.add(address)
        return inside

    def release(self, address: str) -> None:
        self._used.discard(address)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._claim.close()

    def _cycle(self, thirds: range) -> Iterator[str]:
        while True:
            for third in thirds:
                for last in range(1, 255):
                    yield f"{self.prefix}.{third}.{last}"

    def _next(self, addresses: Iterator[str]) -> str:
        for _ in range(254 * len(POD_THIRDS)):
            address = next(addresses)
            if address not in self._used:
                self._used.add(address)
                return address
        raise OSError(f"every address of {self.prefix}.0.0/16 is in use")
