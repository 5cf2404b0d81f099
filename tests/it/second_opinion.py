"""Drives the API by docker-py: images, containers, streams, exec, events, errors."""

import datetime
import sys

import docker

client = docker.from_env(timeout=60)
assert client.ping()
assert client.version()["ApiVersion"] == client.api._version

with open(sys.argv[1], "rb") as archive:
    (image,) = client.images.load(archive)
assert image.tags == ["busybox:latest"], image.tags
assert [i.id for i in client.images.list()] == [image.id]
assert image.history()[0]["Created"] > 0
image.tag("second", "2")
assert client.images.get("second:2").id == image.id
client.images.remove("second:2")

assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    raise AssertionError("no error")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and error.stderr == b"bad\n", error
try:
    client.containers.get("nobody")
    raise AssertionError("no error")
except docker.errors.NotFound as error:
    assert error.explanation == "No such container: nobody", error.explanation
try:
    client.containers.run("no-such-image:1", "true")
    raise AssertionError("no error")
except (docker.errors.ImageNotFound, docker.errors.APIError):
    pass

started = datetime.datetime.now(datetime.timezone.utc)
box = client.containers.run(
    "busybox", "sh -c 'echo one; echo two >&2; exec sleep 1000'", detach=True, name="box",
    environment={"A": "b c"}, labels={"x": "y"}, working_dir="/tmp", network_mode="none",
    tmpfs={"/scratch": "size=1m"}, read_only=True, cap_drop=["ALL"], mem_limit=None, user="alice", hostname="h",
)
assert box.status in ("created", "running") and box.name == "box" and box.labels == {"x": "y"}
for line in box.logs(stream=True, follow=True):
    assert line == b"one\n" or line == b"two\n", line
    break
created = datetime.datetime.fromisoformat(box.attrs["Created"][:19] + "+00:00")
assert abs((created - started).total_seconds()) < 60
code, output = box.exec_run(["sh", "-c", "echo $A; pwd; id -un; hostname; exit 4"])
assert (code, output) == (4, b"b c\n/tmp\nalice\nh\n"), (code, output)
code, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
assert (code, out, err) == (0, b"out\n", b"err\n")
stream = box.exec_run("echo streamed", stream=True).output
assert b"".join(stream) == b"streamed\n"
socket = client.api.exec_start(client.api.exec_create(box.id, "cat", stdin=True)["Id"], socket=True)
socket._sock.sendall(b"typed\n")
socket._sock.shutdown(1)
data = b""
while chunk := socket._sock.recv(4096):
    data += chunk
assert data[8:] == b"typed\n", data
assert any("sleep" in " ".join(row) for row in box.top()["Processes"])
assert [c.name for c in client.containers.list(filters={"label": "x=y"})] == ["box"]
box.rename("crate")
box.reload()
assert box.name == "crate"
box.stop(timeout=0)
assert box.wait()["StatusCode"] == 137
box.restart(timeout=0)
box.reload()
assert box.status == "running"
for number, line in enumerate(box.logs(stdout=True, stderr=False, stream=True, follow=True)):
    assert line == b"one\n", line
    if number == 1:
        break
box.kill()
assert box.logs(stdout=True, stderr=False) == b"one\none\n"
box.remove()
assert client.containers.list(all=True) == []

interactive = client.containers.create("busybox", "cat", stdin_open=True)
socket = interactive.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
interactive.start()
socket._sock.sendall(b"piped\n")
data = socket._sock.recv(14)
while len(data) < 14:
    data += socket._sock.recv(14 - len(data))
assert data[8:] == b"piped\n", data
interactive.remove(force=True)

info = client.info()
assert info["Containers"] == 0 and info["Images"] == 1 and info["MemTotal"] > 0
assert client.df()["Images"][0]["Id"] == image.id
assert client.containers.prune()["ContainersDeleted"] in (None, [])
client.images.remove("busybox", force=True)
assert client.images.list() == []
print("agreed")
