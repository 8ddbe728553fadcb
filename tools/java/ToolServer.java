import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs many of Apache's command-line tools in one JVM, since starting one for each costs seconds.
 *
 * <p>Standard input has one JSON object a line: {"id", "main", "args", "stdin"} runs a class's main
 * in a thread of its own, {"id", "stop": true} does to that run what SIGTERM does to a process (its
 * shutdown hooks), {"id", "peek": true} asks what it has printed so far. Standard output has one
 * object a line: {"id", "exit", "out", "err"} at the end of a run, {"id", "out", "err"} for a peek.
 * The end of standard input ends the JVM. So does a System.exit, which some tools call when their
 * options are wrong; most use Kafka's own Exit, which only ends the run.
 */
public final class ToolServer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();
    private static final Map<Long, Run> RUNS = new ConcurrentHashMap<>();
    private static final Map<Thread, Thread> JVM_HOOKS = jvmHooks();
    private static final PrintStream ANSWERS = System.out;
    private static final PrintStream LOG = System.err;
    private static final PrintStream NOWHERE = new PrintStream(OutputStream.nullOutputStream());

    /** What one run has: its streams, its hooks, and the status of its first exit. */
    private static final class Run {
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        final ByteArrayOutputStream err = new ByteArrayOutputStream();
        final PrintStream outPrinter = new PrintStream(out, true, StandardCharsets.UTF_8);
        final PrintStream errPrinter = new PrintStream(err, true, StandardCharsets.UTF_8);
        final List<Runnable> hooks = new ArrayList<>();
        final InputStream in;
        /** Marks the threads of this run, among them the hooks that it gives to the JVM. */
        final ThreadGroup group = new ThreadGroup("run");
        Integer exit;
        /** The thread that a process would no longer have: what it still prints is not the tool's. */
        volatile Thread unwinding;

        Run(String stdin) {
            in = new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8));
        }

        synchronized void exited(int status) {
            if (exit == null) exit = status;
        }

        /** Its shutdown hooks, each of them once. */
        synchronized List<Runnable> takeHooks() {
            List<Runnable> taken = new ArrayList<>(hooks);
            hooks.clear();
            synchronized (JVM_HOOKS) {
                for (Thread hook : List.copyOf(JVM_HOOKS.keySet())) {
                    if (hook.getThreadGroup() == group) {
                        taken.add(hook);
                        JVM_HOOKS.remove(hook);
                    }
                }
            }
            return taken;
        }

        synchronized void addHook(Runnable hook) {
            hooks.add(hook);
        }
    }

    /** Unwinds a tool's thread where the tool would have ended its process. */
    private static final class Exited extends Error {
        private static final long serialVersionUID = 1;

        Exited(int status) {
            super("exit " + status, null, false, false);
        }
    }

    /** Writes to the streams of the run that the writing thread belongs to. */
    private static final class Dispatch extends OutputStream {
        private final boolean error;

        Dispatch(boolean error) {
            this.error = error;
        }

        private PrintStream target() {
            Run run = CURRENT.get();
            if (run == null) return LOG;
            if (run.unwinding == Thread.currentThread()) return NOWHERE;
            return error ? run.errPrinter : run.outPrinter;
        }

        @Override
        public void write(int b) {
            target().write(b);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) {
            target().write(bytes, offset, length);
        }
    }

    /** Reads what the run that the reading thread belongs to was given. */
    private static final class Input extends InputStream {
        @Override
        public int read() throws IOException {
            return CURRENT.get().in.read();
        }

        @Override
        public int read(byte[] bytes, int offset, int length) throws IOException {
            return CURRENT.get().in.read(bytes, offset, length);
        }
    }

    public static void main(String[] args) throws IOException {
        BufferedReader requests =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(new Dispatch(false), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Dispatch(true), true, StandardCharsets.UTF_8));
        System.setIn(new Input());
        Exit.setExitProcedure(ToolServer::unwind);
        Exit.setHaltProcedure(ToolServer::unwind);
        Exit.setShutdownHookAdder((name, hook) -> {
            Run run = CURRENT.get();
            if (run != null) run.addHook(hook);
        });
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            serve(JSON.readTree(line));
        }
        Runtime.getRuntime().halt(0);
    }

    /**
     * Where the JVM keeps its shutdown hooks: the verifiable tools give theirs to it, not to Exit.
     * Needs --add-opens java.base/java.lang=ALL-UNNAMED.
     */
    @SuppressWarnings("unchecked")
    private static Map<Thread, Thread> jvmHooks() {
        try {
            Field hooks = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
            hooks.setAccessible(true);
            return (Map<Thread, Thread>) hooks.get(null);
        } catch (ReflectiveOperationException why) {
            throw new ExceptionInInitializerError(why);
        }
    }

    private static void serve(JsonNode request) {
        long id = request.get("id").asLong();
        if (request.has("stop")) {
            inThread(RUNS.get(id), () -> runHooks(RUNS.get(id)));
        } else if (request.has("peek")) {
            answer(id, RUNS.get(id), false);
        } else {
            Run run = new Run(request.path("stdin").asText(""));
            RUNS.put(id, run);
            inThread(run, () -> {
                runMain(run, request);
                answer(id, run, true);
                RUNS.remove(id);
            });
        }
    }

    private static void inThread(Run run, Runnable work) {
        if (run == null) return;
        Thread thread = new Thread(run.group, () -> {
            CURRENT.set(run);
            work.run();
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static void runMain(Run run, JsonNode request) {
        List<String> args = new ArrayList<>();
        request.get("args").forEach(arg -> args.add(arg.asText()));
        try {
            Class.forName(request.get("main").asText())
                .getMethod("main", String[].class)
                .invoke(null, (Object) args.toArray(new String[0]));
            run.exited(0);
        } catch (InvocationTargetException wrapped) {
            failed(run, wrapped.getCause());
        } catch (ReflectiveOperationException why) {
            failed(run, why);
        }
        // A process runs its hooks whenever it ends; some tools print their summary in them.
        runHooks(run);
    }

    private static void failed(Run run, Throwable why) {
        if (!(why instanceof Exited)) why.printStackTrace(run.errPrinter);
        run.exited(1);
    }

    /** Returns when all hooks have run, also those that another thread has begun. */
    private static void runHooks(Run run) {
        synchronized (run.hooks) {
            run.unwinding = null;
            for (Runnable hook : run.takeHooks()) {
                try {
                    hook.run();
                } catch (Exited ended) {
                    // The first status stands.
                }
            }
        }
    }

    private static void unwind(int status, String message) {
        Run run = CURRENT.get();
        if (message != null) System.err.println(message);
        if (run != null) {
            run.exited(status);
            run.unwinding = Thread.currentThread();
        }
        throw new Exited(status);
    }

    private static void answer(long id, Run run, boolean ended) {
        ObjectNode answer = JSON.createObjectNode().put("id", id);
        if (run == null) {
            answer.put("out", "").put("err", "no such run");
        } else {
            if (ended) answer.put("exit", run.exit);
            answer.put("out", run.out.toString(StandardCharsets.UTF_8));
            answer.put("err", run.err.toString(StandardCharsets.UTF_8));
        }
        synchronized (ANSWERS) {
            ANSWERS.println(answer.toString());
            ANSWERS.flush();
        }
    }
}
