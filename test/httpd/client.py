# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client that hides nothing: raw bytes out, raw bytes in, every wait bounded.

Libraries retry, reconnect and normalise; tests of a server must see what it did.
"""
import json as jsonlib
import socket
import time


class Cut(ConnectionError):
    """The server closed the connection before the answer was whole."""


class Headers(list):
    """Pairs in order of arrival."""

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [v for n, v in self if n.lower() == name.lower()]

    def __contains__(self, name):
        return bool(self.all(name))


class Response:
    """An answer whose head was read.  Its body is read by read() or pieces()."""

    def __init__(self, conn, status, reason, headers, bodyless):
        self.conn, self.status, self.reason, self.headers = conn, status, reason, headers
        self._body = bytearray()
        self.ended = False
        self._pieces = self._decode(bodyless)

    def _decode(self, bodyless):
        length = self.headers.get("Content-Length")
        if bodyless or length == "0":
            yield from ()
        elif "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            yield from self._decode_chunks()
        elif length is not None:
            left = int(length)
            while left:
                piece = self.conn.some(left)
                left -= len(piece)
                yield piece
        else:
            while True:
                try:
                    yield self.conn.some(65536)
                except Cut:
                    break

    def _decode_chunks(self):
        while True:
            size = int(self.conn.line().split(b";")[0], 16)
            while size:
                piece = self.conn.some(size)
                size -= len(piece)
                yield piece
                if not size:
                    assert self.conn.line() == b""
                    break
            else:
                while self.conn.line():
                    pass
                return

    @property
    def body(self):
        """What of the body has been read."""
        return bytes(self._body)

    def pieces(self):
        """The body's bytes as they come."""
        for piece in self._pieces:
            self._body += piece
            yield piece
        self.ended = True

    def read(self):
        for _ in self.pieces():
            pass
        return self.body

    def read_until(self, mark):
        """Reads on until the body holds mark."""
        if mark in self._body:
            return self.body
        for _ in self.pieces():
            if mark in self._body:
                return self.body
        raise Cut(f"the body ended without {mark!r}: {self.body[-300:]!r}")

    @property
    def text(self):
        return self.read().decode("utf-8")

    def json(self):
        return jsonlib.loads(self.read())

    def events(self):
        """Data of the events of a stream, as they come."""
        rest = b""
        for piece in self.pieces():
            rest += piece.replace(b"\r\n", b"\n")
            while b"\n\n" in rest:
                event, rest = rest.split(b"\n\n", 1)
                data = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
                if data:
                    yield b"\n".join(data).decode("utf-8")
        assert not rest.strip(), f"half an event at the end: {rest!r}"

    def __repr__(self):
        return f"<{self.status} {bytes(self._body[:300])!r}>"


class Conn:
    """One connection."""

    def __init__(self, port, host="127.0.0.1", tls=None, timeout=20.0, rcvbuf=None):
        self.timeout = timeout
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""
        self.host = f"localhost:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _fill(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise Cut("the connection was closed")
        self.buffer += piece

    def some(self, most):
        if not self.buffer:
            self._fill()
        piece, self.buffer = self.buffer[:most], self.buffer[most:]
        return piece

    def line(self):
        while b"\r\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def closed_by_server(self):
        """Waits for the server's end of the connection; True when it closes cleanly."""
        try:
            while True:
                self._fill()
        except (Cut, ConnectionResetError):
            return True

    def start(self, method, path, headers=(), body=None, json=None, chunks=None):
        """Sends a whole request."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        if json is not None:
            body = jsonlib.dumps(json).encode()
            if not any(n.lower() == "content-type" for n, _ in pairs):
                pairs.append(("Content-Type", "application/json"))
        if chunks is not None:
            pairs.append(("Transfer-Encoding", "chunked"))
        elif body is not None and not any(n.lower() == "content-length" for n, _ in pairs):
            pairs.append(("Content-Length", str(len(body))))
        if not any(n.lower() == "host" for n, _ in pairs):
            pairs.insert(0, ("Host", self.host))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in pairs) + "\r\n"
        self.method = method
        self.send(head.encode("latin-1"))
        if chunks is not None:
            for chunk in chunks:
                self.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.send(b"0\r\n\r\n")
        elif body:
            self.send(body)

    def answer(self, interim=None, method=None):
        """Reads the head of the next answer; 1xx heads go to the list `interim`."""
        while True:
            status_line = self.line().decode("latin-1")
            version, status, reason = (status_line.split(" ", 2) + [""])[:3]
            assert version.startswith("HTTP/1."), status_line
            headers = Headers()
            while line := self.line():
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
            if int(status) >= 200:
                break
            if interim is not None:
                interim.append(int(status))
        bodyless = (method or getattr(self, "method", "GET")) == "HEAD" or int(status) in (204, 304)
        return Response(self, int(status), reason, headers, bodyless)

    def request(self, method, path, headers=(), **kwargs):
        self.start(method, path, headers, **kwargs)
        return self.answer()


class Client:
    """Requests on connections of their own, with a site's credentials unless told otherwise."""

    def __init__(self, port, token=None, tls=None, timeout=20.0):
        self.port, self.token, self.tls, self.timeout = port, token, tls, timeout

    def connect(self, **kwargs):
        return Conn(self.port, tls=self.tls, **{"timeout": self.timeout, **kwargs})

    def auth(self, token=None):
        token = token or self.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def request(self, method, path, headers=None, token=None, anonymous=False, **kwargs):
        """A whole exchange; the body has been read."""
        pairs = {} if anonymous else self.auth(token)
        pairs.update(headers or {})
        with self.connect() as conn:
            response = conn.request(method, path, {**pairs, "Connection": "close"}, **kwargs)
            started = time.monotonic()
            response.read()
            response.read_seconds = time.monotonic() - started
            return response

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, json=None, **kwargs):
        return self.request("POST", path, json=json, **kwargs)

    def open(self, method, path, headers=None, conn=None, conn_options=None, **kwargs):
        """An answer whose body is still to come; its connection is response.conn."""
        conn = conn or self.connect(**(conn_options or {}))
        return conn.request(method, path, {**self.auth(), **(headers or {})}, **kwargs)
