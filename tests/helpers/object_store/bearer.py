"""Who may ask Google's storage: access tokens, each handed out for a key.

A service account proves its key to the address that its file names, and gets a token for
it, as https://developers.google.com/identity/protocols/oauth2/service-account says. Here
the token is the name of the key, and a secret.
"""

from __future__ import annotations

from collections.abc import Iterable

from helpers.object_store.signature import Key
from helpers.object_store.wire import Request


class BearerGate:
    """Lets requests in that carry the token of an accepted key.

    Args:
        known: All keys, to name the one that a token is of.
        accepted: Those that are let in.
        refusal: Error code for the others.
    """

    def __init__(
        self,
        known: Iterable[Key] = (),
        accepted: Iterable[Key] = (),
        refusal: str = 'Unauthorized',
    ) -> None:
        self._names = {key.secret: key.id for key in (*known, *accepted)}
        self._accepted = {key.id for key in accepted}
        self._refusal = refusal

    def refuse(self, request: Request) -> str:
        """Error code for a request that is not let in; empty for one that is."""
        return '' if self.key_id(request) in self._accepted else self._refusal

    def key_id(self, request: Request) -> str:
        """Name of the key whose token a request carries; empty for an unknown one."""
        token = request.headers.get('authorization', '').partition('Bearer ')[2]
        return self._names.get(token, '')
