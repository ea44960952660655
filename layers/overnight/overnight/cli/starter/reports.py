"""A Python agent: a function that is given the run's context, and returns text or a dict."""

from overnight import Context


def daily(context: Context) -> dict[str, object]:
    topic = context.input_value or "nothing in particular"
    return {"text": f"Report on {topic}, attempt {context.attempt}", "topic": topic}
