"""The command line and the Python SDK; speaks ZeroMQ to a daemon and never imports it."""
