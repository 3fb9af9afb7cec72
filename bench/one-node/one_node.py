#!/usr/bin/env python3
"""What one node does on this machine, and what it costs: beside PostgreSQL, at ten times the size, and in memory.

    cargo build --release -p highwater-server -p highwater-bench
    bench/one-node/one_node.py beside            # durable inserts, point selects, messages; PostgreSQL 15 under pgbench in turns
    bench/one-node/one_node.py growth            # the same at ten times the rows, users and topics
    bench/one-node/one_node.py memory            # idle connections, a large answer to a slow reader, many statements

Every command starts its own servers with empty folders and ends them. `--write` puts the tables into docs/internals/one-node.md.
`beside` needs PostgreSQL (Debian: postgresql-15) and, as root, its user "postgres"; `--connections` and `--seconds` make it shorter.
Nothing else should run; what other processes took of the CPUs is printed beside each figure.
"""

import argparse
import http.client
import json
import mmap
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TICK = os.sysconf("SC_CLK_TCK")
PASSWORD = "a password for one run"
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/internals/one-node.md"


def cpu_of(pid, with_ended=False):
    """CPU seconds of a process so far; with those of its ended children."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if with_ended else 13])) / TICK


def cpu_of_machine():
    """CPU seconds that all processes of the machine had so far."""
    with open("/proc/stat") as file:
        return sum(map(int, file.readline().split()[1:4])) / TICK


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(pid):
    """Resident memory in MiB."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def device_written():
    """Bytes written and flushes of all disks so far."""
    written, flushes = 0, 0
    for disk in pathlib.Path("/sys/block").iterdir():
        if disk.name.startswith(("loop", "zram", "ram", "dm-")):
            continue
        fields = (disk / "stat").read_text().split()
        written += int(fields[6]) * 512
        flushes += int(fields[15]) if len(fields) > 15 else 0
    return written, flushes


def sync_rate(folder, seconds, direct):
    """Synchronous writes per second that the disk does one after the other: 4 KiB over blocks that were written before, direct; or
    8 KiB and fdatasync, through the page cache."""
    path, size = os.path.join(folder, "sync"), 16 << 20
    with open(path, "wb") as file:
        file.write(b"\1" * size)
        os.fsync(file.fileno())
    block = 4096 if direct else 8192
    buffer = mmap.mmap(-1, block)
    buffer.write(b"\2" * block)
    file = os.open(path, os.O_WRONLY | ((os.O_DIRECT | os.O_DSYNC) if direct else 0))
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        os.pwrite(file, buffer, count * block % size)
        if not direct:
            os.fdatasync(file)
        count += 1
    os.close(file)
    os.unlink(path)
    return count / seconds


class Highwater:
    name = "Highwater"

    def __init__(self, args, folder, *settings):
        self.args, self.folder = args, folder
        command = [f"{args.bin}/highwaterd", "--data-dir", f"{folder}/highwater", "--http-addr", "127.0.0.1:0",
                   "--root-password", PASSWORD, "--set", "auth.scram_iterations=4096", *settings, *args.set]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HIGHWATER_")}
        self.log = open(f"{folder}/highwater.log", "w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment, text=True)
        self.url = None
        for line in self.process.stdout:
            if line.strip().startswith("HTTP"):
                self.url = line.split()[1]
            if line.startswith("  stop"):
                break
        if self.url is None:
            sys.exit(f"highwaterd did not start; its log is {folder}/highwater.log")
        self.port = int(self.url.rsplit(":", 1)[1])
        self.pid = self.process.pid
        self.token = self.post("/v1/api/auth/login", {"user": "root", "password": PASSWORD})["access_token"]

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        if getattr(self, "token", None):
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request, timeout=120))

    def sql(self, sql, params=None):
        return self.post("/v1/api/sql", {"sql": sql} | ({"params": params} if params else {}))

    def metric(self, name):
        text = urllib.request.urlopen(self.url + "/metrics").read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", text, re.M))

    def load(self, *arguments):
        command = [f"{self.args.bin}/highwater-load", "--url", self.url, "--password", PASSWORD, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
        return json.loads(done.stdout) if "--json" in arguments else None

    def cpu(self):
        return cpu_of(self.pid)

    def syncs(self):
        return self.metric("highwater_syncs_total")

    def setup(self, rows, users=1, namespace="load"):
        self.load("--setup", "--rows", rows, "--users", users, "--namespace", namespace)

    def run(self, kind, connections, seconds, rows, users=1, namespace="load", more=()):
        out = self.load(kind, "--connections", connections, "--seconds", seconds, "--warmup", 1, "--rows", rows, "--users",
                        users, "--namespace", namespace, "--json", *more)
        return out["operations"], out["measured_seconds"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Postgres:
    """PostgreSQL as /usr/lib has it, durable, with room for what is measured; pgbench is its client."""

    name = "PostgreSQL"

    def __init__(self, args, folder):
        self.args, self.bin = args, args.postgres
        self.folder = f"{folder}/postgres"
        os.mkdir(self.folder)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            os.chmod(folder, 0o755)
        self.port = free_port()
        self.as_owner(f"{self.bin}/initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "postgres")
        with open(f"{self.folder}/data/postgresql.conf", "a") as file:
            file.write(f"listen_addresses='127.0.0.1'\nport={self.port}\nunix_socket_directories='{self.folder}'\n"
                       "shared_buffers=2GB\nmax_wal_size=8GB\nmax_connections=300\nsynchronous_commit=on\nfsync=on\n"
                       "checkpoint_timeout=15min\n")
        self.as_owner(f"{self.bin}/pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "start")
        self.pid = int(open(f"{self.folder}/data/postmaster.pid").readline())
        for name, text in {
            "put": "\\set k random(1, 9000000000000000000)\nINSERT INTO pairs (id, body) VALUES (:k, '" + "v" * 100 + "');\n",
            "select": "\\set k random(1, :rows)\nSELECT body FROM items WHERE id = :k;\n",
        }.items():
            path = f"{self.folder}/{name}.sql"
            open(path, "w").write(text)
            os.chmod(path, 0o644)

    def as_owner(self, *command):
        if os.geteuid() == 0:
            command = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command)
        environment = os.environ | {"HOME": self.folder, "LC_ALL": "C"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, env=environment)

    def psql(self, sql):
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qAtc", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def setup(self, rows):
        for name in ("items", "pairs"):
            self.psql(f"CREATE TABLE {name} (id bigint PRIMARY KEY, body text NOT NULL)")
        self.psql(f"INSERT INTO items SELECT i, repeat('v', 100) FROM generate_series(1, {rows}) i")
        self.psql("VACUUM ANALYZE items")
        self.psql("CHECKPOINT")

    def cpu(self):
        children = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True).stdout.split()
        alive = 0.0
        for child in children:
            try:
                alive += cpu_of(child)
            except OSError:
                pass
        return cpu_of(self.pid, with_ended=True) + alive

    def syncs(self):
        return float(self.psql("SELECT wal_sync FROM pg_stat_wal"))

    def run(self, kind, connections, seconds, rows, **_):
        log = tempfile.mkdtemp(dir=self.folder)
        command = ["pgbench", "-n", "-M", "prepared", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", str(connections),
                   "-j", "2" if connections > 1 else "1", "-T", str(seconds), "-D", f"rows={rows}", "-f", f"{self.folder}/{kind}.sql",
                   "-l", f"--log-prefix={log}/log", "postgres"]
        if kind == "select":
            command.insert(1, "--sampling-rate=0.1")
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        done = int(re.search(r"actually processed: (\d+)", out)[1])
        latencies = sorted(int(line.split()[2]) for path in pathlib.Path(log).iterdir() for line in open(path))
        shutil.rmtree(log)
        at = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))] / 1e3
        rate = float(re.search(r"tps = ([\d.]+)", out)[1])
        return {kind: {"done": done, "per_second": rate, "milliseconds": {"p50": at(0.5), "p99": at(0.99)}}}, done / rate

    def stop(self):
        self.as_owner(f"{self.bin}/pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "stop")


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def measured(server, kind, connections, seconds, rows, of=None, **more):
    """One measurement, with what it cost. Costs are of warm-up and measurement together, per operation of both."""
    os.sync()
    before = (server.cpu(), cpu_of_children(), cpu_of_machine(), server.syncs(), device_written())
    started = time.monotonic()
    operations, length = server.run(kind, connections, seconds, rows, **more)
    took = time.monotonic() - started
    own, client = server.cpu() - before[0], cpu_of_children() - before[1]
    machine = cpu_of_machine() - before[2]
    syncs, written = server.syncs() - before[3], device_written()
    of = of or kind
    figures = operations[of]
    # The load generator warms up for a second, which costs as much as any other.
    scale = (length + (1 if server.name == "Highwater" else 0)) / length
    done = max(1, figures["done"] * scale)
    foreign = max(0.0, machine - own - client) / took
    return {
        "server": server.name, "kind": of, "connections": connections, "rate": figures["per_second"],
        "p50": figures["milliseconds"]["p50"], "p99": figures["milliseconds"]["p99"],
        "cpu": own / done * 1e6, "client": client / done * 1e6, "syncs": syncs / done,
        "bytes": (written[0] - before[4][0]) / done, "flushes": (written[1] - before[4][1]) / done, "foreign": foreign,
        "errors": sum((figures.get("errors") or {}).values()),
    }


HEAD = ("| | connections | per second | p50 ms | p99 ms | server CPU us | client CPU us | syncs | bytes written | others' CPU |\n"
        "|---|---|---|---|---|---|---|---|---|---|")


def row(it, label=None):
    label = label or f"{it['kind']}, {it['server']}"
    text = (f"| {label} | {it['connections']} | {it['rate']:.0f} | {it['p50']:.3f} | {it['p99']:.3f} | {it['cpu']:.0f} | "
            f"{it['client']:.0f} | {it['syncs']:.3f} | {it['bytes']:.0f} | {it['foreign'] * 100:.0f} % |")
    return text + (f" {it['errors']} errors" if it["errors"] else "")


def show(text, lines):
    print(text, flush=True)
    lines.append(text)


def beside(args, folder):
    lines = []
    ours, theirs = Highwater(args, folder), Postgres(args, folder)
    try:
        ours.setup(args.rows)
        theirs.setup(args.rows)
        rates = [sync_rate(folder, 1.5, True), sync_rate(folder, 1.5, False)]
        show(HEAD, lines)
        for kind in args.kinds.split(","):
            if kind == "consume":
                continue
            for connections in map(int, args.connections.split(",")):
                for server in (ours, theirs):
                    show(row(measured(server, kind, connections, args.seconds, args.rows)), lines)
        if "consume" in args.kinds:
            for producers in (16, 64):
                it = measured(ours, "consume", 4, args.seconds, args.rows, of="deliver",
                              more=("--producers", producers, "--batch", 500))
                show(row(it, f"messages to 4 consumers from {producers} producers, Highwater"), lines)
        rates += [sync_rate(folder, 1.5, True), sync_rate(folder, 1.5, False)]
        show("", lines)
        show(f"The disk alone, one after the other: {rates[0]:.0f} and {rates[2]:.0f} direct synchronous writes of 4 KiB per second before and "
             f"after, {rates[1]:.0f} and {rates[3]:.0f} writes of 8 KiB with fdatasync.", lines)
    finally:
        ours.stop()
        theirs.stop()
    return lines


def growth(args, folder):
    """Both sizes in turns, so that a slower minute of the machine is one of both; medians of the rounds."""
    lines, servers, figures = [], {}, {}
    kinds = ("insert", "put", "update", "select")
    try:
        for times in (1, 10):
            server = servers[times] = Highwater(args, tempfile.mkdtemp(dir=folder))
            # Each further namespace has tables and a topic of its own; the users are the first one's.
            server.setup(args.rows * times, 100 * times)
            for number in range(1, 2 * times):
                server.setup(100, 1, f"load{number}")
        for turn in range(args.rounds):
            for kind in kinds:
                for times, server in servers.items():
                    print(f"{kind}, {times} times, round {turn + 1}", end=" ", flush=True)
                    it = measured(server, kind, 64, args.seconds, args.rows * times, users=100 * times)
                    print(f"{it['rate']:.0f}/s {it['cpu']:.1f} us", flush=True)
                    figures.setdefault((kind, times), []).append(it)
    finally:
        for server in servers.values():
            server.stop()

    def middle(name, kind, times):
        return statistics.median(it[name] for it in figures[kind, times])

    def ratio(name, kind):
        pairs = zip(figures[kind, 10], figures[kind, 1], strict=True)
        return statistics.median(ten[name] / max(1e-9, one[name]) for ten, one in pairs)

    show(HEAD, lines)
    for kind, times in ((kind, times) for times in (1, 10) for kind in kinds):
        it = figures[kind, times][0]
        it = it | {name: middle(name, kind, times) for name in it if not isinstance(it[name], str)}
        show(row(it, f"{kind}, {args.rows * times} rows, {100 * times} users, {2 * times} topics"), lines)
    show("", lines)
    for kind in kinds:
        each = " ".join(f"{ten['cpu'] / one['cpu']:.2f}" for ten, one in zip(figures[kind, 10], figures[kind, 1], strict=True))
        show(f"* {kind}: CPU per operation {ratio('cpu', kind):.2f} times (rounds {each}), median latency {ratio('p50', kind):.2f} times", lines)
    return lines


def settled(pid):
    """Resident memory once it stands still."""
    last = resident(pid)
    for _ in range(20):
        time.sleep(0.5)
        now = resident(pid)
        if abs(now - last) < 0.3:
            return now
        last = now
    return last


def memory(args, folder):
    lines = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Highwater(args, folder)
    try:
        show("| what | resident before, MiB | with it | after it | each |\n|---|---|---|---|---|", lines)
        server.sql("CREATE NAMESPACE m; CREATE TABLE m.t (id BIGINT PRIMARY KEY, body TEXT)")
        head = f"Host: h\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"

        def request(body):
            text = json.dumps(body)
            return f"POST /v1/api/sql HTTP/1.1\r\n{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()

        for _ in range(200):
            server.sql("SELECT body FROM m.t WHERE id = $1", [1])
        before = settled(server.pid)
        for number in range(args.statements):
            server_sql = {"sql": f"SELECT body AS c{number} FROM m.t WHERE id = $1 AND body <> 'text {number}'", "params": [1]}
            if number == 0:
                link = socket.create_connection(("127.0.0.1", server.port))
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.sendall(request(server_sql))
            assert link.recv(4096).startswith(b"HTTP/1.1 200")
        link.close()
        during = settled(server.pid)
        show(f"| {args.statements} statements with parameters, all different | {before:.1f} | {during:.1f} | {during:.1f} | "
             f"{(during - before) * 1024 / args.statements:.1f} KiB |", lines)

        # What every connection did before it fell idle.
        ask = request({"sql": "SELECT body FROM m.t WHERE id = $1", "params": [1]})
        before, sockets = settled(server.pid), []
        for _ in range(args.idle):
            it = socket.create_connection(("127.0.0.1", server.port))
            it.sendall(ask)
            answer = it.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            sockets.append(it)
        during = settled(server.pid)
        for it in sockets:
            it.close()
        after = settled(server.pid)
        show(f"| {args.idle} connections, each idle after one statement | {before:.1f} | {during:.1f} | {after:.1f} | "
             f"{(during - before) * 1024 / args.idle:.1f} KiB |", lines)

        # A table of 100 MB, and a query that makes ten times as much of it.
        rows, width = args.answer // 10_000, 10_000
        for first in range(0, rows, 500):
            values = ", ".join(f"({id}, '{'b' * 1000}')" for id in range(first, min(rows, first + 500)))
            server.sql(f"INSERT INTO m.t VALUES {values}")
        time.sleep(3)
        before, peak, got = settled(server.pid), 0.0, 0
        link = socket.create_connection(("127.0.0.1", server.port))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        link.sendall(request({"sql": f"SELECT id, rpad(body, {width}, 'x') AS wide FROM m.t"}))
        started, looked, tail = time.monotonic(), 0.0, b""
        while True:
            piece = link.recv(1 << 16)
            if not piece:
                break
            got += len(piece)
            tail = (tail + piece)[-64:]
            now = time.monotonic()
            if now - looked > 0.05:
                looked, peak = now, max(peak, resident(server.pid))
            # Slow at first, so that the server is ahead of its reader; then as fast as it goes.
            if now - started < 15:
                time.sleep(0.02)
            if tail.endswith(b"0\r\n\r\n"):
                break
        took = time.monotonic() - started
        link.close()
        after = settled(server.pid)
        show(f"| an answer of {got / 1e9:.2f} GB, read within {took:.0f} s, slowly at first | {before:.1f} | {peak:.1f} | {after:.1f} | |", lines)
    finally:
        server.stop()
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("beside", "growth", "memory"))
    parser.add_argument("--bin", default="target/release", help="folder of highwaterd and highwater-load")
    parser.add_argument("--postgres", default="/usr/lib/postgresql/15/bin", help="folder of initdb and pg_ctl")
    parser.add_argument("--folder", help="where data is kept while it runs (default: the system's temporary folder)")
    parser.add_argument("--connections", default="1,64,256")
    parser.add_argument("--kinds", default="put,select,consume", help="what beside measures")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of growth, both sizes in turns")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--idle", type=int, default=5000, help="connections")
    parser.add_argument("--statements", type=int, default=10_000)
    parser.add_argument("--answer", type=int, default=1_000_000_000, help="bytes of the large answer")
    parser.add_argument("--set", action="append", default=[], help="a further argument of highwaterd; several times")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    args = parser.parse_args()
    args.seconds = int(args.seconds) if args.seconds == int(args.seconds) else args.seconds
    folder = tempfile.mkdtemp(prefix="one-node-", dir=args.folder)
    try:
        lines = {"beside": beside, "growth": growth, "memory": memory}[args.command](args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.write:
        begin, end = f"<!-- {args.command}: begin -->", f"<!-- {args.command}: end -->"
        before, rest = PAGE.read_text().split(begin)
        PAGE.write_text(before + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
