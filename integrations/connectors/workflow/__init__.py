"""What the workflow tools share: a step is handed over by a signed message, and reported back by one."""
