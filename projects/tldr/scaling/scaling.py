"""Time and peak memory of a reduction's stages as the set grows, on drawn codes: no images, no captioner, no GPU.

    python projects/tldr/scaling/scaling.py runs/scaling [--samples 100000 1000000 10000000]

What encode, score and refine would have written is drawn; cluster, select, ledger and build then run as in any
reduction, each in a process of its own, whose peak resident memory the operating system tells. Writes scaling.csv and
scaling.md.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from lavis_tldr.runs.code_tables import list_column, with_code_statistics
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.sources.record import METADATA
from lavis_tldr.stages.context import Context, stage_module, write_table
from lavis_tldr.stages.reduce_config import ReduceConfig

NUM_CODES, NUM_PATCHES, WIDTH = 3000, 196, 384
NUM_TOPICS, CODES_OF_TOPIC = 4000, 64
WORDS = ("a", "the", "small", "large", "red", "blue", "dog", "cat", "man", "woman", "car", "tree", "street", "beach")
MEASURED = ("cluster", "select", "ledger", "build")
STEPS = ("draw", "cluster", "select", "draw_captions", "ledger", "build")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the runs and the table")
    parser.add_argument("--samples", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], metavar="N")
    parser.add_argument("--representation", default="embedding", choices=("embedding", "histogram", "index"))
    parser.add_argument("--num-clusters", type=int, default=3000, metavar="C")
    parser.add_argument(
        "--part-size", type=int, default=10_000, metavar="N", help="samples a part (img2dataset: 10,000)"
    )
    parser.add_argument("--duplicate-threshold", type=float, metavar="COSINE", help="also drop near duplicates")
    parser.add_argument("--keep", action="store_true", help="do not delete the runs (10 million samples: 8 GB)")
    parser.add_argument("--first-step", choices=STEPS, default=STEPS[0], help="go on with a run that was kept")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)  # what the process of one step is told
    args = parser.parse_args()
    if args.step:
        run_step(args)
        return
    for count in args.samples:
        args.samples = [count]
        for step in STEPS[STEPS.index(args.first_step) :]:
            for row in measured(args, step):
                write_results({"representation": args.representation, "samples": str(count), **row}, args.out)
        if not args.keep:
            shutil.rmtree(run_folder(args))
    print((args.out / "scaling.md").read_text())


def run_folder(args: argparse.Namespace) -> Path:
    return args.out / f"{args.representation}-{args.samples[0]}"


def measured(args: argparse.Namespace, step: str) -> list[dict]:
    """Run a step in a process of its own; its row, if it is one that is measured."""
    command = [sys.executable, __file__, str(args.out), "--samples", str(args.samples[0]), "--step", step]
    command += ["--representation", args.representation, "--num-clusters", str(args.num_clusters)]
    command += ["--part-size", str(args.part_size)]
    if args.duplicate_threshold is not None:
        command += ["--duplicate-threshold", str(args.duplicate_threshold)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    seconds, before, peak = map(float, told[-3:])
    print(f"{args.samples[0]:>11,} {step:14} {seconds:8.1f} s  {peak / 1024:7.0f} MiB", flush=True)
    if step not in MEASURED:
        return []
    return [
        {
            "stage": step,
            "seconds": round(seconds, 1),
            "peak_mib": round(peak / 1024),
            "of_imports_mib": round(before / 1024),
        }
    ]


def run_step(args: argparse.Namespace) -> None:
    """Do one step; prints seconds, and peak memory before and after in KiB."""
    logging.disable(logging.INFO)
    context = context_of(args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    if args.step == "draw":
        draw(context, args.samples[0], args.part_size)
    elif args.step == "draw_captions":
        draw_captions(context)
    else:
        stage = context.stage(args.step)
        stage.open()
        stage_module(args.step).run(context, stage)
    print(time.monotonic() - started, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def context_of(args: argparse.Namespace) -> Context:
    """A reduction whose captioner has nothing but a codebook, and whose source has nothing but parts."""
    config = ReduceConfig.from_run(
        {
            "name": "best",
            "representation": args.representation,
            "num_clusters": args.num_clusters,
            "selection": "aligned",
            "alignment": "contrastive",
            "similarity_weights": "drawn",
            "images": "in_place",
            "duplicate_threshold": args.duplicate_threshold,
        }
    )
    codebook = torch.randn(NUM_CODES, WIDTH, generator=torch.Generator().manual_seed(0))
    quantizer = SimpleNamespace(num_codes=NUM_CODES, codebook=codebook)
    model = SimpleNamespace(quantizer=quantizer, num_patches=NUM_PATCHES, encoder_width=WIDTH, pooled_width=2 * WIDTH)
    parts = [Part(i, f"{i:05d}", f"{i:05d}.tar") for i in range(-(-args.samples[0] // args.part_size))]
    source = SimpleNamespace(source=SimpleNamespace(parts=parts))
    drawn = ("encode", "score", "refine")
    return Context(run_folder(args), config, source, model, "drawn", "cpu", as_made=drawn)


def draw(context: Context, num_samples: int, part_size: int) -> None:
    """What encode and score would have written: images of topics, which favour some of the codes."""
    favoured = np.random.default_rng(0).integers(NUM_CODES, size=(NUM_TOPICS, CODES_OF_TOPIC))
    stages = [context.closed_stage(name) for name in ("encode", "score")]
    for stage in stages:
        stage.open()
    for part in context.parts.source.parts:
        rng = np.random.default_rng([1, part.index])
        n = min(part_size, num_samples - part.index * part_size)
        topics = rng.integers(NUM_TOPICS, size=n)
        of_topic = favoured[topics[:, None], rng.integers(CODES_OF_TOPIC, size=(n, NUM_PATCHES))]
        anything = rng.integers(NUM_CODES, size=(n, NUM_PATCHES))
        codes = np.where(rng.random((n, NUM_PATCHES)) < 0.7, of_topic, anything).astype(np.uint16)
        failed = rng.random(n) < 0.01
        keys = [f"{part.name}{i:04d}" for i in range(n)]
        table = pa.table(
            {
                "key": keys,
                "image_key": keys,
                "caption_original": captions(rng, n),
                "error": np.where(failed, "unreadable image: drawn", "").tolist(),
                "image_path": [part.path] * n,
                "image_offset": np.arange(n) * 2**15,
                "image_size": np.full(n, 2**15 - 512),
                "codes": list_column(codes[~failed], ~failed),
                # Read by the contrastive scorer alone, which does not run here.
                "feature": list_column(np.zeros((n - failed.sum(), 0), np.float16), ~failed),
                **dict.fromkeys(METADATA, pa.nulls(n)),
            },
            schema=STAGES["encode"].schema,
        )
        table = with_code_statistics(table, codes[~failed], NUM_CODES)
        write_part(stages[0], part.name, table)
        usable = table["key"].filter(pa.array(~failed))
        drawn = {"key": usable, "contrast": rng.normal(size=len(usable))}
        write_part(
            stages[1],
            part.name,
            pa.table(drawn, schema=STAGES["score"].schema_for(ReduceConfig(alignment="contrastive"))),
        )
    for stage in stages:
        stage.finish({"read": num_samples}, 1.0)


def draw_captions(context: Context) -> None:
    """What refine would have written, of the kept samples."""
    stage = Stage(context.set_root, "refine", {}, {})
    stage.open()
    selection = context.set_root / "select"
    for part in context.parts.source.parts:
        table = pq.read_table(selection / f"{part.name}.parquet", columns=["key", "kept"])
        keys = table["key"].filter(table["kept"])
        text = captions(np.random.default_rng([2, part.index]), len(keys))
        origin = ["original_generated"] * len(keys)
        columns = {"key": keys, "caption_generated": text, "caption": text, "caption_from": origin}
        unscored = pa.array(np.full(len(keys), np.nan), pa.float32())
        columns |= {"alignment_generated": unscored, "alignment_refined": unscored}
        write_part(stage, part.name, pa.table(columns, schema=STAGES["refine"].schema_for(context.config)))
    stage.finish({"read": 0}, 1.0)


def captions(rng: np.random.Generator, count: int) -> list[str]:
    """Captions of 12 words, about 50 bytes each."""
    words = pa.array(WORDS).take(rng.integers(len(WORDS), size=count * 12))
    lists = pa.ListArray.from_arrays(np.arange(0, count * 12 + 1, 12, dtype=np.int32), words)
    return pc.binary_join(lists, " ")


def write_part(stage: Stage, name: str, table: pa.Table) -> None:
    stage.write_part(name, lambda path: write_table(table, path), {"read": table.num_rows})


def write_results(row: dict, out: Path) -> None:
    """Add a row to the table, as CSV and as Markdown, in place of an earlier one of the same stage and set."""
    path = out / "scaling.csv"
    identity = ("representation", "samples", "stage")
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []
    rows = [old for old in rows if [old[name] for name in identity] != [row[name] for name in identity]] + [row]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(rows)
    counts = sorted({int(row["samples"]) for row in rows})
    header = " | ".join(f"{count:,} samples" for count in counts)
    lines = [f"| clustered | stage | {header} |", "| --- | --- |" + " --- |" * len(counts)]
    for kind in sorted({row["representation"] for row in rows}):
        for stage in MEASURED:
            found = {int(r["samples"]): r for r in rows if (r["representation"], r["stage"]) == (kind, stage)}
            told = [
                f"{float(r['seconds']):g} s, {int(r['peak_mib']):,} MiB" if (r := found.get(c)) else "" for c in counts
            ]
            lines.append(f"| {kind} | {stage} | " + " | ".join(told) + " |")
    imports = max(int(row["of_imports_mib"]) for row in rows)
    lines.append(f"\nTime and peak resident memory, of which {imports:,} MiB are the imported libraries. ")
    lines.append(f"{os.cpu_count()} cores ({platform.machine()}), no GPU.")
    (out / "scaling.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
