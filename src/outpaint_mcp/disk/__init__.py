"""What is opened and written on disk: every path in use goes through here."""
