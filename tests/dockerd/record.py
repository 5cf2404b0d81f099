"""What an engine answers to the requests of requests.json, as facts: statuses, headers, members, types, texts.

    record.py record SOCKET > facts.json    of a dockerd without containers, images and networks of its own
    record.py compare SOCKET                of pierless, held against facts.json and differences.json; exits 1 if
                                            something differs that is not explained there, or no longer differs

What no two runs have in common (ids, times, addresses, sizes) is replaced by a word for its kind. Only Python's own
library is needed.
"""

import fnmatch
import io
import json
import os
import pathlib
import re
import socket
import sys
import tarfile
import time
import urllib.parse

HERE = pathlib.Path(__file__).parent
NEWEST = "1.51"
GUARD = 60
# Headers that are facts. What is about the connection or the clock is not.
HEADERS = ("content-type", "upgrade", "location")
# Those that every answer has: asked for with "headers".
COMMON = ("api-version", "builder-version", "docker-experimental", "ostype", "swarm", "cache-control", "pragma")
# Members whose value is of one run or one machine only: their type is the fact.
VARYING = ("Pid", "Size", "SizeRw", "SizeRootFs", "SharedSize", "VirtualSize", "LayersSize", "SpaceReclaimed", "size",
           "UniqueSize", "time", "timeNano", "SystemTime", "current", "total", "execDuration", "reclaimed")


def layer(*entries):
    """A tar archive of (name, mode, content); content None is a directory, a string starting with -> a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, mode, content in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, 1_700_000_000
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("->")
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def sha256(data):
    import hashlib
    return hashlib.sha256(data).hexdigest()


def image(tags, config, *layers, **more):
    """A docker-archive of one image."""
    history = [{"created": "2026-01-02T03:04:05Z", "created_by": f"layer {n}"} for n in range(len(layers))]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05.123456789Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(one) for one in layers]}, "history": history,
    } | more).encode()
    names = [f"{sha256(one)}/layer.tar" for one in layers]
    manifest = [{"Config": f"{sha256(config)}.json", "RepoTags": tags, "Layers": names}]
    entries = [(f"{sha256(config)}.json", 0o644, config), *[(n, 0o644, one) for n, one in zip(names, layers)]]
    return layer(*entries, ("manifest.json", 0o644, json.dumps(manifest).encode()))


def archives():
    """The bodies that requests name."""
    program = next(path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path))
    links = ["sh", "cat", "echo", "true", "false", "sleep", "ls", "stty", "id", "env", "kill", "pwd", "trap"]
    base = layer(
        *[(name, 0o755, None) for name in ("bin", "dev", "etc", "proc", "sys", "root", "home", "data")],
        ("tmp", 0o1777, None),
        ("bin/busybox", 0o755, pathlib.Path(program).read_bytes()),
        *[(f"bin/{name}", 0o777, "->busybox") for name in links],
        ("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n"),
        ("etc/group", 0o644, b"root:x:0:\nalice:x:1000:\n"),
        ("etc/plain", 0o644, b"not a program\n"),
        ("etc/broken", 0o755, b"\x7fELF but not really one"),
    )
    env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    rich = {"Env": env + ["B=2", "A=1"], "Cmd": ["-c", "true"], "Entrypoint": ["sh"], "Labels": {"z": "1", "y": ""},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "User": "alice", "WorkingDir": "/data",
            "StopSignal": "SIGUSR1", "OnBuild": ["RUN true"], "Shell": ["/bin/sh", "-c"]}
    busybox = image(["busybox:latest"], {"Env": env, "Cmd": ["sh"]}, base)
    return {
        "busybox": busybox,
        "rich": image(["rich:1", "example.com:5000/team/rich:2"], rich, base, layer(("data/x", 0o644, b"x\n")),
                      created="2026-01-01T03:04:05Z", author="A. Uthor", comment="a comment", docker_version="20.10"),
        "base": base,
        "empty": b"",
        "text": b"this is no archive\n" * 100,
        "torn": busybox[:100_000],
        "stray": layer(("hello", 0o644, b"hello\n")),
        "no-config": layer(("manifest.json", 0o644, b'[{"Config":"x.json","RepoTags":["x:1"],"Layers":[]}]')),
        "bad-manifest": layer(("manifest.json", 0o644, b"{")),
        "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 40,
    }


class Reply:
    """A response: its head, and its body read to the end."""

    def __init__(self, sock, method, give, hold):
        self.file = sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while line := self.file.readline().strip():
            name, value = line.decode().split(":", 1)
            self.headers[name.lower()] = value.strip()
        if give is not None:
            try:
                sock.sendall(give)
                if self.status in (101, 200) and not hold:
                    sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The other end said all it had to and has gone.
        self.body = b"" if method == "HEAD" or self.status in (204, 304) else self.read()

    def read(self):
        if self.headers.get("transfer-encoding") == "chunked":
            whole = b""
            while size := int(self.file.readline(), 16):
                whole += self.file.read(size)
                self.file.readline()
            return whole
        length = self.headers.get("content-length")
        return self.file.read(int(length)) if length else self.file.read()


class Engine:
    """An engine behind a socket, and what was learned of it on the way."""

    def __init__(self, path):
        self.path, self.bodies, self.names = path, archives(), {}

    def ask(self, step):
        method, target = self.fill(step["do"]).split(" ", 1)
        started = self.fill("{now}")
        if step.get("version") != "none":
            target = f"/v{step.get('version', NEWEST)}{target}"
        target = urllib.parse.quote(target, safe="/?&=%:+@,~")
        lines = [f"{method} {target} HTTP/1.1", "Host: docker"]
        body = self.bodies[step["archive"]] if "archive" in step else None
        if "body" in step:
            body = self.fill(json.dumps(step["body"])).encode()
        if "text" in step:
            body = step["text"].encode()
        kind = step.get("type", "application/x-tar" if "archive" in step else "application/json")
        if kind and (body is not None or "type" in step):
            lines.append(f"Content-Type: {kind}")
        if body is not None or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body or b'')}")
        upgrade = "stdin" in step and step.get("upgrade", True)
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        lines += [] if "stdin" in step else ["Connection: close"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(GUARD)
            sock.connect(self.path)
            try:
                sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
            except BrokenPipeError:
                pass  # Refused before all was sent: the answer is there.
            reply = Reply(sock, method, step["stdin"].encode() if "stdin" in step else None, step.get("hold"))
        if "mark" in step:
            self.names[step["mark"]] = started
        for name, member in step.get("save", {}).items() if reply.status < 300 else ():
            self.names[name] = json.loads(reply.body)[member]
        return reply

    def fill(self, text):
        """`{name}` is what an earlier step saved, `{now}` the clock, `{soon}` the clock when all events are told."""
        clock = lambda ahead: "%d.%09d" % divmod(time.time_ns() + ahead, 10**9)
        values = self.names | {"now": clock(0), "soon": clock(300_000_000)}
        return re.sub(r"\{([a-z_]+)(?::(\d+))?\}", lambda m: values[m[1]][:int(m[2] or 99)], text)


WORDS = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"docker-import-\d+"), "docker-import-<number>"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<short id>"),
    (re.compile(r"/[^ :\"]*/(?=(containers|overlay2|images/layers)/<id>)"), "<root>/"),
]
NEVER = "0001-01-01T00:00:00Z"


def plain(text):
    """A text without what is of one run only."""
    if text == NEVER:
        return text
    for pattern, word in WORDS:
        text = pattern.sub(word, text)
    return text


def fact(value, types, path=""):
    """A JSON value as a fact."""
    if isinstance(value, dict):
        return {plain(name): fact(one, types, f"{path}.{plain(name)}".lstrip(".")) for name, one in value.items()}
    if isinstance(value, list) and not matches(path, types):
        if path.endswith("Mounts"):  # They come out of a map.
            value = sorted(value, key=lambda mount: mount.get("Destination") or mount.get("Target"))
        return [fact(one, types, f"{path}.{n}".lstrip(".")) for n, one in enumerate(value)]
    name = path.rsplit(".", 1)[-1]
    if matches(path, types) or (name in VARYING and value not in (0, -1, "<absent>")):
        return f"<{type(value).__name__}>"
    return plain(value) if isinstance(value, str) else value


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def select(value, paths):
    """Of an object the members at these paths; of a list those of each of its objects."""
    if isinstance(value, list):
        return [select(one, paths) for one in value]
    chosen = {}
    for path in paths:
        here = value
        for name in path.split("."):
            here = here.get(name, "<absent>") if isinstance(here, dict) else "<absent>"
        chosen[path] = here
    return chosen


def frames(body):
    """What Docker's frames hold, by stream: in which order the two come is chance."""
    out = {}
    while body:
        stream, size = body[0], int.from_bytes(body[4:8], "big")
        if len(body) < 8 or stream > 2:
            return None
        out[str(stream)] = out.get(str(stream), "") + plain(body[8:8 + size].decode(errors="replace"))
        body = body[8 + size:]
    return dict(sorted(out.items()))


def observe(reply, step):
    """The facts of a reply."""
    names = HEADERS + COMMON if step.get("headers") else HEADERS
    facts = {"status": reply.status, **{name: reply.headers[name] for name in names if name in reply.headers}}
    if step.get("only") == []:
        return facts
    text, types = reply.body.decode(errors="replace"), step.get("types", ())
    if "stream" in reply.headers.get("content-type", "") and "json" not in reply.headers["content-type"]:
        parts = frames(reply.body)
        facts["text" if parts is None else "frames"] = plain(text) if parts is None else parts
    elif "json" in reply.headers.get("content-type", "") and text.strip():
        values, decoder = [], json.JSONDecoder()
        while text := text.strip():
            value, end = decoder.raw_decode(text)
            values.append(value)
            text = text[end:]
        if step.get("events"):
            values = [[[f"{one['Type']} {one['Action']}", one["Actor"]["Attributes"]] for one in values]]
        elif step.get("lines"):
            values = [values]
        value = values[0] if len(values) == 1 else values
        value = select(value, step["only"]) if "only" in step and reply.status < 300 else value
        facts["body"] = fact(value, types)
    elif text:
        facts["text"] = plain(text)
    return facts


def steps():
    """The requests; one with several `versions` is several."""
    for step in json.loads((HERE / "requests.json").read_text()):
        for version in step.get("versions", [None]):
            more = {"version": version, "name": f"{step['name']}@{version}"} if version else {}
            yield step | more


def record(path):
    engine, facts = Engine(path), {}
    for step in steps():
        try:
            reply = engine.ask(step)
            limit = time.monotonic() + GUARD
            while any(reply.body.count(text.encode()) < n for text, n in step.get("until", {}).items()):
                assert time.monotonic() < limit, f"{step['name']}: {reply.body}"
                time.sleep(0.02)
                reply = engine.ask(step)
            seen = observe(reply, step)
        except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
            sys.exit(f"{step['name']}: {type(error).__name__}: {error}; {locals().get('reply') and reply.body[:500]}")
        assert step["name"] not in facts, f"{step['name']} is there twice"
        if not step.get("setup"):
            facts[step["name"]] = seen
    return facts


def leaves(theirs, ours, path=""):
    """Where two facts differ: (path, theirs, ours)."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *[name for name in ours if name not in theirs]]:
            here = f"{path}.{name}".lstrip(".")
            yield from leaves(theirs.get(name, "<absent>"), ours.get(name, "<absent>"), here)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for n, pair in enumerate(zip(theirs, ours)):
            yield from leaves(*pair, f"{path}.{n}".lstrip("."))
    elif theirs != ours or type(theirs) is not type(ours):
        yield path, theirs, ours


def summary(facts):
    """A status, and the message if it is a failure."""
    body = facts.get("body")
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join([str(facts["status"]), *([message] if message else [])])


def differences(theirs, ours):
    """Where pierless differs: (request, member, theirs, ours)."""
    assert list(theirs) == list(ours), "facts.json is not of these requests: record it again"
    for name in theirs:
        pair = theirs[name], ours[name]
        if pair[0]["status"] != pair[1]["status"]:  # One success and one failure have nothing in common.
            pair = tuple({"status": summary(one)} for one in pair)
        for path, want, have in leaves(*pair):
            yield name, path, want, have


def compare(theirs, ours, known):
    """Sentences about what is not as it should be."""
    used, problems = set(), []
    for name, path, want, have in differences(theirs, ours):
        explained = [(n, "requests", one, "members", other)
                     for n, entry in enumerate(known)
                     for one in entry["requests"] if fnmatch.fnmatchcase(name, one)
                     for other in entry["members"] if fnmatch.fnmatchcase(path, other)]
        for n, *globs in explained:
            used |= {(n, *globs[:2]), (n, *globs[2:])}
        if not explained:
            problems.append(f"{name}: {path}: dockerd {json.dumps(want)}, pierless {json.dumps(have)}")
    return problems + [
        f"differs no longer, so take {json.dumps(glob)} out of the {kind} of {json.dumps(entry['why'])}"
        for n, entry in enumerate(known) for kind in ("requests", "members") for glob in entry[kind]
        if (n, kind, glob) not in used]


def show(facts):
    """One request a line, so that a change is seen where it is."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(seen)}" for name, seen in facts.items())
    return f"{{\n{lines}\n}}\n"


def main():
    verb, path = sys.argv[1:]
    facts = record(path)
    if verb == "record":
        sys.stdout.write(show(facts))
        return
    load = lambda name: json.loads((HERE / name).read_text())
    problems = compare(load("facts.json"), facts, load("differences.json"))
    print("\n".join(problems) or f"{len(facts)} answers are as known")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
