"""Agents declared in Python, in one file: run it with `python examples/python_api.py`, and end it with Ctrl-C."""

from datetime import timedelta

from overnight import Agent, Context, Overnight


def tell(context: Context) -> str:
    """What runs: a function at the top of a module, because worker processes import it."""
    return f"{context.input_value}, at {context.firing.nominal:%H:%M:%S} UTC"


agents = [
    Agent(name="teller", flow=tell, schedule=timedelta(seconds=2), input="All is well"),
    Agent(name="report", flow=tell, schedule={"cron": "0 8 * * 1-5", "timezone": "Europe/Berlin"}, input="Report"),
]

if __name__ == "__main__":  # worker processes import this file, and must not start engines of their own
    with Overnight(data_dir=".overnight") as overnight:
        for agent in agents:
            overnight.register(agent)
        overnight.serve()
