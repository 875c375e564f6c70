"""Files of stored charts: on the local disk, read through links that are signed for one person."""

import hashlib
import hmac
import re
import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from clfcore.paths import atomic_write
from clfcore.types import without_lone_surrogates

ROUTE = "/kept"
LINK_LIFETIME_SECONDS = 12 * 3600  # a page that is opened again gets new links

_KEY = re.compile(r"[0-9a-f]{32}/[0-9a-f]{32}")


class ElementFiles:
    """One folder for each thread, one file for each element.

    Names on the disk are hashes of ids, so no id leads out of the folder.

    Args:
        folder: where they lie.
        signing_key: links are valid only if they were made with it.
    """

    def __init__(self, folder: Path, signing_key: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._signing_key = signing_key.encode()

    def write(self, thread: str, element: str, content: bytes) -> str:
        """Keeps ``content``, in place of an older one; returns the key to ask for it.

        Raises:
            TuneshotError: the disk is full, or the place cannot be written.
        """
        key = f"{_digest(thread)}/{_digest(element)}"
        with atomic_write(self.folder / key) as new:
            new.write_bytes(content)
        return key

    def delete(self, thread: str, element: str | None = None) -> None:
        """Removes one element's file, or all of a thread; there may be none."""
        folder = self.folder / _digest(thread)
        if element is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            (folder / _digest(element)).unlink(missing_ok=True)

    def link(self, key: str, mime: str | None, owner: str) -> str:
        """An address that works for ``LINK_LIFETIME_SECONDS``, for this file and person only."""
        query = {
            "mime": mime or "application/octet-stream",
            "until": str(int(time.time()) + LINK_LIFETIME_SECONDS),
        }
        return f"{ROUTE}/{key}?{urlencode(query | {'signature': self._sign(key, owner, **query)})}"

    async def serve(self, request: Request, visitor: str) -> Response:
        """Answers a request for ``ROUTE/{key:path}``: what the signature says, or nothing.

        Args:
            request: of a browser.
            visitor: who is signed in there.
        """
        key, query = request.path_params["key"], request.query_params
        mime, until = query.get("mime", ""), query.get("until", "")
        signed = self._sign(key, visitor, mime, until).encode()
        if not hmac.compare_digest(signed, query.get("signature", "").encode()):
            return PlainTextResponse("no such file", 404)
        if int(until) < time.time():
            return PlainTextResponse("this link has expired; reload the page", 403)
        path = self.folder / key
        if not _KEY.fullmatch(key) or not path.is_file():
            return PlainTextResponse("no such file", 404)
        headers = {  # data, whatever it looks like: nothing in it may run on our page
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private",
        }
        return FileResponse(path, headers=headers, media_type=mime)

    def _sign(self, key: str, owner: str, mime: str, until: str) -> str:
        signed = without_lone_surrogates("\n".join((key, until, owner, mime))).encode()
        return hmac.new(self._signing_key, signed, hashlib.sha256).hexdigest()


def _digest(id: str) -> str:
    return hashlib.sha256(without_lone_surrogates(id).encode()).hexdigest()[:32]
