"""The server of xtask/specs/http.toml: an example in OpenRLHF's dialect. `python3 xtask/scorers/server.py 5000` starts it."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Rewards(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # The reward of a text: its exclamation marks, and nothing for more than three.
        counts = (text.count("!") for text in request["query"])
        answer = json.dumps({"rewards": [float(count) if count <= 3 else 0.0 for count in counts]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Nothing is written for each request."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Rewards).serve_forever()
