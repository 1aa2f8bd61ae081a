"""What is kept in the database, and all of its SQL."""
