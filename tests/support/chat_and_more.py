"""The example platform's chat service as an image that also takes connections at 6379, and answers for its health by
gRPC at 9090. Started as a container of the embedded cluster.
"""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from watcher.demo.platform import chat


def main() -> int:
    """Serve everything until the chat service ends. HEALTH is the state of the gRPC service."""
    place = os.environ["POD_IP"]
    sessions = socket.create_server((place, 6379))
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    state = health_pb2.HealthCheckResponse.ServingStatus.Value(os.environ.get("HEALTH", "SERVING"))
    servicer.set("chat.v1.Assistant", state)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"{place}:9090")
    server.start()
    try:
        return chat.main()
    finally:
        server.stop(None)
        sessions.close()


if __name__ == "__main__":
    sys.exit(main())
