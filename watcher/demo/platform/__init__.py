"""The example platform: a chat service that can misbehave, and the clients that use it."""
