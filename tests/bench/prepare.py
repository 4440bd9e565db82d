"""``python -m tests.bench.prepare VENDOR``: the installation's database, its connections to the vendor, and an API key, printed on
the last line. ``python -m tests.bench.prepare limit SYSTEM NUMBER``: calls at once that a connection takes, 0 for no limit.
"""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
SYSTEMS = ("crm", "erp", "delivery", "support", "product", "identity", "scheduling", "email")


def prepare(vendor: str) -> None:
    from django.core.management import call_command

    from integrations.connections.services import set_connection

    call_command("migrate", verbosity=0)
    for system in SYSTEMS:
        set_connection(
            system,
            system=system,
            provider=f"bench-{system}",
            base_url=f"{vendor}/{system}",
            environment="sandbox",
            secrets={"token": ["bench"]},
            actor="bench",
        )
    call_command("create_api_key", "bench", scope="operate")


def limit(system: str, number: int) -> None:
    from integrations.connections.services import set_connection

    set_connection(system, system=system, provider=f"bench-{system}", max_concurrency=number, actor="bench")


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "limit":
        limit(sys.argv[2], int(sys.argv[3]))
    else:
        prepare(sys.argv[1])
