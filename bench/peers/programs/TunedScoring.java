import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.ByteBufferDeserializer;

/**
 * The job in Java, tuned by hand: no GenericRecord, a codec for these two schemas, values decoded where the client
 * received them, one matrix and one array of scores that onnxruntime reads and writes in place. Exactly once, a commit
 * each 100 ms. What is preloaded is read {@code laps} times, so that a warm run needs no larger topic.
 */
public final class TunedScoring implements AutoCloseable {
    private static final long COMMIT_NS = 100_000_000L;
    private static final Duration POLL = Duration.ofMillis(50);
    private static final int CLASSES = 2;

    private final FeaturesReader reader;
    private final ReceiptWriter writer;
    private final Model model;
    private final String sink;
    private final KafkaConsumer<byte[], ByteBuffer> consumer;
    private final KafkaProducer<byte[], byte[]> producer;

    /** Where each record of the batch that is to be scored stands in what was polled, and in its buffer. */
    private final int[] index;

    private final int[] identity;
    private boolean open;
    private long opened;

    private TunedScoring(Properties job) throws Exception {
        Properties reading = reading(job);
        int limit = Integer.parseInt(reading.getProperty("max.poll.records"));
        index = new int[limit];
        identity = new int[limit];
        String[] inputs = job.getProperty("inputs").split(",");
        reader = new FeaturesReader(
                new Schema.Parser().parse(job.getProperty("features_schema")),
                Integer.parseInt(job.getProperty("features_id")),
                inputs);
        writer = new ReceiptWriter(
                new Schema.Parser().parse(job.getProperty("receipt_schema")),
                Integer.parseInt(job.getProperty("receipt_id")),
                job.getProperty("model_id"),
                job.getProperty("runtime"));
        model = new Model(job, limit, inputs.length);
        sink = job.getProperty("sink");
        consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteBufferDeserializer());
        producer = new KafkaProducer<>(writing(job), new ByteArraySerializer(), new ByteArraySerializer());
    }

    public static void main(String[] args) throws Exception {
        Properties job = new Properties();
        try (var in = Files.newBufferedReader(Path.of(args[0]))) {
            job.load(in);
        }
        try (TunedScoring scoring = new TunedScoring(job)) {
            scoring.run(job.getProperty("source"), Integer.parseInt(job.getProperty("laps")));
        }
    }

    private static Properties reading(Properties job) {
        Properties found = new Properties();
        found.put("bootstrap.servers", job.getProperty("bootstrap"));
        found.put("group.id", job.getProperty("group"));
        found.put("auto.offset.reset", "earliest");
        found.put("enable.auto.commit", "false");
        found.put("isolation.level", "read_committed");
        found.put("max.poll.records", "5000");
        found.put("max.partition.fetch.bytes", "2097152");
        found.put("receive.buffer.bytes", "-1");
        found.put("check.crcs", "false");
        found.put("enable.metrics.push", "false");
        return overridden(found, "consumer.");
    }

    private static Properties writing(Properties job) {
        Properties found = new Properties();
        found.put("bootstrap.servers", job.getProperty("bootstrap"));
        // The same for every run: what a run that was ended left open is aborted by the next.
        found.put("transactional.id", "bench.peers.java");
        found.put("linger.ms", "5");
        found.put("batch.size", "1000000");
        found.put("buffer.memory", "134217728");
        found.put("max.request.size", "4194304");
        found.put("send.buffer.bytes", "-1");
        found.put("enable.metrics.push", "false");
        return overridden(found, "producer.");
    }

    /** Settings of the machine's own properties, {@code -Dconsumer.max.poll.records=500}: for trying others. */
    private static Properties overridden(Properties settings, String prefix) {
        for (String name : System.getProperties().stringPropertyNames()) {
            if (name.startsWith(prefix)) {
                settings.put(name.substring(prefix.length()), System.getProperty(name));
            }
        }
        return settings;
    }

    private void run(String source, int laps) throws Exception {
        producer.initTransactions();
        consumer.subscribe(List.of(source));
        Map<TopicPartition, Lane> lanes = new HashMap<>();
        while (true) {
            ConsumerRecords<byte[], ByteBuffer> polled = consumer.poll(POLL);
            for (TopicPartition partition : polled.partitions()) {
                Lane lane = lanes.computeIfAbsent(partition, p -> new Lane(p.partition(), end(p)));
                List<ConsumerRecord<byte[], ByteBuffer>> records = polled.records(partition);
                score(records, lane.partition);
                lane.next = records.getLast().offset() + 1;
                if (lane.next >= lane.end && ++lane.laps < laps) {
                    consumer.seekToBeginning(List.of(partition));
                }
            }
            if (open && System.nanoTime() - opened > COMMIT_NS) {
                commit(lanes);
            }
        }
    }

    private long end(TopicPartition partition) {
        return consumer.endOffsets(List.of(partition)).get(partition);
    }

    private void score(List<ConsumerRecord<byte[], ByteBuffer>> records, int partition) throws Exception {
        int count = 0;
        for (int i = 0, n = records.size(); i < n; i++) {
            ConsumerRecord<byte[], ByteBuffer> record = records.get(i);
            int length = reader.read(record, model.matrix, count * model.width);
            if (length > 0) {
                index[count] = i;
                identity[count++] = length;
            }
        }
        if (count == 0) {
            return;
        }
        if (!open) {
            producer.beginTransaction();
            open = true;
            opened = System.nanoTime();
        }
        model.score(count);
        FloatBuffer scores = model.scores;
        for (int n = 0; n < count; n++) {
            ConsumerRecord<byte[], ByteBuffer> record = records.get(index[n]);
            byte[] receipt = writer.write(
                    record.value(), identity[n], partition, record.offset(), scores.get(n * CLASSES + 1));
            producer.send(new ProducerRecord<>(sink, partition, record.key(), receipt));
        }
    }

    private void commit(Map<TopicPartition, Lane> lanes) {
        Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
        lanes.forEach((partition, lane) -> positions.put(partition, new OffsetAndMetadata(lane.next)));
        producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
        producer.commitTransaction();
        open = false;
    }

    @Override
    public void close() throws Exception {
        consumer.close();
        producer.close();
        model.close();
    }

    /** A partition: where its preloaded records end, how far it is, and how often it began again. */
    private static final class Lane {
        final int partition;
        final long end;
        long next;
        int laps;

        Lane(int partition, long end) {
            this.partition = partition;
            this.end = end;
        }
    }

    /** The ONNX model over two direct buffers that are never copied: rows in, scores out. */
    private static final class Model implements AutoCloseable {
        final FloatBuffer matrix;
        final FloatBuffer scores;
        final int width;
        private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
        private final OrtSession session;
        private final String input;
        private final String output;

        Model(Properties job, int rows, int width) throws Exception {
            this.width = width;
            matrix = floats(rows * width);
            scores = floats(rows * CLASSES);
            input = job.getProperty("input");
            output = job.getProperty("output");
            OrtSession.SessionOptions options = new OrtSession.SessionOptions();
            options.setIntraOpNumThreads(1);
            options.setInterOpNumThreads(1);
            session = environment.createSession(job.getProperty("onnx"), options);
        }

        private static FloatBuffer floats(int count) {
            return ByteBuffer.allocateDirect(count * Float.BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer();
        }

        /** Score the first rows of the matrix. */
        void score(int count) throws Exception {
            FloatBuffer rows = matrix.slice(0, count * width), into = scores.slice(0, count * CLASSES);
            try (OnnxTensor given = OnnxTensor.createTensor(environment, rows, new long[] {count, width});
                    OnnxTensor found = OnnxTensor.createTensor(environment, into, new long[] {count, CLASSES});
                    OrtSession.Result done = session.run(Map.of(input, given), Map.of(output, found))) {
                assert done.size() == 1;
            }
        }

        @Override
        public void close() throws Exception {
            session.close();
        }
    }
}
