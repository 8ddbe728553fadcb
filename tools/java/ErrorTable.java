import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** Prints Kafka's error codes, one a line: code, name, whether a client may retry, its exception. */
public final class ErrorTable {
    public static void main(String[] arguments) {
        for (Errors error : Errors.values()) {
            Exception exception = error.exception();
            System.out.printf("%d %s %s %s%n", error.code(), error.name(),
                exception instanceof RetriableException,
                exception == null ? "-" : exception.getClass().getSimpleName());
        }
    }
}
