"""Topics that come and go."""

import threading

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from crash.readers import QUIET
from support.clients import new_topic

RECORDS = 20
PAUSE_S = 0.2


class TopicChurn(threading.Thread):
    """Makes a topic, writes to it, deletes it, again and again; what a kill breaks is given up."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        settings: dict[str, str | int] = {
            "bootstrap.servers": bootstrap,
            "log_level": QUIET,
            "reconnect.backoff.max.ms": 200,
        }
        self._admin = AdminClient(settings)
        self._producer = Producer({**settings, "message.timeout.ms": 3_000})
        self._ending = threading.Event()
        self.deleted = 0

    def run(self) -> None:
        number = 0
        while not self._ending.wait(PAUSE_S):
            number += 1
            try:
                self._live_and_die(f"churn-{number}")
            except (KafkaException, TimeoutError):
                continue

    def _live_and_die(self, name: str) -> None:
        [made] = self._admin.create_topics([new_topic(name)], request_timeout=3.0).values()
        made.result(5)
        for record in range(RECORDS):
            self._producer.produce(name, b"%d" % record)
        self._producer.flush(3)
        [gone] = self._admin.delete_topics([name], request_timeout=3.0).values()
        gone.result(5)
        self.deleted += 1

    def finish(self) -> None:
        self._ending.set()
        self.join()
