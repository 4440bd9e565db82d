"""``python -m integrations.sandbox --port 8001 --data var/sandbox.sqlite3``: the vendor stand-ins, without Django."""

import argparse
import sys
from pathlib import Path

from integrations.sandbox.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="sandbox", description="Local stand-ins for the vendors.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one and prints it")
    parser.add_argument("--data", type=Path, required=True, help="SQLite file that holds everything")
    parser.add_argument("--smtp-port", type=int, default=0, help="the mail catcher's; 0 takes a free one and prints it")
    given = parser.parse_args()
    return serve(given.port, given.data, given.smtp_port)


if __name__ == "__main__":
    sys.exit(main())
