"""The welcome sequence: the mails that follow the welcome, some business days apart. Here, as here is the business calendar."""
