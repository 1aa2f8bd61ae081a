"""The local provider's music: a track's own material, rearranged so that it goes on."""
