"""The daemon: guard, decision core and the shell around it."""
