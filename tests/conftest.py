"""What holds for all tests: properties are tried without a stopwatch, and in CI always with the same examples."""

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "overnight", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("overnight")

# A run in the background may have Ctrl-C ignored, and everything it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
