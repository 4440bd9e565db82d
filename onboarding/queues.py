"""The queues that own work, and which of them owns what."""

QUEUES: dict[str, str] = {
    "sales-ops": "Sales operations",
    "support-ops": "Support operations",
    "revenue-operations": "Revenue-operations engineering",
    "finance": "Finance",
    "leads": "Leads",
}
