"""A client of a service, in two forms: `Client`, and `AsyncClient` for `asyncio` (extra "client").

    calls    what each call sends, and how its answer is read: once for both
    clients  the two forms; retries

>>> from gloss.serving.client import Client
>>> with Client("http://127.0.0.1:8000") as shop:                          # doctest: +SKIP
...     answer = shop.recommend(["Fernhill Sketch Pad, A4"], k=3)
...     print([item.title for item in answer.items], answer.way)
"""

from gloss.serving.client.calls import Found, Purchase, StoredItem
from gloss.serving.client.clients import AsyncClient, Client, ServiceError

__all__ = ["AsyncClient", "Client", "Found", "Purchase", "ServiceError", "StoredItem"]
