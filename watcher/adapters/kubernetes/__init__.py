"""The Kubernetes adapter: the only part that speaks to an API server. It returns the core's own models and raises the
adapters' own errors.
"""
