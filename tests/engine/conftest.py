"""Servers for hooks and checks: the same that the adapters are tested against."""

from tests.adapters.conftest import serve

__all__ = ["serve"]
