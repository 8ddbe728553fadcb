import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;
import org.apache.kafka.common.protocol.Errors;

/**
 * Asks a real broker (node id 1) to describe and alter configurations, and prints its answers.
 *
 * <p>Lines, tab-separated: {@code entry case name value source sensitive read-only type synonyms},
 * {@code attempt case resource operations code message} (code 0: accepted; nothing is stored).
 */
public final class KafkaConfigAnswers {
    private static final ConfigResource BROKER = new ConfigResource(Type.BROKER, "1");
    private static final ConfigResource BROKERS = new ConfigResource(Type.BROKER, "");
    private static final ConfigResource TOPIC = new ConfigResource(Type.TOPIC, "configured");

    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.createTopics(List.of(new NewTopic("plain", 1, (short) 1),
                new NewTopic("configured", 1, (short) 1).configs(Map.of(
                    "retention.ms", "1000", "cleanup.policy", "compact,delete",
                    "max.message.bytes", "2000000")))).all().get();
            describe(admin, "topic-plain", new ConfigResource(Type.TOPIC, "plain"));
            describe(admin, "broker-static", BROKER);
            describe(admin, "brokers-empty", BROKERS);
            describe(admin, "group-plain", new ConfigResource(Type.GROUP, "g"));
            attempts(admin);
            alter(admin, "set-default", BROKERS, false, set("log.retention.ms", "7200000"),
                set("message.max.bytes", "3000000"), set("log.cleaner.threads", "2"));
            alter(admin, "set-broker", BROKER, false, set("log.retention.ms", "3600000"),
                set("log.roll.ms", "1000000"), set("custom.plugin.key", "x"));
            alter(admin, "set-group", new ConfigResource(Type.GROUP, "g"), false,
                set("consumer.session.timeout.ms", "50000"));
            Thread.sleep(1000);
            describe(admin, "topic-configured", TOPIC);
            describe(admin, "topic-dynamic", new ConfigResource(Type.TOPIC, "plain"));
            describe(admin, "broker-dynamic", BROKER);
            describe(admin, "brokers-dynamic", BROKERS);
            describe(admin, "group-configured", new ConfigResource(Type.GROUP, "g"));
        }
    }

    private static void attempts(Admin admin) {
        int number = 0;
        for (AlterConfigOp op : List.of(
                set("nonsense", "1"), set("retention.ms", "-5"), set("retention.ms", "abc"),
                set("retention.ms", ""), set("segment.bytes", "1"), set("segment.bytes", "9999999999"),
                set("cleanup.policy", "foo"), set("cleanup.policy", ""), set("cleanup.policy", "none"),
                set("cleanup.policy", "compact,compact"), set("cleanup.policy", "compact,"),
                set("compression.type", "bad"), set("compression.gzip.level", "0"),
                set("preallocate", "yes"), set("min.cleanable.dirty.ratio", "1.5"),
                set("min.cleanable.dirty.ratio", "x"), set("min.insync.replicas", "0"),
                set("remote.storage.enable", "true"),
                set("leader.replication.throttled.replicas", "abc"),
                set("leader.replication.throttled.replicas", "*"),
                set("leader.replication.throttled.replicas", "0:1,1:2"),
                set("leader.replication.throttled.replicas", "none"),
                set("internal.segment.bytes", "100"), set("retention.ms", " 5000 "),
                set("preallocate", "TRUE"),
                set("min.compaction.lag.ms", "10"), set("max.compaction.lag.ms", "0"),
                op("retention.ms", "5", OpType.APPEND), op("cleanup.policy", "compact", OpType.APPEND),
                op("cleanup.policy", "delete", OpType.SUBTRACT), op("nonsense", "a", OpType.APPEND),
                op("cleanup.policy", "bad", OpType.SUBTRACT), op("nonsense", "", OpType.DELETE))) {
            alter(admin, "topic-try-" + number++, TOPIC, true, op);
        }
        alter(admin, "topic-try-lags", TOPIC, true, set("min.compaction.lag.ms", "100"),
            set("max.compaction.lag.ms", "10"));
        alter(admin, "topic-try-missing", new ConfigResource(Type.TOPIC, "missing"), true,
            set("retention.ms", "1"));
        for (AlterConfigOp op : List.of(
                set("log.retention.hours", "1"), set("node.id", "5"), set("log.retention.ms", "abc"),
                set("log.retention.ms", "0"), set("custom.key", "1"), set("listeners", "PLAINTEXT://:1"),
                set("ssl.keystore.location", "/x"), set("log.cleaner.threads", "0"),
                set("log.cleaner.threads", "100"), set("num.io.threads", "0"),
                set("num.io.threads", "100"), set("log.segment.bytes", "1"),
                set("log.cleanup.policy", "bad"), set("min.insync.replicas", "2"),
                set("leader.replication.throttled.rate", "-1"),
                set("listener.name.plaintext.ssl.keystore.location", "/x"),
                set("max.connections.per.ip.overrides", "bad"), set("principal.builder.class", "x"),
                set("log.cleaner.min.compaction.lag.ms", "-1"), op("num.io.threads", "1", OpType.APPEND),
                op("log.cleanup.policy", "compact", OpType.APPEND),
                op("nonsense", "compact", OpType.APPEND), set("log.message.timestamp.type", "x"),
                set("automq.key", "x"))) {
            alter(admin, "broker-try-" + number, BROKER, true, op);
            alter(admin, "brokers-try-" + number++, BROKERS, true, op);
        }
        alter(admin, "broker-try-other", new ConfigResource(Type.BROKER, "7"), true, set("x", "1"));
        ConfigResource group = new ConfigResource(Type.GROUP, "g");
        for (AlterConfigOp op : List.of(set("nonsense", "1"), set("consumer.session.timeout.ms", "1"),
                set("consumer.session.timeout.ms", "100000"), set("consumer.session.timeout.ms", "x"),
                set("consumer.heartbeat.interval.ms", "100"), set("share.auto.offset.reset", "x"),
                set("share.auto.offset.reset", "by_duration:PT1H"), set("share.isolation.level", "x"),
                set("consumer.heartbeat.interval.ms", "16000"),
                set("share.record.lock.duration.ms", "1000"), set("streams.num.standby.replicas", "9"),
                set("share.delivery.count.limit", "2"), set("share.delivery.count.limit", "50"))) {
            alter(admin, "group-try-" + number++, group, true, op);
        }
        ConfigResource metrics = new ConfigResource(Type.CLIENT_METRICS, "m");
        for (AlterConfigOp op : List.of(set("nonsense", "1"), set("interval.ms", "1"),
                set("interval.ms", "1000"), set("match", "client_id"), set("match", "client_id=["),
                set("match", "x=y"), set("match", "client_id=a.*,client_software_name=b"),
                set("metrics", "*"), set("metrics", ""))) {
            alter(admin, "metrics-try-" + number++, metrics, true, op);
        }
    }

    private static AlterConfigOp set(String name, String value) {
        return op(name, value, OpType.SET);
    }

    private static AlterConfigOp op(String name, String value, OpType type) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private static void alter(Admin admin, String label, ConfigResource target, boolean only,
            AlterConfigOp... ops) {
        Collection<AlterConfigOp> all = List.of(ops);
        String what = all.stream().map(op -> op.opType() + " " + op.configEntry().name() + "="
            + op.configEntry().value()).collect(Collectors.joining(";"));
        String kind = target.type() + ":" + target.name();
        try {
            admin.incrementalAlterConfigs(Map.of(target, all),
                new AlterConfigsOptions().validateOnly(only)).all().get();
            print("attempt", label, kind, what, "0", "");
        } catch (ExecutionException refused) {
            print("attempt", label, kind, what,
                Short.toString(Errors.forException(refused.getCause()).code()),
                String.valueOf(refused.getCause().getMessage()));
        } catch (InterruptedException stopped) {
            throw new IllegalStateException(stopped);
        }
    }

    private static void describe(Admin admin, String label, ConfigResource target) throws Exception {
        Config config = admin.describeConfigs(List.of(target),
            new DescribeConfigsOptions().includeSynonyms(true)).all().get().get(target);
        List<ConfigEntry> entries = new ArrayList<>(config.entries());
        entries.sort(Comparator.comparing(ConfigEntry::name));
        for (ConfigEntry entry : entries) {
            print("entry", label, entry.name(), String.valueOf(entry.value()), entry.source().name(),
                Boolean.toString(entry.isSensitive()), Boolean.toString(entry.isReadOnly()),
                entry.type().name(), entry.synonyms().stream()
                    .map(s -> s.source() + ":" + s.name() + "=" + s.value())
                    .collect(Collectors.joining(";")));
        }
    }

    private static void print(String... columns) {
        System.out.println(String.join("\t", columns).replace("\n", " "));
    }
}
