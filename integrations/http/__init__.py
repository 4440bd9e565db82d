"""The ways out to vendors: bounded in time and size, checked, recorded and redacted."""
