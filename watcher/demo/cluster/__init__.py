"""The embedded cluster: the Kubernetes API on loopback, with pods that are real local processes."""
