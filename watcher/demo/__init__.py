"""The embedded cluster, the example platform, and the scenarios that `watcher demo` runs."""
