"""How much is measured."""

from dataclasses import dataclass

__all__ = ["SIZES", "Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The default is what docs/benchmarks.md is made of."""

    runs: int = 3
    tasks: int = 3_000
    pickups: int = 150
    idle_seconds: float = 4
    schedules: tuple[int, ...] = (10_000, 100_000)
    ticks_seconds: float = 12
    ticks_a_second: int = 83
    armed: int = 10_000
    agents: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    executions: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    calls: int = 15
    starts: int = 3
    deliveries: int = 2_000
    langflow_runs: int = 40


SIZES = {
    "full": Sizes(),
    "quick": Sizes(
        runs=1,
        tasks=1_000,
        pickups=60,
        idle_seconds=2,
        schedules=(10_000,),
        ticks_seconds=6,
        armed=10_000,
        agents=(100, 10_000),
        executions=(1_000, 100_000),
        calls=7,
        starts=1,
        deliveries=500,
        langflow_runs=15,
    ),
    "tiny": Sizes(
        runs=1,
        tasks=40,
        pickups=5,
        idle_seconds=0.2,
        schedules=(50,),
        ticks_seconds=1,
        ticks_a_second=10,
        armed=50,
        agents=(5, 10),
        executions=(10, 20),
        calls=2,
        starts=1,
        deliveries=20,
        langflow_runs=3,
    ),
}
