"""A web server for images, with servers' usual faults."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class ImageServer:
    """Serves ``content`` below any path; what is asked of it is in ``asked``.

    ``/broken`` ends in the middle, ``/elsewhere`` sends to FTP, ``/missing`` is not there,
    ``/held`` waits for ``go_on`` after its first half.
    """

    content: bytes
    port: int = 0
    asked: list[str] = field(default_factory=list)
    half_sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/image") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        if handler.path == "/missing":
            handler.send_error(404)
            return
        if handler.path == "/elsewhere":
            handler.send_response(302)
            handler.send_header("Location", "ftp://one.test/image")
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        half = len(self.content) // 2
        handler.wfile.write(self.content[:half])
        if handler.path == "/held":
            handler.wfile.flush()
            self.half_sent.set()
            self.go_on.wait(60)
        if handler.path != "/broken":
            with contextlib.suppress(ConnectionError):
                handler.wfile.write(self.content[half:])


@contextlib.contextmanager
def image_server(content: bytes) -> Iterator[ImageServer]:
    """A server on a free port; gone at the end."""
    served = ImageServer(content=content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            served.go_on.set()
            server.shutdown()
            thread.join()
