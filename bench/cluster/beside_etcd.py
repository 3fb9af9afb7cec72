#!/usr/bin/env python3
"""Three nodes of Highwater and three of etcd on this machine, in turns: durable writes and linearizable reads of 256 bytes.

    cargo build --release -p highwater-server -p highwater-bench
    (cd bench/cluster/etcdload && GO111MODULE=off GOPATH=/usr/share/gocode go build -o ../../../target/etcdload .)
    bench/cluster/beside_etcd.py --rounds 3 --seconds 8

Needs etcd and its Go client (Debian: etcd-server golang-go golang-etcd-server-dev); `--only highwater` needs neither. Per
measurement it prints operations per second, p50 and p99, the servers' and the client's CPU per operation, and device syncs
per write; in the end the medians. Nothing else should run; what other processes took of the CPUs is printed beside.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TICK = os.sysconf("SC_CLK_TCK")
PASSWORD = "correct horse battery"


def streams_of(connections):
    """How many of so many requests at a time share a connection of HTTP/2."""
    return {1: 1, 64: 8, 256: 16}.get(connections, min(16, connections))


def cpu_of(pid):
    """CPU seconds of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_of_machine():
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system) / TICK, (irq + soft) / TICK, steal / TICK


def wait_port(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


class Cluster:
    def __init__(self, args, folder):
        self.args, self.folder, self.processes, self.leader = args, folder, [], 0

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Etcd(Cluster):
    name = "etcd"

    def start(self):
        peers = ",".join(f"n{n}=http://127.0.0.1:{23800 + n}" for n in (1, 2, 3))
        for n in (1, 2, 3):
            client, peer = f"http://127.0.0.1:{23790 + n}", f"http://127.0.0.1:{23800 + n}"
            log = open(f"{self.folder}/n{n}.log", "w")
            self.processes.append(subprocess.Popen(
                ["etcd", "--name", f"n{n}", "--data-dir", f"{self.folder}/n{n}", "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", peers, "--initial-cluster-state", "new", "--initial-cluster-token", "beside",
                 "--log-level", "error", "--quota-backend-bytes", "8589934592"], stdout=log, stderr=log))
        for n in (1, 2, 3):
            wait_port(23790 + n)
        time.sleep(2)
        self.leader = next(n for n in (1, 2, 3) if re.search(r"etcd_server_is_leader 1", self.metrics(n)))
        subprocess.run(self.load("put", 64, 2), check=True, stdout=subprocess.DEVNULL)

    def metrics(self, n):
        return urllib.request.urlopen(f"http://127.0.0.1:{23790 + n}/metrics").read().decode()

    def syncs(self):
        names = ("etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count")
        return sum(float(re.search(rf"^{name} (\S+)", self.metrics(n), re.M)[1]) for n in (1, 2, 3) for name in names)

    def load(self, kind, connections, seconds):
        shared = connections // streams_of(connections)
        command = [self.args.etcdload, "-endpoints", f"127.0.0.1:{23790 + self.leader}", "-op", {"put": "put", "get": "get"}[kind],
                   "-clients", str(connections), "-conns", str(shared), "-val", "256", "-secs", str(seconds)]
        return command

    def h2load(self, kind, connections, seconds):
        """One key, as gRPC over HTTP/2: a frame of no compression, its length, and PutRequest or RangeRequest (fields 1: key, 2: value)."""
        def field(number, value):
            length, size = b"", len(value)
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            return bytes([number << 3 | 2]) + length + bytes([size]) + value
        message = field(1, b"foo-key1") + (field(2, b"v" * 256) if kind == "put" else b"")
        with open(f"{self.folder}/body", "wb") as file:
            file.write(b"\0" + len(message).to_bytes(4, "big") + message)
        streams = streams_of(connections)
        url = f"http://127.0.0.1:{23790 + self.leader}/etcdserverpb.KV/{'Put' if kind == 'put' else 'Range'}"
        return h2load(self, connections // streams, seconds, url, "-m", str(streams), "-H", "content-type: application/grpc", "-H", "te: trailers")

    def result(self, out):
        found = re.search(r": (\d+) op/s, p50 (\d+) us, p99 (\d+) us.*errors (\d+)", out)
        return {"ops": float(found[1]), "p50": int(found[2]) / 1e3, "p99": int(found[3]) / 1e3, "errors": int(found[4])}


class Highwater(Cluster):
    name = "highwater"

    def start(self):
        secret = f"{self.folder}/secret"
        with open(secret, "w") as file:
            file.write("c2VjcmV0" * 8 + "\n")
        os.chmod(secret, 0o600)
        self.peers = ",".join(f"{n}=127.0.0.1:{24800 + n}" for n in (1, 2, 3))
        self.secret = secret
        self.processes = [self.node(n) for n in (1, 2, 3)]
        for n in (1, 2, 3):
            self.ready(n)
        self.urls = [f"http://127.0.0.1:{24790 + n}" for n in (1, 2, 3)]
        self.token = None
        subprocess.run(self.command("--setup", "--rows", str(self.args.rows), *self.common()), check=True)
        self.leader = self.leader_of_rows()
        # The leader alone on its CPU, as far as there are two.
        for _ in range(8):
            if self.leader == 2 or self.args.anywhere:
                break
            self.restart(self.leader)
            self.leader = self.leader_of_rows()
        print(f"  node {self.leader} leads", flush=True)

    def node(self, n):
        cpus = sorted(os.sched_getaffinity(0))
        cpu = cpus[1 if n == 2 and len(cpus) > 1 else 0] if len(cpus) < 3 else cpus[n - 1]
        log = open(f"{self.folder}/n{n}.log", "a")
        return subprocess.Popen(
            [f"{self.args.bin}/highwaterd", "--node-id", str(n), "--peers", self.peers, "--rpc-addr", f"127.0.0.1:{24800 + n}",
             "--http-addr", f"127.0.0.1:{24790 + n}", "--data-dir", f"{self.folder}/n{n}", "--cores", f"{cpu},",
             "--set", f"cluster.secret_file={self.secret}", "--root-password", PASSWORD,
             "--user-shards", str(self.args.shards), "--shared-shards", "1", *self.args.set], stdout=log, stderr=log)

    def ready(self, n):
        for _ in range(600):
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{24790 + n}/ready", timeout=2).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit(f"node {n} is not ready; its log: {open(f'{self.folder}/n{n}.log').read()[-2000:]}")

    def restart(self, n):
        self.processes[n - 1].terminate()
        self.processes[n - 1].wait(30)
        self.processes[n - 1] = self.node(n)
        self.ready(n)
        time.sleep(1.5)

    def ask(self, sql, n=1):
        def post(path, body, token=None):
            headers = {"content-type": "application/json"}
            if token:
                headers["authorization"] = f"Bearer {token}"
            request = urllib.request.Request(self.urls[n - 1] + path, json.dumps(body).encode(), headers)
            return json.load(urllib.request.urlopen(request))
        if not self.token:
            self.token = post("/v1/api/auth/login", {"user": "root", "password": PASSWORD})["access_token"]
        return post("/v1/api/sql", {"sql": sql}, self.token)["results"][0]["rows"]

    def leader_of_rows(self):
        """Who leads the first group of users' rows."""
        for _ in range(50):
            for n in (1, 2, 3):
                if ["1", "leader"] in [[str(row[0]), str(row[1]).lower()] for row in self.ask("SELECT group_id, state FROM system.cluster_groups", n)]:
                    return n
            time.sleep(0.2)
        sys.exit("no leader")

    def metrics(self, n):
        request = urllib.request.Request(self.urls[n - 1] + "/metrics", headers={"authorization": f"Bearer {self.token}"})
        return urllib.request.urlopen(request).read().decode()

    def syncs(self):
        return sum(float(value) for n in (1, 2, 3) for value in re.findall(r"^highwater_syncs_total\{.*\} (\S+)", self.metrics(n), re.M))

    def command(self, *more):
        return [f"{self.args.bin}/highwater-load", *more]

    def common(self):
        nodes = self.urls if self.args.spread or not self.leader else [self.urls[self.leader - 1]]
        return ["--nodes", ",".join(nodes), "--password", PASSWORD, "--users", str(self.args.users), "--payload-bytes", "256"]

    def load(self, kind, connections, seconds):
        workload = {"put": self.args.write, "get": "select"}[kind]
        streams = 1 if self.args.http1 else streams_of(connections)
        return self.command(workload, "--rows", str(self.args.rows), "--connections", str(connections), "--streams", str(streams), "--seconds", str(seconds),
                            "--warmup", "1", "--json", *self.common())

    def h2load(self, kind, connections, seconds):
        """One row of the leader's, over HTTP/2 as etcd, or over HTTP/1.1."""
        if kind == "put":
            body = {"sql": "INSERT INTO load.pairs (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = $2", "params": [-1, "v" * 256]}
        else:
            body = {"sql": "SELECT body FROM load.pairs WHERE id = $1", "params": [-1]}
        with open(f"{self.folder}/body", "w") as file:
            json.dump(body, file)
        self.ask("SELECT 1")
        streams = 1 if self.args.http1 else streams_of(connections)
        way = ["--h1"] if self.args.http1 else ["-m", str(streams)]
        return h2load(self, connections // streams, seconds, f"{self.urls[self.leader - 1]}/v1/api/sql", *way,
                      "-H", "content-type: application/json", "-H", f"authorization: Bearer {self.token}")

    def result(self, out):
        (figures,) = json.loads(out)["operations"].values()
        latency = figures["milliseconds"]
        return {"ops": figures["per_second"], "p50": latency["p50"], "p99": latency["p99"], "errors": sum(figures["errors"].values())}


def h2load(cluster, connections, seconds, url, *more):
    """The same HTTP client for both: requests on `connections`, each answered before the next on its connection or stream."""
    return ["h2load", "-t1", f"-c{connections}", "-D", str(seconds), "--warm-up-time=1", "-d", f"{cluster.folder}/body",
            f"--log-file={cluster.folder}/h2load.log", *more, url]


def result_of_h2load(cluster, out):
    """The log has a line per request: when it began, its status, how long it took in microseconds."""
    with open(f"{cluster.folder}/h2load.log") as file:
        lines = [line.split() for line in file]
    os.remove(f"{cluster.folder}/h2load.log")
    took = sorted(int(line[2]) for line in lines if line[1] == "200")
    rate = float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", out)[1])
    return {"ops": rate, "p50": took[len(took) // 2] / 1e3, "p99": took[len(took) * 99 // 100] / 1e3, "errors": len(lines) - len(took)}


def measure(cluster, kind, connections, seconds, by_h2load):
    pids = [process.pid for process in cluster.processes]
    machine, servers, syncs, began = cpu_of_machine(), [cpu_of(pid) for pid in pids], cluster.syncs(), time.time()
    command = (cluster.h2load if by_h2load else cluster.load)(kind, connections, seconds)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        sys.exit(f"{cluster.name} {kind} {connections}: the client failed: {out[-2000:]}")
    took, client = time.time() - began, usage.ru_utime + usage.ru_stime
    server = [after - before for after, before in zip((cpu_of(pid) for pid in pids), servers)]
    after = cpu_of_machine()
    result = result_of_h2load(cluster, out) if by_h2load else cluster.result(out)
    # The warm-up's operations are in CPU and syncs, at about the same rate.
    done = result["ops"] * (seconds + 1)
    other = after[0] - machine[0] - sum(server) - client
    result |= {"server_us": sum(server) / done * 1e6, "leader_us": server[cluster.leader - 1] / done * 1e6, "client_us": client / done * 1e6,
               "syncs": (cluster.syncs() - syncs) / done, "other": other / took, "irq": (after[1] - machine[1]) / took, "steal": (after[2] - machine[2]) / took}
    print(f"{cluster.name:<10} {kind} {connections:>4}: {result['ops']:>8.0f}/s  p50 {result['p50']:>7.2f}  p99 {result['p99']:>7.2f} ms  "
          f"CPU us: servers {result['server_us']:>6.1f} (leader {result['leader_us']:>5.1f}) client {result['client_us']:>5.1f}  syncs {result['syncs']:.3f}  "
          f"errors {result['errors']}  others {result['other']:.2f} irq {result['irq']:.2f} steal {result['steal']:.2f} CPU", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--etcdload", default="target/etcdload")
    parser.add_argument("--only", choices=["etcd", "highwater"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", default="1,64,256")
    parser.add_argument("--kinds", default="put,get")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1, help="user shards")
    parser.add_argument("--write", default="put", choices=["put", "update", "insert"])
    parser.add_argument("--spread", action="store_true", help="connections to all nodes, not the leader's alone")
    parser.add_argument("--anywhere", action="store_true", help="whichever node leads")
    parser.add_argument("--h2load", action="store_true", help="h2load (Debian: nghttp2-client) as the client of both, one key again and again")
    parser.add_argument("--http1", action="store_true", help="HTTP/1.1 for Highwater, a connection per request at a time")
    parser.add_argument("--folder", default=".", help="where the data folders are made")
    parser.add_argument("--set", nargs="*", default=[], help="more arguments of highwaterd")
    parser.add_argument("--pause", help="a command to run when all is set up, before the first measurement")
    parser.add_argument("--json")
    args = parser.parse_args()
    kinds = [kind for kind in (Etcd, Highwater) if args.only in (None, kind.name)]
    clusters, results = [], {}
    try:
        for kind in kinds:
            cluster = kind(args, tempfile.mkdtemp(prefix=f"beside-{kind.name}-", dir=args.folder))
            clusters.append(cluster)
            cluster.start()
            if args.h2load:
                # There is something to read.
                measure(cluster, "put", 1, 1, True)
        for _ in range(args.rounds):
            for kind in args.kinds.split(","):
                for connections in map(int, args.connections.split(",")):
                    for cluster in clusters:
                        result = measure(cluster, kind, connections, args.seconds, args.h2load)
                        results.setdefault((kind, connections, cluster.name), []).append(result)
    finally:
        for cluster in clusters:
            cluster.stop()
    print("\nmedians")
    for (kind, connections, name), all_of in results.items():
        median = {key: statistics.median(result[key] for result in all_of) for key in all_of[0]}
        print(f"{kind} {connections:>4} {name:<10} {median['ops']:>8.0f}/s  p50 {median['p50']:>7.2f}  p99 {median['p99']:>7.2f} ms  "
              f"server CPU {median['server_us']:>6.1f} us  client CPU {median['client_us']:>5.1f} us  syncs {median['syncs']:.3f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump([{"kind": kind, "connections": connections, "name": name, "rounds": all_of}
                       for (kind, connections, name), all_of in results.items()], file, indent=1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
