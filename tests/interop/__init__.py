"""Every client: this server beneath the client libraries and agent frameworks that people use, by `make interop`.

Each has an environment of its own and its limits as it ships them. There is no model: the runner says what to call, and
holds against its expectations what the client would show a model.
"""
