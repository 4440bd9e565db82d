"""How much the generated tests try: a fixed little in ``make test``, as much as wanted with ``FIRSTVALUE_EXAMPLES``.

``FIRSTVALUE_EXAMPLES=20`` tries that many times as much, and other examples in every run.
"""

from hypothesis import HealthCheck, Phase, settings

from tests.one_database import EXAMPLES as TIMES

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def budget(examples: int, *, steps: int = 50) -> settings:
    """``examples`` tries of at most ``steps`` rules; the same ones each time unless the environment asks for more."""
    return settings(
        max_examples=examples * max(1, TIMES),
        stateful_step_count=steps * (2 if TIMES else 1),
        derandomize=not TIMES,
        database=None,
        deadline=None,
        suppress_health_check=SLOW,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        print_blob=bool(TIMES),
    )
