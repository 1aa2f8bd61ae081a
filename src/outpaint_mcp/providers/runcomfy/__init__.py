"""RunComfy's hosted ACE-Step model: what tells it from other remote models (`model`), and its calls (`api`)."""
