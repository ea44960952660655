"""One measurement a module: `measure()` gives named figures."""
