import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * What Apache's own classes make of messages, one JSON object a line.
 *
 * "write SEED COUNT": reads names of messages from stdin; prints, for each version, the message with
 * all defaults and COUNT of random content: its bytes and the values that Apache reads from them.
 * "read": reads such lines without values from stdin, and prints them with the values that Apache
 * reads, and the bytes that it writes again.
 */
public final class MessageVectors {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
    };
    private static final PrintStream OUT =
        new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (arguments[0].equals("write")) {
                write(line, Long.parseLong(arguments[1]), Integer.parseInt(arguments[2]));
            } else {
                read(JSON.readTree(line));
            }
        }
        OUT.flush();
    }

    private static void write(String name, long seed, int count) throws Exception {
        Class<?> type = find(name);
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        short first = (short) type.getField("LOWEST_SUPPORTED_VERSION").getInt(null);
        for (short version = first; version < schemas.length; version++) {
            for (int round = 0; round <= count; round++) {
                Message message = (Message) type.getDeclaredConstructor().newInstance();
                if (round > 0) {
                    Random random = new Random(seed + 31L * name.hashCode() + 1009L * version + round);
                    fill(message, schemas[version], random);
                }
                byte[] bytes = bytesOf(message, version);
                print(name, version, bytes, valueOf(type, version, bytes));
            }
        }
    }

    private static void read(JsonNode line) throws Exception {
        String name = line.get("message").asText();
        short version = line.get("version").shortValue();
        byte[] bytes = HexFormat.of().parseHex(line.get("bytes").asText());
        Class<?> type = find(name);
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        message.read(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), version);
        print(name, version, bytesOf(message, version), dump(message));
    }

    private static void print(String name, short version, byte[] bytes, JsonNode value)
            throws Exception {
        ObjectNode line = NODES.objectNode();
        line.put("message", name);
        line.put("version", version);
        line.put("bytes", HexFormat.of().formatHex(bytes));
        line.set("value", value);
        OUT.println(JSON.writeValueAsString(line));
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String prefix : PACKAGES) {
            for (String suffix : new String[] {"Data", ""}) {
                try {
                    return Class.forName(prefix + name + suffix);
                } catch (ClassNotFoundException next) {
                    // It is in another package.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    private static byte[] bytesOf(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        return buffer.array();
    }

    private static JsonNode valueOf(Class<?> type, short version, byte[] bytes) throws Exception {
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        message.read(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), version);
        return dump(message);
    }

    // -- random content: exactly the fields that Apache's schema of the version has

    private static void fill(Message message, Schema schema, Random random) throws Exception {
        for (BoundField field : schema.fields()) {
            if (field.def.type instanceof TaggedFields tagged) {
                for (var each : tagged.fields().values()) {
                    if (random.nextInt(3) > 0) {
                        set(message, each.name, each.type, random);
                    }
                }
                if (random.nextInt(4) == 0) {
                    message.unknownTaggedFields().add(new RawTaggedField(77, octets(random)));
                    message.unknownTaggedFields().add(new RawTaggedField(1000, octets(random)));
                }
            } else {
                set(message, field.def.name, field.def.type, random);
            }
        }
    }

    private static void set(Message message, String name, Type type, Random random)
            throws Exception {
        Field field = fieldOf(message.getClass(), name);
        if (type.isNullable() && random.nextInt(4) == 0) {
            field.set(message, null);
        } else if (type.isArray()) {
            field.set(message, array(field, type.arrayElementType().get(), random));
        } else {
            field.set(message, single(field.getType(), type, random));
        }
    }

    private static Field fieldOf(Class<?> type, String name) throws NoSuchFieldException {
        String wanted = name.replace("_", "");
        for (Field field : type.getDeclaredFields()) {
            if (field.getName().toLowerCase(Locale.ROOT).equals(wanted)) {
                field.setAccessible(true);
                return field;
            }
        }
        throw new NoSuchFieldException(type + " " + name);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object array(Field field, Type element, Random random) throws Exception {
        Collection list = new ArrayList<>();
        Class<?> elementClass;
        if (field.getGenericType() instanceof ParameterizedType generic) {
            elementClass = (Class<?>) generic.getActualTypeArguments()[0];
        } else {
            list = (Collection) field.getType().getDeclaredConstructor().newInstance();
            var parent = (ParameterizedType) field.getType().getGenericSuperclass();
            elementClass = (Class<?>) parent.getActualTypeArguments()[0];
        }
        for (int left = random.nextInt(3); left > 0; left--) {
            list.add(single(elementClass, element, random));
        }
        return list;
    }

    private static Object single(Class<?> target, Type type, Random random) throws Exception {
        if (Message.class.isAssignableFrom(target)) {
            Message inner = (Message) target.getDeclaredConstructor().newInstance();
            fill(inner, schemaOf(type), random);
            return inner;
        }
        if (target == String.class) {
            return text(random);
        }
        if (target == byte[].class) {
            return octets(random);
        }
        if (target == ByteBuffer.class) {
            return ByteBuffer.wrap(octets(random));
        }
        if (target == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        }
        if (target == boolean.class) {
            return random.nextBoolean();
        }
        if (target == double.class) {
            return random.nextGaussian() * 1e9;
        }
        if (target.getSimpleName().endsWith("Records")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(octets(random)));
        }
        return integer(target, type, random);
    }

    private static Schema schemaOf(Type type) {
        return (Schema) type;
    }

    private static Object integer(Class<?> target, Type type, Random random) {
        long value = switch (random.nextInt(4)) {
            case 0 -> Long.MAX_VALUE;
            case 1 -> Long.MIN_VALUE;
            case 2 -> random.nextInt(1000) - 1;
            default -> random.nextLong();
        };
        if (type == Type.UINT16) {
            return (int) value & 0xffff;
        }
        if (type == Type.UNSIGNED_INT32) {
            return value & 0xffffffffL;
        }
        boolean edge = value == Long.MAX_VALUE || value == Long.MIN_VALUE;
        int shift = edge ? 64 - bits(target) : 0;
        value >>= shift;
        if (target == byte.class || target == Byte.class) {
            return (byte) value;
        }
        if (target == short.class || target == Short.class) {
            return (short) value;
        }
        if (target == int.class || target == Integer.class) {
            return (int) value;
        }
        return value;
    }

    private static int bits(Class<?> target) {
        return switch (target.getSimpleName()) {
            case "byte", "Byte" -> 8;
            case "short", "Short" -> 16;
            case "int", "Integer" -> 32;
            default -> 64;
        };
    }

    private static String text(Random random) {
        StringBuilder text = new StringBuilder();
        int length = random.nextInt(40) == 0 ? 200 : random.nextInt(6);
        for (int left = length; left > 0; left--) {
            int[] alphabet = {'a' + random.nextInt(26), '.', '-', 0xe9, 0x4e2d, 0x1f600, 0};
            text.appendCodePoint(alphabet[random.nextInt(8) % alphabet.length]);
        }
        return text.toString();
    }

    private static byte[] octets(Random random) {
        byte[] bytes = new byte[random.nextInt(40) == 0 ? 200 : random.nextInt(6)];
        random.nextBytes(bytes);
        return bytes;
    }

    // -- values as JSON: bytes of any kind are {"$": hex}

    private static JsonNode dump(Object value) throws Exception {
        if (value == null) {
            return NODES.nullNode();
        }
        if (value instanceof Message message) {
            return dumpMessage(message);
        }
        if (value instanceof Collection<?> list) {
            ArrayNode array = NODES.arrayNode();
            for (Object element : list) {
                array.add(dump(element));
            }
            return array;
        }
        if (value instanceof byte[] bytes) {
            return hex(bytes);
        }
        if (value instanceof ByteBuffer buffer) {
            return hex(contents(buffer));
        }
        if (value instanceof Uuid uuid) {
            var buffer = ByteBuffer.allocate(16);
            buffer.putLong(uuid.getMostSignificantBits()).putLong(uuid.getLeastSignificantBits());
            return hex(buffer.array());
        }
        if (value instanceof MemoryRecords records) {
            return hex(contents(records.buffer()));
        }
        return JSON.valueToTree(value);
    }

    private static JsonNode dumpMessage(Message message) throws Exception {
        ObjectNode node = NODES.objectNode();
        for (Field field : message.getClass().getDeclaredFields()) {
            boolean link = field.getName().equals("next") || field.getName().equals("prev");
            if (Modifier.isStatic(field.getModifiers()) || link) {
                continue;
            }
            field.setAccessible(true);
            if (!field.getName().equals("_unknownTaggedFields")) {
                node.set(field.getName(), dump(field.get(message)));
            }
        }
        List<RawTaggedField> unknown = message.unknownTaggedFields();
        if (!unknown.isEmpty()) {
            ArrayNode pairs = node.putArray("unknownTaggedFields");
            for (RawTaggedField each : unknown) {
                pairs.addArray().add(each.tag()).add(hex(each.data()));
            }
        }
        return node;
    }

    private static byte[] contents(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }

    private static JsonNode hex(byte[] bytes) {
        return NODES.objectNode().put("$", HexFormat.of().formatHex(bytes));
    }
}
