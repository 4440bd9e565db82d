"""Ways to the database that cost less than Django's: what is asked and written with every step."""
