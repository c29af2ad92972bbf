"""
Runs a libvirtd of its own and measures calls to it, for bench/peers/libvirt.ts.

To be started in mount, network and process namespaces of its own, so that nothing of it is seen outside and
nothing of it stays: what it keeps is in memory file systems, and the end of this process ends all of it.
Reads one JSON request a line, {"op": ..., "name": ...}, and answers each with {"ms": ...} or {"error": ...}.
Only the call to libvirt is measured.
"""

import json
import os
import subprocess
import sys
import time

import libvirt

DIRECTORIES = ["/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"]


def add_line(path, line):
    """Adds a line to a file in this mount namespace alone."""
    copy = "/run/libvirt/" + os.path.basename(path)
    with open(path) as source, open(copy, "w") as target:
        target.write(source.read() + line + "\n")
    subprocess.run(["mount", "--bind", copy, path], check=True)


def start_daemon():
    for directory in DIRECTORIES:
        os.makedirs(directory, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    # The user that the distribution's package would have made; its guests run as root, as this bench does.
    add_line("/etc/passwd", "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin")
    add_line("/etc/group", "libvirt-qemu:x:64055:")
    with open("/etc/libvirt/qemu.conf", "w") as file:
        file.write('user = "root"\ngroup = "root"\nstdio_handler = "file"\n')
    with open("/etc/libvirt/libvirtd.conf", "w") as file:
        file.write('auth_unix_ro = "none"\nauth_unix_rw = "none"\n')
    log = open("/var/log/libvirt/stderr", "w")
    return subprocess.Popen(["libvirtd", "--pid-file", "/run/libvirt/bench.pid"], stdout=log, stderr=log)


def connect(daemon):
    deadline = time.monotonic() + 30
    while True:
        try:
            return libvirt.open("qemu:///system")
        except libvirt.libvirtError:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def resident_mb(daemon):
    with open(f"/proc/{daemon.pid}/status") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    return kib * 1024 / 1e6


def start_network(connection, xml):
    """The time of net-start alone; the network is gone again afterwards."""
    network = connection.networkDefineXML(xml)
    try:
        started = time.perf_counter()
        network.create()
        taken = (time.perf_counter() - started) * 1000
        network.destroy()
        return taken
    finally:
        network.undefine()


def measure(connection, daemon, request):
    op = request["op"]
    if op == "memory":
        return resident_mb(daemon)
    if op == "network":
        return start_network(connection, request["xml"])
    if op in ("start", "destroy", "info", "xml", "undefine"):
        domain = connection.lookupByName(request["name"])
    calls = {
        "define": lambda: connection.defineXML(request["xml"]),
        "undefine": lambda: domain.undefine(),
        "start": lambda: domain.create(),
        "destroy": lambda: domain.destroy(),
        "info": lambda: domain.info(),
        "xml": lambda: domain.XMLDesc(),
        "list": lambda: [entry.name() for entry in connection.listAllDomains()],
        "stats": lambda: connection.getAllDomainStats(),
        "version": lambda: connection.getLibVersion(),
    }
    count = request.get("count", 1)
    started = time.perf_counter()
    for _ in range(count):
        calls[op]()
    return (time.perf_counter() - started) * 1000 / count


def main():
    libvirt.registerErrorHandler(lambda *_: None, None)
    daemon = start_daemon()
    try:
        connection = connect(daemon)
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            try:
                answer = {"ms": measure(connection, daemon, json.loads(line))}
            except Exception as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.destroy()
        connection.close()
    finally:
        daemon.terminate()
        daemon.wait(timeout=20)


def reap_until_gone(worker):
    """As the first process of its namespace, this one is the parent of all that libvirtd leaves behind."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


worker = os.fork()
if worker:
    sys.exit(reap_until_gone(worker))
main()
