"""What answers where Grafana would? A page that says it is not Grafana, and the health check."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    """The same answer to whatever is asked."""

    def do_GET(self) -> None:
        """200, whatever the path."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"This is not Grafana: it stands in for it.\n")


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 3000), Page).serve_forever()  # noqa: S104  # in a container
