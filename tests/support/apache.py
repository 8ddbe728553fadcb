"""Apache Kafka's own tools and client, from Maven artifacts, for tests of compatibility."""

import os
import subprocess
from pathlib import Path

KAFKA_VERSION = "4.3.1"
