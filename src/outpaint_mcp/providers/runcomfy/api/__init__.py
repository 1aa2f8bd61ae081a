"""RunComfy's model API: `wire` its JSON shapes, `client` the calls; usable without the rest of the house."""
