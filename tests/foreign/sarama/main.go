// Scenarios of sarama against a broker: main BOOTSTRAP SCENARIO NAME.
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

	"github.com/IBM/sarama"
)

const deadline = 60 * time.Second

type scenario func(bootstrap []string, name string) error

func main() {
	scenarios := map[string]scenario{
		"codecs":  codecs,
		"group":   group,
		"seek":    seek,
		"pause":   pause,
		"restart": restart,
	}
	if err := scenarios[os.Args[2]]([]string{os.Args[1]}, os.Args[3]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// config is of a patient, idempotent producer that knows all versions and of a consumer from the
// start.
func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Return.Successes = true
	c.Producer.Retry.Max = 600
	c.Producer.Retry.Backoff = 100 * time.Millisecond
	c.Metadata.Retry.Max = 600
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	c.Consumer.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Return.Errors = true
	return c
}

func createTopic(bootstrap []string, name string, partitions int32) error {
	admin, err := sarama.NewClusterAdmin(bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	forever := "-1"
	return admin.CreateTopic(name, &sarama.TopicDetail{
		NumPartitions:     partitions,
		ReplicationFactor: 1,
		ConfigEntries:     map[string]*string{"retention.ms": &forever},
	}, false)
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

// read returns the next count records of a partition.
func read(from sarama.PartitionConsumer, count int) ([]*sarama.ConsumerMessage, error) {
	var records []*sarama.ConsumerMessage
	timeout := time.After(deadline)
	for len(records) < count {
		select {
		case record := <-from.Messages():
			records = append(records, record)
		case err := <-from.Errors():
			return records, err
		case <-timeout:
			return records, fmt.Errorf("only %d of %d records in time", len(records), count)
		}
	}
	return records, nil
}

// withPartition runs work on a consumer of partition 0 from an offset.
func withPartition(
	bootstrap []string, topic string, offset int64, work func(sarama.PartitionConsumer) error,
) error {
	consumer, err := sarama.NewConsumer(bootstrap, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, offset)
	if err != nil {
		return err
	}
	defer partition.Close()
	return work(partition)
}

func codecs(bootstrap []string, name string) error {
	if err := createTopic(bootstrap, name, 1); err != nil {
		return err
	}
	var sent []*sarama.ProducerMessage
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
		sarama.CompressionLZ4, sarama.CompressionZSTD,
	} {
		c := config()
		c.Producer.Compression = codec
		producer, err := sarama.NewSyncProducer(bootstrap, c)
		if err != nil {
			return err
		}
		var records []*sarama.ProducerMessage
		for n := range 100 {
			value := fmt.Sprintf("%s value %d, said again and again and again", codec, n)
			records = append(records, &sarama.ProducerMessage{
				Topic:     name,
				Key:       sarama.StringEncoder(codec.String()),
				Value:     sarama.StringEncoder(value),
				Headers:   []sarama.RecordHeader{{Key: []byte("codec"), Value: []byte(codec.String())}},
				Timestamp: time.UnixMilli(int64(1_000_000 + n)),
			})
		}
		err = producer.SendMessages(records)
		producer.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		sent = append(sent, records...)
	}
	return withPartition(bootstrap, name, 0, func(partition sarama.PartitionConsumer) error {
		got, err := read(partition, len(sent))
		if err != nil {
			return err
		}
		for n, record := range got {
			if err := same(record, sent[n], int64(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func same(got *sarama.ConsumerMessage, sent *sarama.ProducerMessage, offset int64) error {
	key, _ := sent.Key.Encode()
	value, _ := sent.Value.Encode()
	want := fmt.Sprintf("%d %q %q %q %d",
		offset, key, value, sent.Headers[0].Value, sent.Timestamp.UnixMilli())
	said := fmt.Sprintf("%d %q %q %q %d",
		got.Offset, got.Key, got.Value, got.Headers[0].Value, got.Timestamp.UnixMilli())
	if said != want {
		return fmt.Errorf("a record is %s, not %s", said, want)
	}
	return nil
}

// member is a consumer of a group that counts what it has; order, if set, checks numbered records.
type member struct {
	group      sarama.ConsumerGroup
	partitions atomic.Int64
	records    atomic.Int64
	wrong      chan error
	inOrder    bool
	stop       context.CancelFunc
	ended      chan struct{}
}

func newMember(bootstrap []string, name string, inOrder bool) (*member, error) {
	group, err := sarama.NewConsumerGroup(bootstrap, name, config())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{
		group: group, inOrder: inOrder, stop: stop,
		wrong: make(chan error, 1), ended: make(chan struct{}),
	}
	go func() {
		for range group.Errors() {
			// Of a restart: the client's to get over.
		}
	}()
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{name}, m); err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		m.partitions.Store(int64(len(partitions)))
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.partitions.Store(0)
	return nil
}

func (m *member) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for record := range claim.Messages() {
		if want := strconv.FormatInt(m.records.Load(), 10); m.inOrder && record.Offset >= m.records.Load() {
			if string(record.Value) != want {
				m.wrong <- fmt.Errorf("record %s is %s", want, record.Value)
				return nil
			}
			m.records.Add(1)
		} else if !m.inOrder {
			m.records.Add(1)
		}
		session.MarkMessage(record, "")
	}
	return nil
}

// close commits what was read and leaves the group.
func (m *member) close() {
	m.stop()
	<-m.ended
	m.group.Close()
}

func group(bootstrap []string, name string) error {
	if err := createTopic(bootstrap, name, 4); err != nil {
		return err
	}
	first, err := newMember(bootstrap, name, false)
	if err != nil {
		return err
	}
	defer first.close()
	second, err := newMember(bootstrap, name, false)
	if err != nil {
		return err
	}
	err = until("two partitions each", func() bool {
		return first.partitions.Load() == 2 && second.partitions.Load() == 2
	})
	if err != nil {
		return err
	}
	if err := produceNumbers(bootstrap, name, 4, 400); err != nil {
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
	if err := produceNumbers(bootstrap, name, 4, 100); err != nil {
		return err
	}
	return until("500 records", func() bool { return first.records.Load()+second.records.Load() == 500 })
}

func produceNumbers(bootstrap []string, topic string, partitions int32, count int) error {
	c := config()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	var records []*sarama.ProducerMessage
	for n := range count {
		records = append(records, &sarama.ProducerMessage{
			Topic:     topic,
			Partition: int32(n) % partitions,
			Value:     sarama.StringEncoder(strconv.Itoa(n)),
			Timestamp: time.UnixMilli(int64(1_000_000 + 1000*n)),
		})
	}
	return producer.SendMessages(records)
}

func seek(bootstrap []string, name string) error {
	if err := createTopic(bootstrap, name, 1); err != nil {
		return err
	}
	if err := produceNumbers(bootstrap, name, 1, 100); err != nil {
		return err
	}
	client, err := sarama.NewClient(bootstrap, config())
	if err != nil {
		return err
	}
	defer client.Close()
	// Between the times of records 39 and 40.
	offset, err := client.GetOffset(name, 0, 1_000_000+39_500)
	if err != nil {
		return err
	}
	for _, at := range []int64{offset, 7} {
		want := map[bool]string{true: "40", false: "7"}[at == offset]
		err := withPartition(bootstrap, name, at, func(partition sarama.PartitionConsumer) error {
			records, err := read(partition, 1)
			if err == nil && string(records[0].Value) != want {
				err = fmt.Errorf("the record at %d is %s, not %s", at, records[0].Value, want)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func pause(bootstrap []string, name string) error {
	if err := createTopic(bootstrap, name, 1); err != nil {
		return err
	}
	return withPartition(bootstrap, name, 0, func(partition sarama.PartitionConsumer) error {
		partition.Pause()
		if err := produceNumbers(bootstrap, name, 1, 20); err != nil {
			return err
		}
		select {
		case record := <-partition.Messages():
			return fmt.Errorf("record %s although the partition is paused", record.Value)
		case <-time.After(time.Second):
		}
		partition.Resume()
		_, err := read(partition, 20)
		return err
	})
}

func restart(bootstrap []string, name string) error {
	if err := createTopic(bootstrap, name, 1); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.ReadAll(os.Stdin)
		close(ended)
	}()
	reader, err := newMember(bootstrap, name, true)
	if err != nil {
		return err
	}
	defer reader.close()
	producer, err := sarama.NewSyncProducer(bootstrap, config())
	if err != nil {
		return err
	}
	defer producer.Close()
	acked := 0
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
			value := sarama.StringEncoder(strconv.Itoa(acked))
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: name, Value: value})
			if err != nil {
				return fmt.Errorf("record %d: %w", acked, err)
			}
			acked++
			fmt.Println("acked", acked)
		}
	}
	err = until("all records read", func() bool {
		return len(reader.wrong) > 0 || reader.records.Load() == int64(acked)
	})
	if len(reader.wrong) > 0 {
		return <-reader.wrong
	}
	return err
}
