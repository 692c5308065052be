"""Runs in a container: holds a state that memory, a file and the network must tell alike.

Each word it is told changes 64 pages of memory, a digest over all words so far, and a file that it opened once and keeps
open. It answers on a TCP port, a line of JSON for a line of JSON. Arguments: PORT FILE (absolute; - for no file).
"""

import hashlib
import json
import os
import socket
import sys

PAGES, PAGE = 64, 4096
port, path = int(sys.argv[1]), sys.argv[2]
heap = bytearray(PAGES * PAGE)
words = []
digest = hashlib.sha256()
log = open(path, "w+") if path != "-" else None


def hear(word):
    words.append(word)
    digest.update(word.encode())
    for page in range(PAGES):
        heap[page * PAGE : page * PAGE + 32] = digest.digest()
    if log:
        log.seek(0, os.SEEK_END)
        log.write(f"{word} {digest.hexdigest()}\n")
        log.flush()


def told():
    text = None
    if log:
        log.seek(0)
        text = log.read()
    pages = {bytes(heap[page * PAGE : page * PAGE + 32]) for page in range(PAGES)}
    return {"words": words, "digest": digest.hexdigest(), "heap": pages == {digest.digest()}, "file": text,
            "pid": os.getpid(), "hostname": socket.gethostname()}


# It must not matter to a rewind that a client is gone: each connection is one question.
server = socket.create_server(("", port), reuse_port=False)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    with connection:
        line = connection.makefile().readline()
        if line.strip():
            hear(json.loads(line)["say"])
        connection.sendall(json.dumps(told()).encode())
