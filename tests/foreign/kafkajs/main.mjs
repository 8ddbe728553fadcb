// Scenarios of KafkaJS against a broker: main.mjs BOOTSTRAP SCENARIO NAME.
//
// A scenario makes topics and groups called NAME, prints "ok" and exits with 0, or says what went
// wrong and exits with 1. "restart" prints "acked N" as it goes on, until its input ends.
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";
import lz4 from "lz4js";
import xxh32 from "lz4js/xxh32.js";
import { ZstdCodec } from "zstd-codec";

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = kafkajs;
const DEADLINE_MS = 60_000;
const POLL_MS = 20;

const [bootstrap, scenario, name] = process.argv.slice(2);
const kafka = new Kafka({
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 100 },
});

function check(truth, what) {
  if (!truth) throw new Error(what);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again and again until the answer is yes. */
async function until(what, ask) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await pause(POLL_MS)) {
    if (ask()) return;
  }
  throw new Error(`not in time: ${what}`);
}

/** KafkaJS compresses with what it is given; only gzip is its own. */
async function learnCodecs() {
  const zstd = await new Promise((resolve) => ZstdCodec.run((z) => resolve(new z.Simple())));
  CompressionCodecs[CompressionTypes.Snappy] = snappy;
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async (encoder) => independent(Buffer.from(lz4.compress(encoder.buffer))),
    decompress: async (bytes) => Buffer.from(lz4.decompress(bytes)),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async (bytes) => Buffer.from(zstd.decompress(bytes)),
  });
}

/** Kafka takes only frames whose blocks are independent. These have one block, but do not say so. */
function independent(frame) {
  frame[4] |= 0x20;
  frame[6] = xxh32.hash(0, frame, 4, 2) >> 8;
  return frame;
}

async function createTopic(partitions) {
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: "retention.ms", value: "-1" }];
  const made = await admin.createTopics({
    topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1, configEntries }],
  });
  check(made, "the topic was there before");
  await admin.disconnect();
}

async function withProducer(work) {
  const producer = kafka.producer({ createPartitioner: () => ({ message }) => message.partition });
  await producer.connect();
  try {
    return await work(producer);
  } finally {
    await producer.disconnect();
  }
}

function produceNumbers(partitions, count) {
  const messages = Array.from({ length: count }, (_, n) => ({
    value: `${n}`,
    partition: n % partitions,
    timestamp: `${1_000_000 + 1000 * n}`,
  }));
  return withProducer((producer) => producer.send({ topic: name, messages }));
}

/** A member of the group NAME that keeps what it reads and knows its partitions. */
async function member() {
  const consumer = kafka.consumer({
    groupId: name,
    sessionTimeout: 10_000,
    heartbeatInterval: 200,
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
  });
  const self = { consumer, records: [], partitions: [] };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    self.partitions = payload.memberAssignment[name] ?? [];
  });
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      self.records.push({ partition, ...message });
    },
  });
  return self;
}

async function codecs() {
  await learnCodecs();
  await createTopic(1);
  const sent = [];
  for (const [codec, compression] of Object.entries(CompressionTypes)) {
    const messages = Array.from({ length: 100 }, (_, n) => ({
      key: codec,
      value: `${codec} value ${n}, said again and again and again`,
      headers: { codec, n: `${n}` },
      timestamp: `${1_000_000 + n}`,
      partition: 0,
    }));
    await withProducer((producer) => producer.send({ topic: name, compression, messages }));
    sent.push(...messages);
  }
  const reader = await member();
  await until(`${sent.length} records`, () => reader.records.length === sent.length);
  reader.records.forEach((got, n) => {
    const { key, value, headers, timestamp } = sent[n];
    const said = [got.offset, got.key, got.value, got.headers.codec, got.headers.n, got.timestamp];
    const want = [n, key, value, headers.codec, headers.n, timestamp];
    check(`${said}` === `${want}`, `record ${n} is ${said}, not ${want}`);
  });
  await reader.consumer.disconnect();
}

async function group() {
  await createTopic(4);
  const [first, second] = [await member(), await member()];
  const share = (m) => m.partitions.length;
  await until("two partitions each", () => share(first) === 2 && share(second) === 2);
  await produceNumbers(4, 400);
  await until("400 records", () => first.records.length + second.records.length === 400);
  await second.consumer.disconnect();
  await until("all partitions", () => share(first) === 4);
  await produceNumbers(4, 100);
  await until("500 records", () => first.records.length + second.records.length === 500);
  await first.consumer.disconnect();
}

async function seek() {
  await createTopic(1);
  await produceNumbers(1, 100);
  const admin = kafka.admin();
  await admin.connect();
  // Between the times of records 39 and 40.
  const [found] = await admin.fetchTopicOffsetsByTimestamp(name, 1_000_000 + 39_500);
  check(found.offset === "40", `the offset of record 40 is ${found.offset}`);
  const reader = await member();
  await until("all records", () => reader.records.length === 100);
  for (const offset of ["40", "7"]) {
    reader.records.length = 0;
    reader.consumer.seek({ topic: name, partition: 0, offset });
    await until(`record ${offset}`, () => reader.records.length > 0);
    const got = `${reader.records[0].value}`;
    check(got === offset, `the record at ${offset} is ${got}`);
    await until("the end", () => reader.records.at(-1).offset === "99");
  }
  await reader.consumer.disconnect();
  await admin.disconnect();
}

async function pauseAndResume() {
  await createTopic(2);
  const reader = await member();
  await until("both partitions", () => reader.partitions.length === 2);
  for (const paused of [0, 1]) {
    reader.records.length = 0;
    reader.consumer.pause([{ topic: name, partitions: [paused] }]);
    await produceNumbers(2, 20);
    await until("ten records", () => reader.records.length >= 10);
    check(
      reader.records.length === 10 && reader.records.every((r) => r.partition !== paused),
      "a record of a partition that is paused",
    );
    reader.consumer.resume([{ topic: name, partitions: [paused] }]);
    await until("twenty records", () => reader.records.length === 20);
  }
  await reader.consumer.disconnect();
}

async function restart() {
  await createTopic(1);
  let running = true;
  process.stdin.resume();
  process.stdin.on("end", () => {
    running = false;
  });
  const reader = await member();
  let acked = 0;
  await withProducer(async (producer) => {
    while (running) {
      await producer.send({ topic: name, acks: -1, messages: [{ value: `${acked}`, partition: 0 }] });
      acked += 1;
      console.log("acked", acked);
    }
  });
  const numbers = () => [...new Set(reader.records.map((r) => Number(r.value)))];
  await until("all records read", () => numbers().length >= acked);
  // Without idempotence a retry may come twice, and what is read twice is counted once.
  const lost = Array.from({ length: acked }, (_, n) => n).filter((n, at) => numbers()[at] !== n);
  check(lost.length === 0, `lost or out of order: ${lost.slice(0, 10)}`);
  await reader.consumer.disconnect();
}

const scenarios = { codecs, group, seek, pause: pauseAndResume, restart };
try {
  await scenarios[scenario]();
  console.log("ok");
  process.exit(0);
} catch (error) {
  console.log(error.stack);
  process.exit(1);
}
