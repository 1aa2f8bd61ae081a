"""The local provider's music: it analyses a source, rearranges its beats and renders the result."""
