"""What several tests share: a real broker process, free ports, Apache's tools."""
