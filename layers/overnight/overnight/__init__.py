"""Overnight keeps AI agents working when nobody is watching."""
