# SPDX-License-Identifier: Apache-2.0
"""A small Google for what exists in one project only: files with their uploads, cached contents,
operations, batches, interactions.  Each key is a project of its own; what another key made answers
as Google does.  Bodies of uploads are hashed as they come and never kept.
"""
import datetime
import hashlib
import http.server
import json
import re
import secrets
import threading
import urllib.parse

GRANULARITY = 8 * 1024 * 1024
PIECE = 256 * 1024
ANYBODY = "*"        # in the place of a key
BY_ID = ("agents", "credentials", "decisions", "environments", "triggers", "voices", "webhooks")    # they have no names


def clock(seconds):
    """The moment so many seconds from now, as Google writes it."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Upload:
    def __init__(self, key, meta, mime, store=None):
        self.key, self.meta, self.mime, self.store = key, meta, mime, store
        self.size, self.hash, self.done = 0, hashlib.sha256(), False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    # ---- reading

    def pieces(self):
        """The request's body as it comes, framed either way."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                while size:
                    piece = self.rfile.read1(min(size, PIECE))
                    if not piece:
                        raise ConnectionError("cut")
                    size -= len(piece)
                    yield piece
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise ConnectionError("cut")
            left -= len(piece)
            yield piece

    def body(self):
        return b"".join(self.pieces())

    # ---- answering

    def answer(self, status, content, headers=()):
        if self.server.google.fault == "lost":
            self.close_connection = True        # done, and nobody hears of it
            return
        body = json.dumps(content, indent=2).encode() + b"\n" if content is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "NID=1")
        self.send_header("Alt-Svc", 'h3=":443"')
        self.send_header("Server-Timing", "gfet4t7; dur=7")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, word, message):
        self.answer(status, {"error": {"code": status, "message": message, "status": word}})

    def not_there(self, name):
        self.refuse(403, "PERMISSION_DENIED",
                    f"You do not have permission to access the {name} or it may not exist.")

    def log_message(self, *_):
        pass

    # ---- routing

    def handle_one(self):
        google = self.server.google
        with google.lock:
            google.running += 1
        try:
            self.serve_one(google)
        finally:
            with google.lock:
                google.running -= 1

    def serve_one(self, google):
        path, _, query = self.path.partition("?")
        path = path.removeprefix(google.prefix)
        self.key = self.headers.get("x-goog-api-key")
        self.query = dict(urllib.parse.parse_qsl(query))
        with google.lock:
            google.calls.append({"method": self.command, "path": self.path, "key": self.key,
                                 "headers": list(self.headers.items())})
        if path.startswith("/upload/"):
            return self.upload(re.sub(r"^/upload/v1(beta|alpha)?/", "", path))
        if not self.key:
            self.body()
            return self.refuse(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if path.startswith("/download/"):
            return self.download(re.sub(r"^/download/v1(beta|alpha)?/|:download$", "", path))
        return self.resource(re.sub(r"^/v1(beta|alpha)?/", "", path))

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_one

    # ---- resources

    def resource(self, name):
        body = self.body()
        content = json.loads(body) if body else {}
        if m := re.fullmatch(r"models/([^/:]+):(\w+)", name):
            return self.model_call(m[1], m[2], content, body)
        base, _, method = name.partition(":")
        if name == "files:register":
            return self.answer(200, {"files": [self.file_made(Upload(self.key, {}, "text/plain")) for _ in content["uris"]]})
        if self.command == "POST" and "/" not in base:
            return self.create(base, content)
        if self.command == "GET" and "/" not in base:
            return self.list(base)
        return self.one(base, method, content)

    def create(self, kind, content):
        google = self.server.google
        if kind == "cachedContents" and google.fault == "exhausted":
            return self.answer(429, {"error": {"code": 429, "message": "limit exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/cached_content_storage_tokens",
                    "quotaId": "TotalCachedContentStorageTokensPerModelFreeTier",
                    "quotaDimensions": {"model": content["model"].removeprefix("models/"), "location": "global"}}]}]}})
        if kind in BY_ID:
            made = secrets.token_hex(8)
            return self.answer(200, google.put(f"{kind}/{made}", self.key, {**content, "id": made}))
        if kind == "interactions":
            previous = content.get("previous_interaction_id")
            if previous and google.owner(f"interactions/{previous}") != self.key:
                return self.not_there("Interaction")
            made = secrets.token_hex(8)
            google.put(f"interactions/{made}", self.key, {"id": made, "status": "completed"})
            if content.get("stream"):
                return self.stream({"event_type": "interaction.created", "interaction": {"id": made, "status": "in_progress"}},
                                   {"event_type": "step.delta", "delta": {"type": "text", "text": "x"}})
            return self.answer(200, {"id": made, "status": "completed"})
        name = f"{kind}/{secrets.token_hex(6)}"
        thing = google.put(name, self.key, {**content, "name": name})
        if kind == "tunedModels":
            name += "/operations/" + secrets.token_hex(6)
            return self.answer(200, google.put(name, self.key, {"name": name, "metadata": {"tunedModel": thing["name"]}}))
        return self.answer(200, thing)

    def list(self, kind):
        """Pages of one thing where a size is asked for; a page's token says nothing to another key."""
        found = [c for n, (k, c) in self.server.google.things.items() if k == self.key and n.startswith(kind + "/")]
        key, _, at = self.query.get("pageToken", f"{self.key}/0").rpartition("/")
        if key != self.key:
            return self.refuse(400, "INVALID_ARGUMENT", "The page token is invalid.")
        page, at = {}, int(at)
        if "pageSize" in self.query and at + 1 < len(found):
            page, found = {"nextPageToken": f"{self.key}/{at + 1}"}, found[at:at + 1]
        return self.answer(200, {kind: found[at if not page else 0:], **page} if found else {})

    def one(self, name, method, content):
        google = self.server.google
        if name.startswith("models/") and "/operations/" not in name:
            return self.answer(200, {"name": name, "displayName": name})
        whole = "/".join(name.split("/")[:2])
        if name not in google.things and whole != name and google.owner(whole) == self.key:
            return self.answer(200, {} if self.command == "GET" or method else {"id": secrets.token_hex(4)})    # a part
        if google.owner(name) not in (self.key, ANYBODY):
            return self.not_there(name.split("/")[0])
        if self.command == "DELETE":
            if google.owner(name) != ANYBODY:
                del google.things[name]
            return self.answer(200, {})
        thing = google.things[name][1]
        if self.command == "PATCH":
            thing.update(content)
        if method == "download":
            return self.answer(302, None, [("Location", google.elsewhere or f"{google.url}/download/v1beta/{name}:download?alt=media")])
        if "fields" in self.query:
            thing = {member: thing[member] for member in self.query["fields"].split(",")}
        return self.answer(200, {} if method else {**thing, **self.results(name)})

    def results(self, name):
        """What an operation has made by now."""
        made = f"files/of-{name.split('/')[-1]}"
        if name.startswith("batches/"):
            self.server.google.put(made, self.key, {"name": made})
            return {"done": True, "response": {"responsesFile": made}}
        if name.startswith("models/"):
            self.server.google.put(made, self.key, {"name": made})
            video = {"uri": f"{self.server.google.url}/v1beta/{made}:download?alt=media"}
            return {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [{"video": video}]}}}
        return {}

    def download(self, name):
        """Where Google sends downloads on to."""
        if self.server.google.owner(name) not in (self.key, ANYBODY):
            return self.not_there(name.split("/")[0])
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"bytes")

    def model_call(self, model, method, content, body):
        google = self.server.google
        for name in re.findall(rb'"(?:[^"]*/v1beta/)?((?:files|cachedContents|fileSearchStores)/[^"/:]+)[":]', body.replace(b"\\/", b"/")):
            if google.owner(name.decode()) != self.key:
                return self.not_there("File " + name.decode())
        if method == "predictLongRunning":
            name = f"models/{model}/operations/{secrets.token_hex(6)}"
            return self.answer(200, google.put(name, self.key, {"name": name}))
        if method == "batchGenerateContent":
            if self.server.google.fault == "exhausted":
                return self.refuse(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.")
            name = f"batches/{secrets.token_hex(6)}"
            return self.answer(200, google.put(name, self.key, {"name": name, "done": False}))
        content = {"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}],
                   "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2}}
        if self.query.get("alt") == "sse":
            return self.stream(content)
        return self.answer(200, content)

    def stream(self, *events):
        body = b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # ---- uploads

    def upload(self, target):
        """target: files, or a store with its method."""
        google = self.server.google
        protocol = self.headers.get("X-Goog-Upload-Protocol") or self.query.get("uploadType") or ""
        if "upload_id" in self.query:
            return self.chunk(google.uploads.get(self.query["upload_id"]))
        if not self.key:
            self.body()
            return self.refuse(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if protocol == "multipart":
            return self.multipart()
        store = target.partition(":")[0] if target != "files" else None
        meta = json.loads(self.body() or b"{}").get("file", {})
        if store and google.owner(store) != self.key:
            return self.not_there(store)
        made = secrets.token_hex(12)
        mime = self.headers.get("X-Goog-Upload-Header-Content-Type") or self.headers.get("X-Upload-Content-Type")
        google.uploads[made] = Upload(self.key, meta, mime, store)
        if protocol == "resumable" and "uploadType" in self.query:
            return self.answer(200, None, [
                ("Location", f"{google.url}{google.prefix}/upload/v1beta/{target}?uploadType=resumable&upload_id={made}")])
        return self.answer(200, None, [
            ("X-Goog-Upload-URL", f"{google.url}{google.prefix}/upload/v1beta/{target}?upload_id={made}&upload_protocol=resumable"),
            ("X-Goog-Upload-Control-URL", f"{google.url}{google.prefix}/upload/v1beta/{target}?upload_id={made}&upload_protocol=resumable"),
            ("X-GUploader-UploadID", made), ("X-Goog-Upload-Status", "active"),
            ("X-Goog-Upload-Chunk-Granularity", str(GRANULARITY))])

    def file_made(self, upload):
        google = self.server.google
        name = f"files/{secrets.token_hex(6)}"
        shown = upload.meta.get("display_name") or upload.meta.get("displayName")
        meta = {"displayName": shown} if shown else {}
        return google.put(name, upload.key, {
            **meta, "name": name, "mimeType": upload.mime or upload.meta.get("mimeType"), "sizeBytes": str(upload.size),
            "createTime": clock(0), "updateTime": clock(0), "expirationTime": clock(self.server.google.life),
            "sha256Hash": upload.hash.hexdigest(), "uri": f"{google.url}/v1beta/{name}", "state": "ACTIVE"})

    def chunk(self, upload):
        if self.server.google.fault:
            return self.fail(self.server.google.fault)
        command = self.headers.get("X-Goog-Upload-Command", "")
        if upload is None:
            self.body()
            return self.refuse(404, "NOT_FOUND", "no such upload")
        if self.command == "PUT":
            return self.put_range(upload)
        if command == "query":
            self.body()
            return self.answer(200, None, [("X-Goog-Upload-Status", "final" if upload.done else "active"),
                                           ("X-Goog-Upload-Size-Received", str(upload.size))])
        if command == "cancel":
            self.body()
            upload.done = True
            return self.answer(200, None, [("X-Goog-Upload-Status", "cancelled")])
        if int(self.headers.get("X-Goog-Upload-Offset", 0)) != upload.size:
            self.body()
            return self.refuse(400, "INVALID_ARGUMENT", "wrong offset")
        for piece in self.pieces():
            upload.hash.update(piece)
            upload.size += len(piece)
        if "finalize" not in command:
            return self.answer(200, None, [("X-Goog-Upload-Status", "active")])
        upload.done = True
        return self.answer(200, self.made_of(upload), [("X-Goog-Upload-Status", "final")])

    def put_range(self, upload):
        """The older protocol of google-api-python-client."""
        begin, total = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", self.headers["Content-Range"]).groups()
        if begin and int(begin) != upload.size:
            return self.refuse(400, "INVALID_ARGUMENT", "wrong offset")
        for piece in self.pieces():
            upload.hash.update(piece)
            upload.size += len(piece)
        if upload.size < int(total):
            return self.answer(308, None, [("Range", f"bytes=0-{upload.size - 1}")] if upload.size else [])
        upload.done = True
        return self.answer(200, self.made_of(upload))

    def made_of(self, upload):
        if not upload.store:
            return {"file": self.file_made(upload)}
        name = f"{upload.store}/upload/operations/{secrets.token_hex(6)}"
        return self.server.google.put(name, upload.key, {"name": name, "done": True, "response": {
            "documentName": f"{upload.store}/documents/d1", "sha256": upload.hash.hexdigest()}})

    def fail(self, how):
        """No answer: at once, or ever; or one that names the key."""
        self.body()
        if how == "suspended":
            return self.refuse(403, "PERMISSION_DENIED", f"Permission denied: Consumer 'api_key:{self.key}' has been suspended.")
        if how == "hang":
            self.server.google.ended.wait(30)
        self.close_connection = True

    def multipart(self):
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
        parts = self.body().split(b"--" + boundary)
        meta, content = (part.split(b"\r\n\r\n", 1) for part in parts[1:3])
        upload = Upload(self.key, json.loads(meta[1]).get("file", {}),
                        re.search(rb"(?i)content-type: *([^\r\n]+)", content[0])[1].decode())
        upload.hash.update(content[1][:-2])
        upload.size = len(content[1]) - 2
        return self.answer(200, {"file": self.file_made(upload)})


class Google:
    """Runs until stop(); with a TLS context it speaks https."""

    life = 48 * 3600        # seconds that a file stays

    def __init__(self, tls=None, host="127.0.0.1"):
        self.lock, self.calls, self.things, self.uploads = threading.Lock(), [], {}, {}
        self.prefix = ""        # of a proxy of one's own
        self.elsewhere = None   # where downloads are sent on to, when it is not here
        self.running = 0        # requests whose end has not come
        self.fault, self.ended = None, threading.Event()     # "close", "hang" or "suspended" where bytes come, "exhausted" for batches and caches, "lost" for every answer
        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.server.google = self
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.origin_host = host
        self.url = f"{'https' if tls else 'http'}://{self.origin_host}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def put(self, name, key, content):
        self.things[name] = (key, content)
        return content

    def owner(self, name):
        return self.things.get(name, (None,))[0]

    def reset(self):
        with self.lock:
            self.calls.clear()

    def stop(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
