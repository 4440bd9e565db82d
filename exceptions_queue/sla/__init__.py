"""SLA clocks and the business calendar that they count by."""
