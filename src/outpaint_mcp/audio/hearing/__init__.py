"""Analysis of a recording, and its picture."""
