"""The files of a new project, as `overnight init` writes them."""
