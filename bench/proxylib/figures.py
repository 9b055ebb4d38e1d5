"""What is measured in the worlds: slices of load in turn, and the time that a change takes."""

import statistics
import subprocess
import time

from proxylib.world import ADDRESS, CLUSTER_IP, NODE_IP, NODE_PORT, PROGRAMS

# What is measured in a slice: name, load, the client's part, and per what the processor time counts.
SLICES = {"connection": "connect", "request": "request", "MiB": "stream"}
WHERE = {"ClusterIP": ("client", CLUSTER_IP, 80), "NodePort": ("out", NODE_IP, NODE_PORT)}


def rounds(worlds, where, seconds, count, loads):
    """Of `loads` (names of SLICES): median ratios to direct, {way: {slice: {"p50": .., "cpu": ..}}}, and the direct figures themselves."""
    part, ip, port = WHERE[where]
    seen = {}
    for turn in range(count):
        for name in loads:
            figures = {}
            # Direct before the others and behind them in turn, so that a drift does not count for one side.
            for world in worlds if turn % 2 == 0 else worlds[::-1]:
                direct = world is worlds[0]
                f = world.measure(part, SLICES[name], ADDRESS["one"] if direct else ip, 8080 if direct else port, seconds)
                if not f or not f["count"]:
                    raise SystemExit(f"{world.way.name}: no answer by {where}")
                figures[world.way.name] = {"p50": f["p50"], "p99": f["p99"], "cpu": f["cpu"] / f["count"], "rate": f["count"] / f["seconds"], "failed": f["failed"]}
            for way, figure in figures.items():
                seen.setdefault(way, {}).setdefault(name, []).append((figure, figures[worlds[0].way.name]))
    out = {}
    for way, slices in seen.items():
        out[way] = {}
        for name, pairs in slices.items():
            median = lambda f: statistics.median(f(a, b) for a, b in pairs)  # noqa: E731
            out[way][name] = {"p50": median(lambda a, b: a["p50"] / b["p50"] if b["p50"] else 0),
                              "p99": median(lambda a, b: a["p99"] / b["p99"] if b["p99"] else 0), "p99 us": median(lambda a, b: a["p99"]), "cpu": median(lambda a, b: a["cpu"] / b["cpu"]),
                              "rate": median(lambda a, b: a["rate"] / b["rate"]), "failed": sum(a["failed"] for a, b in pairs),
                              "p50 us": median(lambda a, b: a["p50"]), "cpu us": median(lambda a, b: a["cpu"] / 1000)}
    return out


def show(size, where, figures):
    for way, slices in figures.items():
        out = f"{size:6d} services  {where:<9}  {way:<9}"
        for name in ("connection", "request"):
            if name in slices:
                f = slices[name]
                out += (f" {name}: p50 {f['p50 us']:5.1f} us ({f['p50']:.3f})  p99 {f['p99 us']:5.1f} us ({f['p99']:.2f})  cpu {f['cpu us']:5.1f} us ({f['cpu']:.3f})"
                        f"  rate ({f['rate']:.2f})  ")
        if "MiB" in slices:
            out += f" stream: cpu per MiB {slices['MiB']['cpu us']:4.0f} us ({slices['MiB']['cpu']:.3f})  rate ({slices['MiB']['rate']:.2f})  "
        print(out + f" failed {sum(f['failed'] for f in slices.values())}", flush=True)


def until(world, byte):
    """A client that connects until the target answers `byte`; a function that gives when (since it began, and the clock)."""
    client = subprocess.Popen(world.load("client", "until", CLUSTER_IP, 80, byte), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    client.stdout.readline()

    def begin():
        client.stdin.write("\n")
        client.stdin.flush()

    def end():
        took, when = (client.stdout.readline() or "nan 0").split()
        client.wait()
        return float(took), int(when)
    return begin, end


def change_time(world, rounds=21):
    times = []
    for i in range(rounds):
        to, byte = (("two", "2"), ("one", "1"))[i % 2]
        go = world.way.change(ADDRESS[to])
        begin, end = until(world, byte)
        begin()
        go()
        times.append(end()[0] / 1e6)
    return min(times), statistics.median(times)


def map_change_time(world, rounds=41):
    """Milliseconds from before the event is sent to the frontend's switch, and to the last write: (best, median) each."""
    maps = subprocess.Popen(world.inside("node", PROGRAMS.bin + "/kube-proxy-bench-maps", world.way.maps_dir(), CLUSTER_IP, "80"), stdout=subprocess.PIPE, text=True)
    switched, last = [], []
    go = world.way.change(None)
    for _ in range(rounds):
        maps.stdout.readline()
        time.sleep(0.02)
        begin = go()
        a, b = map(int, maps.stdout.readline().split())
        switched.append((a - begin) / 1e6)
        last.append((b - begin) / 1e6)
    if rounds % 2:  # the target is as it was
        maps.stdout.readline()
        go()
    maps.terminate()
    maps.wait()
    return [(min(t), statistics.median(t)) for t in (switched, last)]


def put_time(world, rounds=21):
    """Milliseconds from a PUT's answer to the first answer of the new endpoint; negative where that came first."""
    times = []
    for i in range(rounds):
        to, byte = (("two", "2"), ("one", "1"))[i % 2]
        begin, end = until(world, byte)
        begin()
        answered = world.way.put(ADDRESS[to])
        times.append((end()[1] - answered) / 1e6)
    return min(times), statistics.median(times), max(times)
