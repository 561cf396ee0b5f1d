# SPDX-License-Identifier: Apache-2.0
"""Doubles of the hosts of pictures, as their APIs answer: sm.ms, PicGo, a Cloudflare image bed,
Aliyun OSS.  What was uploaded can be fetched at the address that was told."""
import base64
import datetime
import email.parser
import email.policy
import email.utils
import hashlib
import hmac
import http.server
import json
import threading
import urllib.parse

SMMS_TOKEN, PICGO_KEY, IMGBED_CODE = "smms-token-4711", "picgo+key/&4711", "code&4711"
OSS_KEY, OSS_SECRET, BUCKET = "LTAI4711", "oss-secret-4711", "pictures"


def form_file(headers, body):
    """(field, file name, type, bytes) of the only part of a form."""
    text = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    (part,) = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(text).iter_parts()
    return (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_content_type(),
            part.get_payload(decode=True))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status, content, type="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def host(self):
        return self.server.host

    def _keep(self, name, content):
        self.host.kept[name] = content
        return f"http://{self.headers['Host']}{name}"

    def do_GET(self):
        content = self.host.kept.get(urllib.parse.unquote(self.path))
        self._answer(200 if content else 404, content or b"gone", "image/png")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = urllib.parse.urlsplit(self.path)
        self.host.calls.append((self.command, self.path, dict(self.headers), len(body)))
        if self.host.fault:
            self.host.fault(self)
            return
        {"/api/v2/upload": self.smms, "/api/1/upload": self.picgo, "/upload": self.imgbed}[url.path](
            dict(urllib.parse.parse_qsl(url.query)), *form_file(self.headers, body))

    def smms(self, query, field, name, type, content):
        if self.headers["Authorization"] != f"Basic {SMMS_TOKEN}":
            self._answer(401, {"success": False, "code": "unauthorized", "message": "Unauthorized."})
        elif field != "smfile":
            self._answer(400, {"success": False, "code": "no_file", "message": "No file was uploaded."})
        elif content in self.host.kept.values():
            old = next(k for k, v in self.host.kept.items() if v == content)
            self._answer(200, {"success": False, "code": "image_repeated", "message": "Image upload repeated limit",
                               "images": f"http://{self.headers['Host']}{old}"})
        else:
            self._answer(200, {"success": True, "code": "success", "data": {
                "url": self._keep(f"/smms/{name}", content), "delete": "http://sm.ms/delete/x"}})

    def picgo(self, query, field, name, type, content):
        if query.get("key") != PICGO_KEY:
            self._answer(400, {"status_code": 400, "error": {"message": "Invalid API v1 key.", "code": 100}})
        elif field != "source":
            self._answer(400, {"status_code": 400, "error": {"message": "Empty upload source.", "code": 130}})
        elif query.get("server") == "own":
            self._answer(200, {"success": True, "result": [self._keep(f"/own/{name}", content)]})
        else:
            self._answer(200, {"status_code": 200, "success": {"message": "image uploaded"}, "image": {
                "url": self._keep(f"/picgo/{name}", content), "delete_url": "x"}})

    def imgbed(self, query, field, name, type, content):
        if query.get("authCode") != IMGBED_CODE:
            self._answer(401, b"Unauthorized", "text/plain")
        elif query.get("uploadNameType") != "origin" or field != "file":
            self._answer(400, {"error": "no file"})
        else:
            folder = query.get("uploadFolder")
            src = "/file/" + (f"{folder}/" if folder else "") + name
            self._keep(src, content)
            self._answer(200, [{"src": src}])

    def do_PUT(self):
        """Aliyun OSS checks the signature, the date and the bucket in the name of the host."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.host.calls.append((self.command, self.path, dict(self.headers), len(body)))
        if self.host.fault:
            self.host.fault(self)
            return
        bucket = self.headers["Host"].split(".")[0]
        to_sign = f"PUT\n\n{self.headers['Content-Type']}\n{self.headers['Date']}\n/{bucket}{self.path}"
        mark = base64.b64encode(hmac.new(OSS_SECRET.encode(), to_sign.encode(), hashlib.sha1).digest()).decode()
        age = abs((email.utils.parsedate_to_datetime(self.headers["Date"]) - self.host.now()).total_seconds())
        if bucket != BUCKET:
            self._error(404, "NoSuchBucket")
        elif age > 900:
            self._error(403, "RequestTimeTooSkewed")
        elif self.headers["Authorization"] != f"OSS {OSS_KEY}:{mark}":
            self._error(403, "SignatureDoesNotMatch")
        else:
            self._keep(self.path, body)
            self._answer(200, b"", "application/xml")

    def _error(self, status, code):
        self._answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode(), "application/xml")


class Hosts:
    """All of them on one port."""

    def __init__(self):
        self.kept, self.calls, self.fault = {}, [], None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.host = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @staticmethod
    def now():
        return datetime.datetime.now(datetime.timezone.utc)

    def reset(self):
        self.kept.clear()
        self.calls.clear()
        self.fault = None

    def close(self):
        self.server.shutdown()
        self.server.server_close()
