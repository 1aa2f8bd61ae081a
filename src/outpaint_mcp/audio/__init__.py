"""Audio signal processing: pure functions on numpy arrays, and the audio files they read and write.

`files` reads and writes audio, `engine` composes the local provider's extensions, `joining` splices what a
hosted model returned onto its source, `hearing` analyses a recording, and `verdict` evaluates an extended
file. Audio is float32 `[frames, channels]` with full scale at ±1.
"""
