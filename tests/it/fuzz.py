"""Drives the API by its own description: schemathesis makes requests of every operation, right and wrong ones.

    fuzz.py SOCKET OPENAPI SECONDS [SEED]

No answer may be a 5xx (but the 501 of what is not there yet), every answer has to fit the document, and no
connection may break. What the requests name are, half of the time, containers and images that exist.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

#: Some answer only when something happens, which may be never; a swarm's all say the same; registries fail as they like,
#: and a push says several JSON values under the type of one.
LEFT_OUT = "/wait$|/attach$|^/events$|/logs$|/start$|^/auth$|^/distribution/|^/images/search$|/push$|^/(swarm|nodes|services|tasks|secrets|configs|plugins)"

HOOKS = '''
import random
import schemathesis

NAMES = {"id": ["running", "created", "ended", "gone"], "name": ["busybox", "busybox:latest", "second:2", "gone"]}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for key in path_parameters or {}:
        if key in NAMES and random.random() < 0.7:
            path_parameters[key] = random.choice(NAMES[key])
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    # An image that exists, so that a creation goes further than to its absence.
    if isinstance(body, dict) and "Image" in body and random.random() < 0.7:
        body["Image"] = "busybox"
        if isinstance(body.get("HostConfig"), dict):
            body["HostConfig"].pop("Binds", None)
    return body


@schemathesis.serializer("application/x-tar")
def tar(context, value):
    """Seldom an archive at all."""
    raw = context.case.body if isinstance(context.case.body, bytes) else repr(value).encode()
    return random.choice([raw, raw[:512].ljust(1024, bytes(1)), b""])


@schemathesis.check
def no_failure_of_ours(ctx, response, case):
    # A pull fails with the registry that it names.
    if case.path == "/images/create" and response.status_code == 500:
        return
    if response.status_code >= 500 and response.status_code != 501:
        raise AssertionError(f"{response.status_code}: {response.text}")
'''


def pipe(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def bridge(path):
    """A port on loopback for the socket: schemathesis speaks TCP only."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            for ends in (client, server), (server, client):
                threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def replenish(path):
    """What the requests have removed is there again soon."""

    def call(request, body=None):
        connection = Connection(path)
        connection.request("POST", request, json.dumps(body or {}), {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.close()

    while True:
        for name, program in ("running", ["sleep", "1000"]), ("created", ["true"]), ("ended", ["true"]):
            body = {"Image": "busybox", "Cmd": program, "HostConfig": {"NetworkMode": "none"}}
            call(f"/containers/create?name={name}", body)
            if name != "created":
                call(f"/containers/{name}/start")
        call("/images/busybox/tag?repo=second&tag=2")
        time.sleep(0.3)


def main():
    path, document, seconds = sys.argv[1:4]
    seed = sys.argv[4] if len(sys.argv) > 4 else "1"
    threading.Thread(target=replenish, args=[path], daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/fuzz_hooks.py", "w") as file:
            file.write(HOOKS)
        with open(document) as source, open(f"{folder}/openapi.json", "w") as file:
            json.dump(json.load(source), file)
        python_path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        command = [
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", f"{folder}/openapi.json", "--url", f"http://127.0.0.1:{bridge(path)}",
            "--phases", "coverage,fuzzing", "--max-time", seconds, "--seed", seed, "--continue-on-failure",
            "--checks", "no_failure_of_ours,response_schema_conformance", "--exclude-path-regex", LEFT_OUT,
            "--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off", "--no-color",
        ]
        environment = {**os.environ, "PYTHONPATH": python_path, "SCHEMATHESIS_HOOKS": "fuzz_hooks"}
        sys.exit(subprocess.run(command, env=environment, cwd=folder).returncode)


if __name__ == "__main__":
    main()
