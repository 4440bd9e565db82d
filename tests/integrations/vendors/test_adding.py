"""The worked example of docs/adding-a-vendor.md is a whole vendor: its folder, added to a copy of the product, works."""

import re
from pathlib import Path

from tests.integrations.vendors.test_removal import ROOT, copied, succeeds

EXAMPLE = re.compile(r"^`(integrations/vendors/\S+\.py)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
USE = """
import os, threading, time
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django

django.setup()
from django.core.management import call_command

call_command("check")
call_command("migrate", verbosity=0)

from integrations.connections.services import probe, set_connection
from integrations.connectors.base import MatchKey
from integrations.connectors.objects import SupportOrganization
from integrations.connectors.registry import connector
from integrations.sandbox.server import SandboxServer

server = SandboxServer(0, Path(os.environ["DATA_DIR"]) / "sandbox.sqlite3")
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = f"http://127.0.0.1:{server.server_port}"
from django.conf import settings

settings.SANDBOX_ORIGINS = [origin]
northdesk = set_connection(
    "northdesk", system="support", provider="northdesk", base_url=f"{origin}/northdesk", environment="sandbox",
    secrets={"token": ["sandbox-northdesk-token"]}, actor="tests",
)
assert probe(northdesk).message == "Northdesk account sandbox"
desk = connector(northdesk, subject="tests", deadline=time.monotonic() + 60)
acme = SupportOrganization(name="Acme", domains=["acme.com"])
made = [desk.create(acme, "firstvalue:acme") for _ in range(2)]
assert made[0] == made[1]
(found,) = desk.find("organization", MatchKey("reference", "firstvalue:acme"))
assert (found.external_id, found.conclusive) == (made[0].external_id, True)
(namesake,) = desk.find("organization", MatchKey("name", "Acme"))
assert not namesake.conclusive
desk.update(found.external_id, SupportOrganization(name="Acme Ltd"))
assert desk.get("organization", found.external_id).label == "Acme Ltd"
for _ in range(2):
    desk.undo("organization", found.external_id)
assert desk.get("organization", found.external_id) is None
server.shutdown()
server.server_close()
"""


def test_the_worked_example_is_a_vendor_that_works(tmp_path: Path) -> None:
    root = copied(tmp_path / "copy")
    files = EXAMPLE.findall((ROOT / "docs" / "adding-a-vendor.md").read_text())
    assert [Path(name).name for name, _ in files] == ["__init__.py", "connector.py", "sandbox.py"]
    for name, text in files:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    succeeds(root, tmp_path / "data", "-c", USE)
