"""With whose credentials a remote model is called: the operator's, or those that a caller brings along."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from outpaint_mcp.errors import LimitReached
from outpaint_mcp.storage.records import CALLERS, Credentials

if TYPE_CHECKING:
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.providers.remote.model import ModelClient, RemoteModel


_MOST_TOKENS = 16
"""Of one caller: each is in every question to the database that asks for work."""


class Accounts:
    """The accounts that this process has credentials for; callers' tokens are nowhere but here, in memory."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._own = LazyClient(model, None)
        self._callers: dict[str, LazyClient] = {}
        self._brought: Counter[str] = Counter()  # by whose they are

    @property
    def credentials(self) -> Credentials:
        """Whose jobs can be carried out here."""
        return Credentials(has_own=bool(self._model.account), callers=frozenset(self._callers))

    def admit(self, principal: Principal) -> str:
        """Return the account of a caller's token, which is remembered; of none, the operator's.

        Raises:
            LimitReached: they have brought too many. None is forgotten: what was sent with it is asked for with it.
        """
        token = principal.token_for(self._model.description.name)
        if not token:
            return self._model.account
        account = f"{CALLERS}{self._model.account_of(token)}"
        if account not in self._callers:
            if self._brought[principal.owner] >= _MOST_TOKENS:
                raise LimitReached(
                    f"You have called with {_MOST_TOKENS} tokens for {self._model.title} since this server was started,"
                    " which is the most for one caller. Use one of these."
                )
            self._brought[principal.owner] += 1
            self._callers[account] = LazyClient(self._model, token)
        return account

    def has(self, account: str) -> bool:
        """Whether the credentials of an account are known here."""
        return account in self._callers or account == self._model.account

    def client(self, account: str) -> ModelClient:
        """Return the client of an account, or the operator's for one that is not known any more.

        Its library takes a quarter of a second to load: the first call belongs into a thread.
        """
        return self._callers.get(account, self._own)()

    async def close(self) -> None:
        """Close all clients."""
        for each in (self._own, *self._callers.values()):
            await each.close()


class LazyClient:
    """The one client of an account, opened at the first call."""

    def __init__(self, model: RemoteModel, token: str | None) -> None:
        self._model = model
        self._token = token
        self._client: ModelClient | None = None
        self._lock = threading.Lock()

    def __call__(self) -> ModelClient:
        """Return the client."""
        with self._lock:
            if self._client is None:
                self._client = self._model.open_client(self._token)
            return self._client

    async def close(self) -> None:
        """Close it if it was opened."""
        if self._client is not None:
            await self._client.aclose()
