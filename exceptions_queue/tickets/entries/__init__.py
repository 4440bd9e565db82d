"""The catalogue's entries, by what a ticket is about: a step, a run, a connection, or what an audit found."""
