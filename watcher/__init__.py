"""Bluegreen Watcher: makes blue/green releases on Kubernetes safe."""

__version__ = "0.1.0"
