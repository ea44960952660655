"""The command line: one module per noun. Importing them must stay quick, so what is heavy waits for its command."""

from overnight.cli.main import main

__all__ = ["main"]
