"""Everything that is stored encrypted, encrypted anew with the first of ``FIELD_ENCRYPTION_KEYS``.

A row that the first key encrypted is left alone, so that a run which was cut off goes on where it ended. Rows are written one by
one, each only where nobody changed it since it was read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import Model

from integrations import crypto
from integrations.models import ConnectionSecret, InboundEvent, WebhookEndpoint

STORED: tuple[tuple[type[Model], str], ...] = (
    (ConnectionSecret, "ciphertext"),
    (InboundEvent, "body"),
    (WebhookEndpoint, "secret"),
    (WebhookEndpoint, "former_secret"),
)
"""Each model with its encrypted column; empty where nothing is stored."""
CHUNK = 200


@dataclass
class Outcome:
    """Of one model's rows."""

    model: type[Model]
    rotated: int = 0
    current: int = 0
    """Encrypted with the first key already."""
    unreadable: list[int] = field(default_factory=list)
    """Primary keys of what none of the keys decrypts."""


def rotate() -> Iterator[Outcome]:
    """One outcome a model, after all of its rows."""
    for model, column in STORED:
        outcome = Outcome(model)
        for pk, ciphertext in (
            model._default_manager.exclude(**{column: ""})
            .order_by("pk")
            .values_list("pk", column)
            .iterator(chunk_size=CHUNK)
        ):
            _rotate_row(outcome, pk, column, ciphertext)
        yield outcome


def _rotate_row(outcome: Outcome, pk: int, column: str, ciphertext: str) -> None:
    while not crypto.is_current(ciphertext):
        try:
            anew = crypto.reencrypt(ciphertext)
        except crypto.SecretUnreadable:
            outcome.unreadable.append(pk)
            return
        rows = outcome.model._default_manager.filter(pk=pk)
        if rows.filter(**{column: ciphertext}).update(**{column: anew}):
            outcome.rotated += 1
            return
        found = rows.values_list(column, flat=True).first()
        if found is None:
            return  # removed meanwhile
        ciphertext = found
    outcome.current += 1
