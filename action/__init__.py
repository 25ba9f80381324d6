"""The GitHub action: asks a daemon over HTTP for what a workflow wants, and tells the job what came of it."""
