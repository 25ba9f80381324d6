"""A real one-node Kubernetes on one Linux machine, without a registry, for the tests of tier 3."""
