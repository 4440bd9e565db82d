"""Merged records: one survives and answers under the ids of both.

What a merge leaves: knowledge.hubspot.com/records/merge-records. The record that is merged away is in no search and no batch; its
ids stand in ``hs_merged_object_ids`` of the survivor, its domains and addresses beside the survivor's own.
"""

from __future__ import annotations

from integrations.sandbox.store import Json, Row, Tx

_KIND = "merges"
#: where the other record's value is kept beside the survivor's own
_KEPT = {"domain": "hs_additional_domains", "email": "hs_additional_emails"}


def merge(tx: Tx, survivor: Row, other: Row, others: tuple[str, ...], *, lag: float) -> Row:
    """``others``: the kinds whose associations move to the survivor."""
    for kind in others:
        for linked in tx.linked("hubspot", other.kind, other.id, kind):
            tx.link("hubspot", survivor.kind, survivor.id, kind, linked)
    tx.archive(other)
    tx.insert("hubspot", _KIND, f"{other.kind}/{other.id}", {"into": survivor.id}, lag=0, seeded=True)
    return tx.update(survivor, _merged(survivor, other), lag=lag)


def survivor_of(tx: Tx, kind: str, row_id: str) -> Row | None:
    """The record that answers for one that was merged away, also after several merges."""
    while (merged := tx.get("hubspot", _KIND, f"{kind}/{row_id}")) is not None:
        row_id = str(merged.body["into"])
    return tx.get("hubspot", kind, row_id)


def values(text: object) -> list[str]:
    """A list as HubSpot keeps it: separated by semicolons."""
    return [each.strip() for each in str(text or "").split(";") if each.strip()]


def _merged(survivor: Row, other: Row) -> Json:
    body = {**_filled(other.body), **_filled(survivor.body)}
    ids = [
        *values(survivor.body.get("hs_merged_object_ids")),
        *values(other.body.get("hs_merged_object_ids")),
        other.id,
    ]
    body["hs_merged_object_ids"] = ";".join(ids)
    for name, kept in _KEPT.items():
        held = [*values(survivor.body.get(kept)), *values(other.body.get(kept)), *values(other.body.get(name))]
        if listed := [each for each in dict.fromkeys(held) if each != body.get(name)]:
            body[kept] = ";".join(listed)
    return body


def _filled(body: Json) -> Json:
    return {name: value for name, value in body.items() if value not in (None, "")}
