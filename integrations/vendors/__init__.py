"""The built-in vendors, one folder each. A folder's ``VENDOR`` says what is in it; nothing else names a vendor."""
