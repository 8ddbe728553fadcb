"""What these tests do to a broker all the time."""

from crash.readers import SteadyReader
from crash.workload import Ledger, NumberedProducer, verify
from support.broker import eventually
from support.clients import create_topic
from support.server import Server

PARTITIONS = 3


class Load:
    """Producers on every partition and a reader of all, with the ledger of what was promised."""

    def __init__(self, server: Server, *, per_s: int, value_bytes: int = 100) -> None:
        self.server = server
        create_topic(server.bootstrap, "numbers", partitions=PARTITIONS)
        self.ledger = Ledger()
        self.producers = [
            NumberedProducer(
                server.bootstrap,
                "numbers",
                partition,
                self.ledger,
                per_s=per_s,
                value_bytes=value_bytes,
            )
            for partition in range(PARTITIONS)
        ]
        self.reader = SteadyReader(server.bootstrap, "numbers", PARTITIONS)
        for thread in (*self.producers, self.reader):
            thread.start()

    def progresses(self) -> None:
        """Wait until producers have been told of more records than before."""
        before = self.ledger.count
        eventually(lambda: self.ledger.count > before + 100, what="producers go on")

    def finish(self) -> None:
        """Stop, and prove that every promise was kept."""
        for producer in self.producers:
            producer.finish()
        self.reader.finish()
        assert not self.ledger.refused, self.ledger.refused[:5]
        assert not self.reader.complaints, self.reader.complaints[:5]
        acknowledged = verify(
            self.server.bootstrap, "numbers", self.ledger, PARTITIONS, self.reader.seen
        )
        assert acknowledged == sum(producer.sent for producer in self.producers)
        assert self.reader.count > 0
