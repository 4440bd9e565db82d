"""A step's objects at a vendor: found or created once, and mapped."""
