"""What the product asks of any vendor, and the registry that finds the vendors."""
