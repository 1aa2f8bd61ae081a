"""Worker processes: whatever opens audio does it there, where it can harm nobody."""
