"""Apache Kafka from Maven: a broker to compare with, and Apache's own command-line tools.

    python tools/apache_kafka.py start DIR PORT [KEY=VALUE...]   a single-node broker, data in DIR
    python tools/apache_kafka.py stop DIR                        stop it cleanly
    python tools/apache_kafka.py TOOL [ARGS...]                  run a tool: topics, configs, ...
    python tools/apache_kafka.py run CLASS [ARGS...]             run any class on the class path
    python tools/apache_kafka.py tools                           list the tools
    python tools/apache_kafka.py classpath                       print the class path

Needs a JDK of 17 or newer, and Maven the first time (about 45 MB, kept in Maven's repository).
Tests and benches import `ApacheKafka`, a broker process, and `Tools`, one JVM for many tools.
"""

import base64
import fcntl
import hashlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

JAVA_SOURCES = Path(__file__).resolve().parent / "java"
STARTED = "Kafka Server started"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.05

# Each named as in Apache's bin/, without `kafka-` and `.sh`.
TOOLS = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "delegation-tokens": "org.apache.kafka.tools.DelegationTokenCommand",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "jmx": "org.apache.kafka.tools.JmxTool",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
    "share-consumer-perf-test": "org.apache.kafka.tools.ShareConsumerPerformance",
    "share-groups": "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
    "storage": "kafka.tools.StorageTool",
    "streams-application-reset": "org.apache.kafka.tools.StreamsResetter",
    "streams-groups": "org.apache.kafka.tools.streams.StreamsGroupCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "verifiable-share-consumer": "org.apache.kafka.tools.VerifiableShareConsumer",
}

# The options of Apache's kafka-run-class.sh.
BROKER_JVM = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
# A tool runs for a moment: what the JVM saves by starting small counts for more than its peak.
TOOL_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256M", "-Djava.awt.headless=true")

# Apache's config/server.properties, on loopback, with internal topics of one replica.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs={data}
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""


class Unavailable(Exception):
    """Apache Kafka cannot run here; the message says what is missing."""


def why_unavailable() -> str | None:
    """What is missing to run Apache Kafka here, or None if nothing is."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        return "a JDK (java and javac, 17 or newer) is not installed"
    if not _cached_class_path().exists() and shutil.which("mvn") is None:
        return "Maven (mvn), which fetches Apache Kafka the first time, is not installed"
    return None


def class_path() -> str:
    """The class path of Apache Kafka and its tools; Maven is asked once for each pom.xml."""
    with _cache_lock():
        cached = _cached_class_path()
        if not cached.exists() or not all(Path(j).exists() for j in cached.read_text().split(":")):
            _resolve_class_path(cached)
        return cached.read_text()


def java_command(main_class: str, *args: str, jvm: tuple[str, ...] = TOOL_JVM) -> list[str]:
    """The command line that runs a class of the class path."""
    config = f"-Dlog4j2.configurationFile={JAVA_SOURCES / 'log4j2.properties'}"
    return ["java", *jvm, config, "-cp", class_path(), main_class, *args]


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nothing listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class ApacheKafka:
    """A single-node broker with its data in `directory`; may be stopped and started repeatedly."""

    def __init__(
        self, directory: Path, *settings: str, port: int | None = None, heap: str = "1G"
    ) -> None:
        self.directory = directory.absolute()
        self.settings = settings
        self.heap = heap
        ports = free_ports(2)
        self.port = port or ports[0]
        self.controller_port = port + 1 if port else ports[1]
        self.log_path = self.directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def prepare(self, *settings: str) -> Path:
        """Write its properties, and format its storage unless that was done; the properties."""
        self.directory.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties(*settings)
        if not (self.directory / "data" / "meta.properties").exists():
            _format_storage(properties)
        return properties

    def start(self, *settings: str) -> "ApacheKafka":
        """Start it and return when it answers. Raises Unavailable if it does not."""
        properties = self.prepare(*settings)
        jvm = (*BROKER_JVM, f"-Xmx{self.heap}", f"-Xms{self.heap}", "-Dautomq.log=INFO")
        command = java_command("kafka.Kafka", str(properties), jvm=jvm)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(self.pid))
        self._wait_until_started()
        return self

    def stop(self) -> int:
        """End it as an operator does (SIGTERM); its exit status, 0 for the one that a JVM gives."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        return 0 if status == 128 + signal.SIGTERM else status

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def _write_properties(self, *settings: str) -> Path:
        text = PROPERTIES.format(
            port=self.port,
            controller_port=self.controller_port,
            data=self.directory / "data",
        )
        path = self.directory / "server.properties"
        # Of two lines with one key, the later wins.
        path.write_text(text + "".join(f"{line}\n" for line in (*self.settings, *settings)))
        return path

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while STARTED not in self.log:
            assert self.process is not None
            if self.process.poll() is not None:
                raise Unavailable(f"the broker exited, see {self.log_path}:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                raise Unavailable(f"the broker did not start in time, see {self.log_path}")
            time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool printed, and its exit status."""

    exit: int
    out: str
    err: str


class Run:
    """A tool at work in the JVM of `Tools`."""

    def __init__(self, tools: "Tools", run_id: int) -> None:
        self._tools = tools
        self._id = run_id

    def peek(self, timeout_s: float = 30.0) -> str:
        """What it has printed on standard output so far."""
        self._tools.tell({"id": self._id, "peek": True})
        return str(self._tools.answer(self._id, "peek", timeout_s)["out"])

    def stop(self) -> None:
        """Do to it what SIGTERM does to a process: run its shutdown hooks."""
        self._tools.tell({"id": self._id, "stop": True})

    def wait(self, timeout_s: float = 60.0) -> Result:
        """Wait for its end."""
        answer = self._tools.answer(self._id, "end", timeout_s)
        return Result(int(answer["exit"]), str(answer["out"]), str(answer["err"]))


class Tools:
    """One JVM that runs Apache's tools, as many at a time as asked; a context manager."""

    def __init__(self) -> None:
        classes = _compiled_tool_server()
        # The end of the first run must not end logging for those that follow.
        hooks = ("--add-opens", "java.base/java.lang=ALL-UNNAMED")
        logging = ("-Dlog4j2.shutdownHookEnabled=false",)
        command = java_command("ToolServer", jvm=(*TOOL_JVM, *hooks, *logging))
        at = command.index("-cp") + 1
        command[at] = f"{classes}:{command[at]}"
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ids = itertools.count(1)
        self._answers: defaultdict[tuple[int, str], SimpleQueue[dict[str, Any]]]
        self._answers = defaultdict(SimpleQueue)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, tool: str, *args: str, stdin: str = "") -> Run:
        """Start a tool by its name, or any class with a `main`, and return at once."""
        run_id = next(self._ids)
        main = TOOLS.get(tool, tool)
        self.tell({"id": run_id, "main": main, "args": args, "stdin": stdin})
        return Run(self, run_id)

    def run(self, tool: str, *args: str, stdin: str = "", timeout_s: float = 60.0) -> Result:
        """Run a tool to its end."""
        return self.start(tool, *args, stdin=stdin).wait(timeout_s)

    def close(self) -> None:
        """End the JVM, and with it whatever still runs there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(STOP_TIMEOUT_S)
        self._reader.join()
        self._process.stdout.close()

    def tell(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self, run_id: int, kind: str, timeout_s: float) -> dict[str, Any]:
        """The next answer of that kind to that run. Raises TimeoutError, with what was printed."""
        try:
            return self._answers[run_id, kind].get(timeout=timeout_s)
        except Empty:
            so_far = Run(self, run_id).peek() if kind == "end" else ""
            raise TimeoutError(f"no end within {timeout_s} s; printed so far:\n{so_far}") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers[answer["id"], "end" if "exit" in answer else "peek"].put(answer)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "automq"


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


@contextmanager
def _cache_lock() -> Iterator[None]:
    """Only one process fills the cache; the others wait and find it filled."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached_class_path() -> Path:
    return _cache() / f"apache-kafka-{_digest(JAVA_SOURCES / 'pom.xml')}.classpath"


def _resolve_class_path(target: Path) -> None:
    if shutil.which("mvn") is None:
        raise Unavailable("Maven (mvn) is needed to fetch Apache Kafka the first time")
    partial = target.with_suffix(".partial")
    options = ("-q", "-B", "-Dstyle.color=never", "-f", str(JAVA_SOURCES / "pom.xml"))
    goal = ("dependency:build-classpath", f"-Dmdep.outputFile={partial}")
    _run_or_raise(["mvn", *options, *goal])
    partial.rename(target)


def _compiled_tool_server() -> Path:
    source = JAVA_SOURCES / "ToolServer.java"
    jars = class_path()
    with _cache_lock():
        target = _cache() / f"tool-server-{_digest(source, JAVA_SOURCES / 'pom.xml')}"
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _run_or_raise(["javac", "-d", str(partial), "-cp", jars, str(source)])
            partial.rename(target)
    return target


def _format_storage(properties: Path) -> None:
    # URL-safe base64 of 16 bytes is Kafka's form of a UUID; a leading dash would be an option.
    cluster_id = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
    format_ = ("format", "--standalone", "--cluster-id", cluster_id, "--config", str(properties))
    _run_or_raise(java_command(TOOLS["storage"], *format_))


def _run_or_raise(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-2000:]
        raise Unavailable(f"{command[0]} failed with status {done.returncode}:\n{output}")


def _stop_by_pid(directory: Path) -> None:
    pid_path = directory / "pid"
    if not pid_path.exists():
        raise Unavailable(f"no broker was started in {directory}")
    pid = int(pid_path.read_text())
    deadline = time.monotonic() + STOP_TIMEOUT_S
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(POLL_S)
    except ProcessLookupError:
        pid_path.unlink()
        return
    raise Unavailable(f"the broker with pid {pid} did not stop in {STOP_TIMEOUT_S} s")


def main(arguments: list[str]) -> int:
    """The command line described at the top of this file; the exit status."""
    match arguments:
        case ["start", directory, port, *settings]:
            print(ApacheKafka(Path(directory), *settings, port=int(port)).start().pid)
        case ["stop", directory]:
            _stop_by_pid(Path(directory))
        case ["tools"]:
            print("\n".join(TOOLS))
        case ["classpath"]:
            print(class_path())
        case ["run", main_class, *args]:
            return subprocess.run(java_command(main_class, *args), check=False).returncode
        case [tool, *args] if tool in TOOLS:
            return subprocess.run(java_command(TOOLS[tool], *args), check=False).returncode
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Unavailable as why:
        print(f"apache_kafka: {why}", file=sys.stderr)
        sys.exit(1)
