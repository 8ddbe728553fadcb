import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.zip.CRC32;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

/** Apache Kafka's own view of record batches, as lines of text. See make_batch_vectors.py. */
public class BatchVectors {
    static final long NOW = 1_000_000L;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) {
            write();
            return;
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", -1);
            ByteBuffer bytes = ByteBuffer.wrap(Base64.getDecoder().decode(fields[fields.length - 1]));
            String answer = args[0].equals("read")
                ? dump(MemoryRecords.readableRecords(bytes)) : judge(fields[1], bytes);
            System.out.println(line + "\t" + answer);
        }
    }

    static void write() {
        for (CompressionType type : CompressionType.values()) {
            int shapes = type == CompressionType.NONE ? 3 : 4;
            for (int shape = 0; shape < shapes; shape++) {
                ByteBuffer bytes = built(Compression.of(type).build(), shape);
                print(type.name + "-" + shape, bytes);
            }
        }
        for (ControlRecordType type : List.of(ControlRecordType.ABORT, ControlRecordType.COMMIT)) {
            EndTransactionMarker marker = new EndTransactionMarker(type, 17);
            MemoryRecords records = MemoryRecords.withEndTransactionMarker(
                42L, NOW, 3, 77L, (short) 5, marker);
            print("marker-" + type, records.buffer());
        }
    }

    static void print(String name, ByteBuffer bytes) {
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        String dump = dump(MemoryRecords.readableRecords(ByteBuffer.wrap(copy)));
        System.out.println(name + "\t" + Base64.getEncoder().encodeToString(copy) + "\t" + dump);
    }

    /** Shapes: 0 small, 1 nulls and headers, 2 transactional, 3 many blocks, LogAppendTime. */
    static ByteBuffer built(Compression compression, int shape) {
        TimestampType timestamps =
            shape == 3 ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        boolean sequenced = shape == 2;
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(1024), RecordBatch.MAGIC_VALUE_V2, compression, timestamps,
            1L << 33, NOW + 99, sequenced ? 123_456_789_012L : -1L, (short) (sequenced ? 7 : -1),
            sequenced ? Integer.MAX_VALUE - 1 : -1, sequenced, 11);
        int count = shape == 3 ? 40 : 3;
        for (int i = 0; i < count; i++) {
            byte[] key = shape == 1 && i == 1 ? null : ("key" + i).getBytes(StandardCharsets.UTF_8);
            byte[] value = shape == 1 && i == 2 ? null
                : ("value " + i + " ").repeat(shape == 3 ? 500 : 1).getBytes(StandardCharsets.UTF_8);
            Header[] headers = shape != 1 ? new Header[0] : new Header[] {
                new RecordHeader("h\u00e9", new byte[] {1, 2}), new RecordHeader("none", (byte[]) null)};
            builder.append(new SimpleRecord(NOW + (i % 2 == 0 ? i : -i), key, value, headers));
        }
        return builder.build().buffer();
    }

    static String dump(MemoryRecords records) {
        StringBuilder out = new StringBuilder();
        for (RecordBatch batch : records.batches()) {
            batch.ensureValid();
            out.append(String.format("%d %d %d %s %s %d %d %d %d %d %d %b %b",
                batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(),
                batch.compressionType().name, batch.timestampType().name, batch.maxTimestamp(),
                batch.producerId(), batch.producerEpoch(), batch.baseSequence(),
                batch.lastSequence(), batch.countOrNull(), batch.isTransactional(),
                batch.isControlBatch()));
            for (Record record : batch) {
                out.append(String.format(";%d %d %s %s", record.offset(), record.timestamp(),
                    hex(record.key()), hex(record.value())));
                for (Header header : record.headers())
                    out.append(" ").append(header.key()).append("=").append(
                        header.value() == null ? "-" : HexFormat.of().formatHex(header.value()));
            }
        }
        return out.toString();
    }

    static String hex(ByteBuffer bytes) {
        if (bytes == null) return "-";
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        if (copy.length > 64) {
            CRC32 crc = new CRC32();
            crc.update(copy);
            return "#" + copy.length + ":" + crc.getValue();
        }
        return "x" + HexFormat.of().formatHex(copy);
    }

    /** What a broker does with `bytes` in a Produce request, up to the log. */
    static String judge(String rules, ByteBuffer bytes) {
        Map<String, String> set = new HashMap<>();
        for (String rule : rules.split(" "))
            if (!rule.isEmpty()) set.put(rule.split("=")[0], rule.split("=")[1]);
        MemoryRecords records = MemoryRecords.readableRecords(bytes);
        try {
            ProduceRequest.validateRecords(Short.parseShort(set.getOrDefault("version", "9")), records);
            int max = Integer.parseInt(set.getOrDefault("batch_bytes_max", "1048576"));
            CompressionType source = analyze(records, max);
            MemoryRecords stored = validate(records, source, set);
            for (RecordBatch batch : stored.batches())
                if (batch.sizeInBytes() > max) throw new RecordTooLargeException("after validation");
            return "OK " + dump(stored);
        } catch (RecordValidationException e) {
            List<String> indices = new ArrayList<>();
            e.recordErrors().forEach(error -> indices.add(String.valueOf(error.batchIndex)));
            return Errors.forException(e.invalidException()) + " " + String.join(",", indices);
        } catch (ApiException e) {
            return Errors.forException(e) + " ";
        } catch (RuntimeException e) {
            System.err.println(e);
            return Errors.forException(e) + " ";
        }
    }

    /** As UnifiedLog looks at the batches of a client before it validates them. */
    static CompressionType analyze(MemoryRecords records, int max) {
        CompressionType source = CompressionType.NONE;
        for (RecordBatch batch : records.batches()) {
            if (batch.baseOffset() != 0) throw new InvalidRecordException("base offset");
            if (batch.sizeInBytes() > max) throw new RecordTooLargeException("size");
            if (!batch.isValid()) throw new CorruptRecordException("crc");
            source = batch.compressionType();
        }
        return source;
    }

    static MemoryRecords validate(MemoryRecords records, CompressionType source, Map<String, String> set) {
        Time time = new StoppedClock();
        CompressionType target = CompressionType.forName(set.getOrDefault("codec", source.name));
        TimestampType timestamps = set.containsKey("log_append_time")
            ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        LogValidator validator = new LogValidator(
            records, new TopicPartition("topic", 0), time, source, Compression.of(target).build(),
            set.containsKey("compacted"), RecordBatch.MAGIC_VALUE_V2, timestamps,
            Long.parseLong(set.getOrDefault("timestamp_before_max_ms", "" + Long.MAX_VALUE)),
            Long.parseLong(set.getOrDefault("timestamp_after_max_ms", "3600000")),
            -1, AppendOrigin.CLIENT);
        return validator.validateMessagesAndAssignOffsets(
            PrimitiveRef.ofLong(0), new Silent(), BufferSupplier.NO_CACHING).validatedRecords();
    }

    static class StoppedClock implements Time {
        public long milliseconds() { return NOW; }
        public long nanoseconds() { return NOW * 1_000_000; }
        public void sleep(long ms) { }
        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) { }
    }

    static class Silent implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    }
}
