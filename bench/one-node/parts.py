#!/usr/bin/env python3
"""Runs every Criterion suite of bench/ and prints what each case takes, as a table.

    bench/one-node/parts.py [--seconds 2] [--write] [FILTER]     # --write: into docs/internals/one-node.md
"""

import argparse
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/internals/one-node.md"
SUITES = ("parser", "sql_eval", "apply", "engine")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2, help="measured per case")
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("filter", nargs="?", default="")
    args = parser.parse_args()
    rows = []
    for suite in args.suites.split(","):
        command = ["cargo", "bench", "-p", "highwater-bench", "--bench", suite, "--", "--warm-up-time", "0.5",
                   "--measurement-time", str(args.seconds), "--sample-size", "20", "--noplot"]
        out = subprocess.run(command + ([args.filter] if args.filter else []), stdout=subprocess.PIPE, text=True)
        if out.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {out.returncode}")
        for name, low, middle, high in re.findall(r"^(\S.*?)\s+time:\s+\[(\S+ \S+) (\S+ \S+) (\S+ \S+)\]", out.stdout.replace("\n                        time:", " time:"), re.M):
            rows.append(f"| {suite} | {name} | {middle} | {low} to {high} |")
            print(rows[-1], flush=True)
    table = "| suite | case | time | of 95 % |\n|---|---|---|---|\n" + "\n".join(rows)
    if args.write:
        begin, end = "<!-- parts: begin -->", "<!-- parts: end -->"
        before, rest = PAGE.read_text().split(begin)
        PAGE.write_text(f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
