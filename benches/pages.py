"""`python -m benches.pages RESULTS.json ...`: write measured tables into docs/performance.md.

It takes what `make bench` wrote (either part, in any order) and what `make soak` wrote, and
rewrites what lies between two marks of the English page and of the Chinese one; all else there is
written by hand. Without files it takes those that the pages name. `--check` writes nothing, and
exits with 1 if a page is not what its files say.

Why a goal is missed is in `benches/reasons.toml`, by workload or by `workload.figure`, and is shown
only where it is missed.
"""

import argparse
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches import ROOT, table, workloads
from benches.figures import Effort, Part, Workload
from benches.machine import Machine
from benches.soak import BUDGET_MIB

REASONS = ROOT / "benches" / "reasons.toml"
MARKS = re.compile(r"<!-- results: (.*?) -->\n.*?<!-- end of results -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Language:
    """A page, and the few sentences of its generated part."""

    name: str
    page: Path
    met: str
    all_met: str
    missed: str
    growth: str
    soak: str
    soak_numbers: str
    fault: str


ENGLISH = Language(
    name="en",
    page=ROOT / "docs" / "performance.md",
    met="{met} of {all} goals are met.",
    all_met="None is missed.",
    missed="Missed are, and why:",
    growth="### How cost grows",
    soak="### Over time",
    soak_numbers=(
        "{minutes:.0f} minutes at {rate}: p99.9 {p999:.1f} ms in the median of all intervals, "
        "{worst:.0f} ms in the worst; RSS at most {rss:.0f} MiB of {budget} MiB; "
        "{uploads:.0f} objects uploaded, {merges:.0f} merges."
    ),
    fault="What the run found wrong: {fault}.",
)
CHINESE = Language(
    name="zh",
    page=ROOT / "docs" / "zh" / "performance.md",
    met="{all} 个目标中达到了 {met} 个。",
    all_met="没有未达到的目标。",
    missed="未达到的目标及原因：",
    growth="### 开销如何增长",
    soak="### 长时间运行",
    soak_numbers=(
        "以 {rate} 运行 {minutes:.0f} 分钟：各时间段 p99.9 的中位数为 {p999:.1f} 毫秒，最差 "
        "{worst:.0f} 毫秒；RSS 最高 {rss:.0f} MiB（上限 {budget} MiB）；"
        "上传了 {uploads:.0f} 个对象，合并了 {merges:.0f} 次。"
    ),
    fault="运行中发现的问题：{fault}。",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One file of results, as `to_json` of the table or the soak wrote it."""

    path: Path
    content: dict[str, Any]

    def is_soak(self) -> bool:
        return "samples" in self.content

    def workloads(self, *parts: Part) -> list[Workload]:
        """Those of the parts that the file has numbers of."""
        names = self.content.get("workloads", {})
        return [each for each in workloads.ALL if each.name in names and each.part in parts]


def main() -> None:
    args = parse()
    stale = []
    for language in (ENGLISH, CHINESE):
        text = language.page.read_text("utf-8")
        written = with_results(text, language, args.files or named_files(text))
        if written != text:
            stale.append(str(language.page.relative_to(ROOT)))
            if not args.check:
                language.page.write_text(written, "utf-8")
    if stale and args.check:
        sys.exit(f"pages: stale, run `python -m benches.pages`: {', '.join(stale)}")
    print(f"wrote {', '.join(stale)}" if stale else "nothing has changed")


def with_results(text: str, language: Language, files: Sequence[Path]) -> str:
    """The page with what the files say between its marks. Raises ValueError without marks."""
    if MARKS.search(text) is None:
        raise ValueError(f"{language.page} has no marks to write results between")
    measured = [Measured(path.resolve(), json.loads(path.read_text("utf-8"))) for path in files]
    names = " ".join(str(each.path.relative_to(ROOT)) for each in measured)
    lines = (f"<!-- results: {names} -->", *block(language, measured), "<!-- end of results -->")
    return MARKS.sub(lambda _: "\n".join(lines), text)


def named_files(text: str) -> list[Path]:
    found = MARKS.search(text)
    return [ROOT / name for name in found[1].split()] if found else []


def block(language: Language, measured: Sequence[Measured]) -> Iterator[str]:
    """The generated part: the table and its goals, how cost grows, the long run."""
    for each in measured:
        if chosen := each.workloads(Part.PEER, Part.NATIVE):
            yield from beside_kafka(language, each.content, chosen)
    for each in measured:
        if chosen := each.workloads(Part.GROWTH):
            yield from ("", language.growth, *tables(each.content, chosen))
    for each in measured:
        if each.is_soak():
            yield from ("", language.soak, "", *long_run(language, each))


def beside_kafka(
    language: Language, content: dict[str, Any], chosen: list[Workload]
) -> Iterator[str]:
    yield from tables(content, chosen)
    results = table.from_json(content)
    judged = [
        (workload.name, figure.name, figure.title, verdict)
        for workload in chosen
        for figure in workload.figures
        for verdict in table.verdicts(results, workload.name, figure)
    ]
    missed = [each for each in judged if not each[3].is_met]
    yield ""
    met = language.met.format(met=len(judged) - len(missed), all=len(judged))
    yield f"{met} {language.missed if missed else language.all_met}"
    if missed:
        yield ""
    reasons = tomllib.loads(REASONS.read_text("utf-8"))
    for workload, name, title, verdict in missed:
        fact = f"- `{workload}`, {title}: {table.short(verdict.number)} ({verdict.goal})."
        yield f"{fact} {reason(reasons, workload, name, language)}".rstrip()


def reason(reasons: dict[str, Any], workload: str, figure: str, language: Language) -> str:
    """Why it is missed, as far as that is written down."""
    found = reasons.get(f"{workload}.{figure}", reasons.get(workload, {}))
    return str(found.get(language.name, ""))


def tables(content: dict[str, Any], chosen: list[Workload]) -> Iterator[str]:
    results = table.from_json(content)
    yield ""
    yield from table.facts(Machine(**content["machine"]))
    yield table.effort_line(results, Effort(**content["effort"]))
    yield ""
    yield from table.rows(results, chosen)


def long_run(language: Language, measured: Measured) -> Iterator[str]:
    samples, rate = measured.content["samples"], measured.content.get("rate_mb_s")
    yield language.soak_numbers.format(
        minutes=samples[-1]["at_s"] / 60,
        rate="full speed" if rate is None else f"{rate:.0f} MB/s",
        p999=median(sample["p999_ms"] for sample in samples),
        worst=max(sample["p999_ms"] for sample in samples),
        rss=max(sample["memory_mib"] for sample in samples),
        budget=BUDGET_MIB,
        uploads=samples[-1]["uploads"] - samples[0]["uploads"],
        merges=samples[-1]["merges"] - samples[0]["merges"],
    )
    for fault in measured.content["faults"]:
        yield language.fault.format(fault=fault)
    picture = os.path.relpath(measured.path.with_suffix(".svg"), language.page.parent)
    yield from ("", f"![{language.soak.lstrip('# ')}]({picture})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.pages", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results, as JSON")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a page is stale")
    return parser.parse_args()


if __name__ == "__main__":
    main()
