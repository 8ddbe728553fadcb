"""Apache's tools as a person at a shell uses them, all against one broker."""

import re
from dataclasses import dataclass

from apache_kafka import Run, Tools


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs tools against one broker."""

    tools: Tools
    bootstrap: str

    def __call__(self, tool: str, *args: str, stdin: str = "") -> str:
        """What a tool prints on standard output; it must succeed."""
        done = self.tools.run(tool, *args, "--bootstrap-server", self.bootstrap, stdin=stdin)
        assert done.exit == 0, f"{tool} {args}: status {done.exit}\n{done.out}\n{done.err}"
        return done.out

    def fails(self, tool: str, *args: str, stdin: str = "") -> str:
        """What a tool that must fail prints, on both outputs."""
        done = self.tools.run(tool, *args, "--bootstrap-server", self.bootstrap, stdin=stdin)
        assert done.exit != 0, f"{tool} {args}: succeeded\n{done.out}\n{done.err}"
        return done.out + done.err

    def start(self, tool: str, *args: str) -> Run:
        """Start a tool that runs until it is stopped."""
        return self.tools.start(tool, *args, "--bootstrap-server", self.bootstrap)

    def create_topic(self, name: str, *, partitions: int = 1, **configs: str) -> None:
        """Create a topic; `configs` with `_` for `.`."""
        options = [f"--config={key.replace('_', '.')}={value}" for key, value in configs.items()]
        self("topics", "--create", "--topic", name, "--partitions", str(partitions), *options)

    def produce(self, topic: str, *lines: str, keyed: bool = False) -> None:
        """Send lines; if `keyed`, each is `key:value`."""
        options = ("--reader-property=parse.key=true", "--reader-property=key.separator=:")
        stdin = "".join(f"{line}\n" for line in lines)
        self("console-producer", "--topic", topic, *(options if keyed else ()), stdin=stdin)

    def consume(self, topic: str, count: int, *options: str) -> list[str]:
        """The next `count` records of a topic as the console consumer prints them."""
        wanted = ("--max-messages", str(count), "--timeout-ms", "20000")
        return self("console-consumer", "--topic", topic, *wanted, *options).splitlines()

    def offsets(self, topic: str, *options: str) -> dict[int, int | None]:
        """The offset of each partition by get-offsets; None where it has none to tell."""
        lines = self("get-offsets", "--topic-partitions", topic, *options).split()
        found = [line.removeprefix(f"{topic}:").split(":") for line in lines]
        return {int(partition): int(offset) if offset else None for partition, offset in found}


def table(printed: str) -> list[dict[str, str]]:
    """The rows of the one table in what a tool printed, by the names in the table's head.

    No rows if there is no table, for example because a group is not known yet.
    """
    joined = re.sub(r"\s+\(", "(", printed)  # "COORDINATOR (ID)" is one column
    lines = [line.split() for line in joined.splitlines() if line.strip()]
    heads = (i for i, words in enumerate(lines) if len(words) > 1 and "".join(words).isupper())
    at = next(heads, len(lines))
    return [dict(zip(lines[at], words, strict=True)) for words in lines[at + 1 :]]
