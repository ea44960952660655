"""Overnight inside a Python program: declare agents, register them, start the engine."""

import multiprocessing
import time

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from overnight.embedded.declare import Agent

if TYPE_CHECKING:
    from overnight.embedded.engine import Engine
    from overnight.executions import Execution

__all__ = ["Overnight"]

