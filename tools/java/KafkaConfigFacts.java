import java.lang.reflect.Field;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.ConfigSynonym;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Prints, tab-separated, what Apache Kafka's own classes say about its configuration keys.
 *
 * <p>Lines: {@code release version}, {@code key scope name type default importance internal validator},
 * {@code mode name update-mode}, {@code topic-synonym name broker-name converter},
 * {@code group-synonym name broker-name}, {@code names name name...} (broker synonyms, in order).
 */
public final class KafkaConfigFacts {
    public static void main(String[] args) throws Exception {
        print("release", AppInfoParser.getVersion());
        keys("broker", AbstractKafkaConfig.CONFIG_DEF);
        keys("broker-dynamic", QuotaConfig.brokerQuotaConfigs());
        keys("topic", LogConfig.configDefCopy());
        keys("group", GroupConfig.CONFIG_DEF);
        keys("client-metrics", ClientMetricsConfigs.configDef());
        modes();
        topicSynonyms();
        new TreeMap<>(GroupConfig.ALL_GROUP_CONFIG_SYNONYMS).forEach(
            (name, broker) -> print("group-synonym", name, broker.orElse("")));
        for (String name : new TreeSet<>(AbstractKafkaConfig.CONFIG_DEF.names())) {
            var names = DynamicBrokerConfig.brokerConfigSynonyms(name, true);
            if (names.size() > 1) {
                print("names", name, String.join(",", names));
            }
        }
    }

    private static void keys(String scope, ConfigDef def) {
        for (var key : new TreeMap<>(def.configKeys()).values()) {
            Object value = key.hasDefault() ? key.defaultValue : null;
            String text = key.hasDefault()
                ? value == null ? "null" : "=" + ConfigDef.convertToString(value, key.type)
                : "none";
            print("key", scope, key.name, key.type.name(), text, key.importance.name(),
                Boolean.toString(key.internalConfig), validator(key.validator));
        }
    }

    private static String validator(ConfigDef.Validator validator) {
        if (validator == null) {
            return "-";
        }
        StringBuilder fields = new StringBuilder(validator.getClass().getSimpleName());
        for (Field field : validator.getClass().getDeclaredFields()) {
            if (!java.lang.reflect.Modifier.isStatic(field.getModifiers())
                    && field.getType().isPrimitive()) {
                try {
                    field.setAccessible(true);
                    fields.append(' ').append(field.getName()).append('=').append(field.get(validator));
                } catch (IllegalAccessException denied) {
                    throw new IllegalStateException(denied);
                }
            }
        }
        return fields + " " + validator;
    }

    private static void modes() {
        new TreeMap<>(DynamicBrokerConfig.dynamicConfigUpdateModes())
            .forEach((name, mode) -> print("mode", name, mode));
    }

    private static void topicSynonyms() {
        for (var entry : new TreeMap<>(ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS).entrySet()) {
            for (ConfigSynonym synonym : entry.getValue()) {
                print("topic-synonym", entry.getKey(), synonym.name(), synonym.converter().apply("1"));
            }
        }
    }

    private static void print(String... columns) {
        System.out.println(String.join("\t", columns).replace("\n", " "));
    }
}
