"""What several tests share: brokers as processes and inside the test, logs in memory, time."""
