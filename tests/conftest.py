"""What holds for every test: property tests are judged by what they find, not by the clock or the luck of a day."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# A machine under load is slow, which is no failure. For whoever goes looking: MLTB_DICE=1 draws anew each time,
# MLTB_EXAMPLES says how many.
settings.register_profile(
    "mltb",
    deadline=None,
    max_examples=int(os.environ.get("MLTB_EXAMPLES", "100")),
    derandomize=not os.environ.get("MLTB_DICE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mltb")

# Whoever was started in the background by a shell ignores Ctrl-C, and so would each program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
