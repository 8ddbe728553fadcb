// Scenarios of franz-go against a broker: main BOOTSTRAP SCENARIO NAME.
//
// A scenario makes topics and groups called NAME, prints "ok" and exits with 0, or says what went
// wrong and exits with 1. "restart" prints "acked N" as it goes on, until its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadline = 60 * time.Second

type scenario func(ctx context.Context, bootstrap, name string) error

func main() {
	scenarios := map[string]scenario{
		"codecs":  codecs,
		"group":   group,
		"seek":    seek,
		"pause":   pause,
		"restart": restart,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*deadline)
	defer cancel()
	if err := scenarios[os.Args[2]](ctx, os.Args[1], os.Args[3]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func client(bootstrap string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
}

func createTopic(ctx context.Context, bootstrap, name string, partitions int32) error {
	cl, err := client(bootstrap)
	if err != nil {
		return err
	}
	defer cl.Close()
	forever := "-1"
	configs := map[string]*string{"retention.ms": &forever}
	_, err = kadm.NewClient(cl).CreateTopic(ctx, partitions, 1, configs, name)
	return err
}

// read returns the next count records.
func read(ctx context.Context, cl *kgo.Client, count int) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var records []*kgo.Record
	for len(records) < count {
		fetches := cl.PollRecords(ctx, count-len(records))
		if err := fetches.Err(); err != nil {
			return records, fmt.Errorf("after %d of %d records: %w", len(records), count, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

// until asks again and again until the answer is yes.
func until(what string, ask func() bool) error {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ask() {
			return nil
		}
	}
	return fmt.Errorf("not in time: %s", what)
}

func codecs(ctx context.Context, bootstrap, name string) error {
	if err := createTopic(ctx, bootstrap, name, 1); err != nil {
		return err
	}
	all := map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
	var sent []*kgo.Record
	for codec, compression := range all {
		cl, err := client(bootstrap, kgo.ProducerBatchCompression(compression))
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for n := range 100 {
			records = append(records, &kgo.Record{
				Topic:     name,
				Key:       []byte(codec),
				Value:     []byte(fmt.Sprintf("%s value %d, said again and again and again", codec, n)),
				Headers:   []kgo.RecordHeader{{Key: "codec", Value: []byte(codec)}, {Key: "n"}},
				Timestamp: time.UnixMilli(int64(1_000_000 + n)),
			})
		}
		err = cl.ProduceSync(ctx, records...).FirstErr()
		cl.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		sent = append(sent, records...)
	}
	cl, err := client(bootstrap, kgo.ConsumeTopics(name))
	if err != nil {
		return err
	}
	defer cl.Close()
	got, err := read(ctx, cl, len(sent))
	if err != nil {
		return err
	}
	for n, record := range got {
		if said, want := text(record), text(sent[n]); said != want {
			return fmt.Errorf("record %d is %s, not %s", n, said, want)
		}
	}
	return nil
}

func text(r *kgo.Record) string {
	return fmt.Sprintf("%d %q %q %q %d", r.Offset, r.Key, r.Value, r.Headers, r.Timestamp.UnixMilli())
}

func group(ctx context.Context, bootstrap, name string) error {
	if err := createTopic(ctx, bootstrap, name, 4); err != nil {
		return err
	}
	first, err := newMember(bootstrap, name)
	if err != nil {
		return err
	}
	defer first.close()
	second, err := newMember(bootstrap, name)
	if err != nil {
		return err
	}
	err = until("two partitions each", func() bool {
		return first.partitions.Load() == 2 && second.partitions.Load() == 2
	})
	if err != nil {
		return err
	}
	if err := produceNumbers(ctx, bootstrap, name, 4, 400); err != nil {
		return err
	}
	err = until("400 records", func() bool { return first.records.Load()+second.records.Load() == 400 })
	if err != nil {
		return err
	}
	second.close()
	if err := until("all partitions", func() bool { return first.partitions.Load() == 4 }); err != nil {
		return err
	}
	if err := produceNumbers(ctx, bootstrap, name, 4, 100); err != nil {
		return err
	}
	return until("500 records", func() bool { return first.records.Load()+second.records.Load() == 500 })
}

// member is a consumer of a group that counts what it has.
type member struct {
	client     *kgo.Client
	partitions atomic.Int64
	records    atomic.Int64
	ended      chan struct{}
}

func newMember(bootstrap, name string) (*member, error) {
	m := &member{ended: make(chan struct{})}
	count := func(sign int64) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.partitions.Add(sign * int64(len(changed[name])))
		}
	}
	cl, err := client(bootstrap,
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)),
		kgo.OnPartitionsLost(count(-1)),
	)
	if err != nil {
		return nil, err
	}
	m.client = cl
	go func() {
		defer close(m.ended)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.records.Add(int64(fetches.NumRecords()))
		}
	}()
	return m, nil
}

// close leaves the group after a commit of all that was read.
func (m *member) close() {
	_ = m.client.CommitUncommittedOffsets(context.Background())
	m.client.Close()
	<-m.ended
}

func produceNumbers(ctx context.Context, bootstrap, topic string, partitions int32, count int) error {
	cl, err := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	var records []*kgo.Record
	for n := range count {
		records = append(records, &kgo.Record{
			Topic:     topic,
			Partition: int32(n) % partitions,
			Value:     []byte(strconv.Itoa(n)),
			Timestamp: time.UnixMilli(int64(1_000_000 + 1000*n)),
		})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func seek(ctx context.Context, bootstrap, name string) error {
	if err := createTopic(ctx, bootstrap, name, 1); err != nil {
		return err
	}
	if err := produceNumbers(ctx, bootstrap, name, 1, 100); err != nil {
		return err
	}
	// Between the times of records 39 and 40.
	at := kgo.NewOffset().AfterMilli(1_000_000 + 39_500)
	cl, err := client(bootstrap, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: at}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := expect(ctx, cl, 40); err != nil {
		return err
	}
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 7}}})
	if err := expect(ctx, cl, 7); err != nil {
		return err
	}
	listed, err := kadm.NewClient(cl).ListOffsetsAfterMilli(ctx, 1_000_000+90_000, name)
	if err != nil {
		return err
	}
	if found, _ := listed.Lookup(name, 0); found.Offset != 90 {
		return fmt.Errorf("the offset listed for record 90 is %d", found.Offset)
	}
	return nil
}

// expect fails unless the next record is that number.
func expect(ctx context.Context, cl *kgo.Client, number int) error {
	records, err := read(ctx, cl, 1)
	if err != nil {
		return err
	}
	if got := string(records[0].Value); got != strconv.Itoa(number) {
		return fmt.Errorf("the next record is %s, not %d", got, number)
	}
	return nil
}

func pause(ctx context.Context, bootstrap, name string) error {
	if err := createTopic(ctx, bootstrap, name, 2); err != nil {
		return err
	}
	start := kgo.NewOffset().AtStart()
	cl, err := client(bootstrap,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: start, 1: start}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, paused := range []int32{0, 1} {
		cl.PauseFetchPartitions(map[string][]int32{name: {paused}})
		if err := produceNumbers(ctx, bootstrap, name, 2, 20); err != nil {
			return err
		}
		if err := onlyFrom(ctx, cl, 1-paused); err != nil {
			return err
		}
		cl.ResumeFetchPartitions(map[string][]int32{name: {paused}})
		if err := onlyFrom(ctx, cl, paused); err != nil {
			return err
		}
	}
	return nil
}

// onlyFrom fails unless the next ten records are of that partition.
func onlyFrom(ctx context.Context, cl *kgo.Client, partition int32) error {
	records, err := read(ctx, cl, 10)
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Partition != partition {
			return fmt.Errorf("a record of partition %d, not %d", record.Partition, partition)
		}
	}
	return nil
}

func restart(ctx context.Context, bootstrap, name string) error {
	if err := createTopic(ctx, bootstrap, name, 1); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.ReadAll(os.Stdin)
		close(ended)
	}()
	consumer, err := client(bootstrap, kgo.ConsumerGroup(name), kgo.ConsumeTopics(name),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(10*time.Second))
	if err != nil {
		return err
	}
	defer consumer.Close()
	producer, err := client(bootstrap, kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer producer.Close()
	reader := &reader{wrong: make(chan error, 1)}
	go reader.run(consumer)
	acked := 0
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
			record := &kgo.Record{Topic: name, Value: []byte(strconv.Itoa(acked))}
			if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
				return fmt.Errorf("record %d: %w", acked, err)
			}
			acked++
			fmt.Println("acked", acked)
		}
	}
	err = until("all records read", func() bool {
		return len(reader.wrong) > 0 || reader.count.Load() == int64(acked)
	})
	if len(reader.wrong) > 0 {
		return <-reader.wrong
	}
	return err
}

// reader reads numbered records in order. A group may be given some again, from its last commit.
type reader struct {
	count atomic.Int64
	wrong chan error
}

// run reads until the client is closed; errors of a restart are the client's to get over.
func (r *reader) run(consumer *kgo.Client) {
	for {
		fetches := consumer.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		for _, record := range fetches.Records() {
			count := r.count.Load()
			if record.Offset < count {
				continue
			}
			if got := string(record.Value); got != strconv.FormatInt(count, 10) {
				r.wrong <- fmt.Errorf("record %d is %s", count, got)
				return
			}
			r.count.Store(count + 1)
		}
	}
}
