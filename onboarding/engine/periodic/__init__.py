"""What is due, looked for every few seconds or minutes."""
