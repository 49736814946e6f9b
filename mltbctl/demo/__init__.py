"""The demo: real nodes on loopback, a real bot on a stand-in Bot API, one machine killed, all measured."""
