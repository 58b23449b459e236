import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The job in Java: plain clients, GenericRecord, onnxruntime, exactly once, a commit each 100 ms. */
public final class Scoring {
    public static void main(String[] args) throws Exception {
        Properties job = new Properties();
        try (var in = Files.newBufferedReader(Path.of(args[0]))) {
            job.load(in);
        }
        Schema features = new Schema.Parser().parse(job.getProperty("features_schema"));
        Schema receipts = new Schema.Parser().parse(job.getProperty("receipt_schema"));
        int featuresId = Integer.parseInt(job.getProperty("features_id"));
        byte[] header = ByteBuffer.allocate(5).put((byte) 0).putInt(Integer.parseInt(job.getProperty("receipt_id"))).array();
        String[] inputs = job.getProperty("inputs").split(",");
        int[] at = new int[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            at[i] = features.getField(inputs[i]).pos();
        }
        GenericData.EnumSymbol champion = new GenericData.EnumSymbol(receipts.getField("route").schema(), "champion");
        String source = job.getProperty("source"), sink = job.getProperty("sink"), model = job.getProperty("model_id");

        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        OrtSession session = environment.createSession(job.getProperty("onnx"), options);
        String input = job.getProperty("input"), output = job.getProperty("output");

        Properties reading = new Properties();
        reading.put("bootstrap.servers", job.getProperty("bootstrap"));
        reading.put("group.id", job.getProperty("group"));
        reading.put("auto.offset.reset", "earliest");
        reading.put("enable.auto.commit", "false");
        reading.put("isolation.level", "read_committed");
        reading.put("max.poll.records", "2000");
        reading.put("max.partition.fetch.bytes", "2097152");
        Properties writing = new Properties();
        writing.put("bootstrap.servers", job.getProperty("bootstrap"));
        // The same for every run: what a run that was ended left open is aborted by the next.
        writing.put("transactional.id", "bench.peers.java");
        writing.put("linger.ms", "5");
        writing.put("batch.size", "500000");
        writing.put("buffer.memory", "134217728");

        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(source));
            GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(features);
            GenericDatumWriter<GenericRecord> writer = new GenericDatumWriter<>(receipts);
            ByteArrayOutputStream out = new ByteArrayOutputStream(256);
            BinaryDecoder decoder = null;
            BinaryEncoder encoder = null;
            boolean open = false;
            long opened = 0;
            Map<TopicPartition, OffsetAndMetadata> positions = new java.util.HashMap<>();
            while (true) {
                var polled = consumer.poll(Duration.ofMillis(50));
                List<GenericRecord> rows = new ArrayList<>(polled.count());
                List<ConsumerRecord<byte[], byte[]>> from = new ArrayList<>(polled.count());
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    byte[] value = record.value();
                    positions.put(
                            new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                    if (ByteBuffer.wrap(value, 1, 4).getInt() != featuresId) {
                        continue;
                    }
                    decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, decoder);
                    rows.add(reader.read(null, decoder));
                    from.add(record);
                }
                if (!rows.isEmpty()) {
                    if (!open) {
                        producer.beginTransaction();
                        open = true;
                        opened = System.nanoTime();
                    }
                    FloatBuffer matrix = FloatBuffer.allocate(rows.size() * inputs.length);
                    for (GenericRecord row : rows) {
                        for (int i : at) {
                            matrix.put(((Double) row.get(i)).floatValue());
                        }
                    }
                    matrix.rewind();
                    try (OnnxTensor tensor =
                                    OnnxTensor.createTensor(
                                            environment, matrix, new long[] {rows.size(), inputs.length});
                            OrtSession.Result result =
                                    session.run(Collections.singletonMap(input, tensor), java.util.Set.of(output))) {
                        float[][] scores = (float[][]) result.get(0).getValue();
                        for (int n = 0; n < rows.size(); n++) {
                            GenericRecord row = rows.get(n);
                            ConsumerRecord<byte[], byte[]> record = from.get(n);
                            GenericRecord receipt = new GenericData.Record(receipts);
                            receipt.put("id", row.get("id"));
                            receipt.put("key", row.get("key"));
                            receipt.put("event_time", row.get("event_time"));
                            receipt.put("partition", record.partition());
                            receipt.put("offset", record.offset());
                            receipt.put("model_id", model);
                            receipt.put("marker_offset", 0L);
                            receipt.put("route", champion);
                            receipt.put("outputs", List.of(scores[n][1]));
                            receipt.put("runtime", "peer");
                            out.reset();
                            out.write(header, 0, header.length);
                            encoder = EncoderFactory.get().directBinaryEncoder(out, encoder);
                            writer.write(receipt, encoder);
                            producer.send(new ProducerRecord<>(sink, record.partition(), record.key(), out.toByteArray()));
                        }
                    }
                }
                if (open && System.nanoTime() - opened > 100_000_000L) {
                    producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
                    producer.commitTransaction();
                    positions.clear();
                    open = false;
                }
            }
        }
    }
}
