"""One command a module: inputs in, Result out."""
