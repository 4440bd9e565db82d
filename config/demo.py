"""``make demo``: the whole thing running on this machine, with sample customers whose payments go wrong in usual ways.

Vendors are the sandbox, payments are real Stripe events, signed and posted to the front door; nothing is called internally to make
a row look right. The table at the end is checked against the sandbox's own count.
"""

import argparse
import json
import logging
import math
import os
import resource
import shutil
import sys
import time
import traceback
import webbrowser
from pathlib import Path

from config.demo_cast import PASSWORD, PEOPLE

DEFAULTS = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "DATA_DIR": "var/demo",
    "RETRY_BASE_SECONDS": "0.5",
    "KICKOFF_POLL_SECONDS": "5",
    "SWEEP_SECONDS": "0.5",
    "CELERY_LOG_LEVEL": "WARNING",
}
LIMITS = {"STEP_SECONDS": 8, "CALL_SECONDS": 4, "DB_BUSY_SECONDS": 10, "LEASE_MARGIN_SECONDS": 1, "HOLD_SECONDS": 5}
"""Seconds on a machine with nothing else to do; a busy one gets more (``slowdown``). Shorter than in a deployment, so that a killed
worker or a lost answer is seen to heal while somebody watches."""
MOST_SLOWDOWN = 60.0
NOTICEABLE_SLOWDOWN = 2.0
MARK = ".firstvalue-demo"
COMPANY = Path(__file__).parent / "demo_company"
"""The sample company's own files: its product as a mapped vendor, and the enterprise playbook with it."""
LEFT_OVER = (
    "db.sqlite3",
    "db.sqlite3-wal",
    "db.sqlite3-shm",
    "sandbox.sqlite3",
    "sandbox.sqlite3-wal",
    "sandbox.sqlite3-shm",
)
LEFT_OVER_FOLDERS = ("broker", "mail", "logs", "tmp")


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if every row ended as expected, 1 if one did not, 2 if it could not start."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the table, leaving nothing running")
    once: bool = parser.parse_args(arguments).once
    prepare_environment()
    import django

    from config import run

    django.setup()
    logging.disable(logging.INFO)  # in this process alone

    if busy := run.busy_ports(sandbox=True):
        print("\n".join(busy), file=sys.stderr)
        return 2
    from django.conf import settings

    if not start_afresh(settings.DATA_DIR):
        print(f"{settings.DATA_DIR} holds data that no demo made; give the demo another DATA_DIR.", file=sys.stderr)
        return 2
    try:
        return play(once=once)
    except Exception as error:  # noqa: BLE001  (one plain line for a person; the rest is for whoever looks into it)
        log = settings.DATA_DIR / "logs" / "demo.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"The demo could not go on: {reason} (more in {os.path.relpath(log)})", file=sys.stderr)
        return 1


def prepare_environment() -> None:
    """Before any settings are read."""
    for name in ("DATABASE_URL", "REDIS_URL", "CONFIG_DIR", "EMAIL_URL", "PUBLIC_URL", "HTTPS", "SANDBOX_URL"):
        if os.environ.pop(name, None):
            print(f"{name} is set; the demo leaves it alone and uses its own SQLite and files.")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["DEMO_LOGINS"] = json.dumps(
        [{"name": name, "does": does, "password": PASSWORD} for name, (_, _, does) in PEOPLE.items()]
    )
    os.environ["CONFIG_DIR"] = str(COMPANY)
    # All mail, the alerts too, ends with the other things that vendors got: in the sandbox.
    from config import run

    os.environ["EMAIL_URL"] = f"smtp://127.0.0.1:{run.mail_port(int(os.environ.get('PORT') or 8000))}"


def play(*, once: bool) -> int:
    from django.conf import settings

    from config import run
    from config.demo_stage import QUEUE, Stage

    before = time.monotonic(), cpu_seconds()
    if run.migrate() != 0:
        return 2
    slow = slowdown(time.monotonic() - before[0], cpu_seconds() - before[1])
    for name, seconds in LIMITS.items():
        os.environ.setdefault(name, str(math.ceil(seconds * slow)))  # for the children
    stage = Stage(slow)
    stage.set_up()
    began = time.monotonic()
    # The children's output goes to DATA_DIR/logs alone: the rows are what one wants to see here.
    with run.build_supervisor(run.build_children(sandbox=True), echo=False) as supervisor:
        late = supervisor.wait_ready(run.START_SECONDS * slow, ["web"])
        if not late:
            stage.say_where()
            if not once:
                open_browser(f"{settings.PUBLIC_URL}{QUEUE}")
            late = supervisor.wait_ready(run.START_SECONDS * slow)
        if late:
            print(f"{', '.join(late)} did not start; see {settings.DATA_DIR / 'logs'}", file=sys.stderr)
            return 2
        if slow >= NOTICEABLE_SLOWDOWN:
            print(f"This machine is busy: everything may take {slow:.0f} times as long as usual.\n", flush=True)
        as_expected = stage.play()
        print(f"({time.monotonic() - began:.0f} s, logs in {os.path.relpath(settings.DATA_DIR / 'logs')})", flush=True)
        if once:
            return 0 if as_expected else 1
        stage.say_what_to_try()
        try:
            supervisor.wait()
        except KeyboardInterrupt:
            print("\nStopped.")
    return 0 if as_expected else 1


def cpu_seconds() -> float:
    """Processor time that this process' ended children took so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def slowdown(elapsed: float, cpu: float) -> float:
    """How many times longer work takes here than its processor time (both in seconds): what a busy machine makes of each limit."""
    return min(max(elapsed / max(cpu, 0.01), 1.0), MOST_SLOWDOWN)


def open_browser(url: str) -> None:
    """On a desktop, show the queue to whoever started this; a browser inside a terminal would only be in the way."""
    desktop = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if sys.stdout.isatty() and desktop:
        webbrowser.open(url)


def start_afresh(data_dir: Path) -> bool:
    """Empty what an earlier demo left. False where the folder holds a database that no demo made."""
    mark = data_dir / MARK
    if (data_dir / "db.sqlite3").exists() and not mark.exists():
        return False
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in LEFT_OVER:
        (data_dir / name).unlink(missing_ok=True)
    for name in LEFT_OVER_FOLDERS:
        shutil.rmtree(data_dir / name, ignore_errors=True)
    mark.touch()
    return True


if __name__ == "__main__":
    sys.exit(main())
