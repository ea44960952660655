"""The pages of docs/ that are made from the code: `python -m tools.docs` writes them all, `make docs` calls it."""
