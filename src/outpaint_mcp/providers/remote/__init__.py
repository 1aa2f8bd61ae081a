"""What every remote generative model needs: a durable job of paid steps, each sent once and followed to its end.

`model` is what a service brings along; its own package has its wire client and its limits, and nothing else.
"""
