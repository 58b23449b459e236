import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Reads features records straight from the bytes that the client received. Knows one layout: {@code id}, {@code key} and
 * {@code event_time} first, then whole numbers, then doubles to the end. Refuses a schema or a record that is otherwise.
 */
final class FeaturesReader {
    /** Zero byte and schema id, as in Confluent's wire format. */
    static final int HEADER = 5;

    private static final VarHandle DOUBLE =
            MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.BIG_ENDIAN);
    private static final int VARINT = 10;

    private final int schemaId;
    private final int skipped;
    private final int doubles;
    private final int[] inputs;

    FeaturesReader(Schema schema, int schemaId, String[] wanted) {
        this.schemaId = schemaId;
        List<Schema.Field> fields = schema.getFields();
        expect(fields, 0, "id", Schema.Type.STRING);
        expect(fields, 1, "key", Schema.Type.STRING);
        expect(fields, 2, "event_time", Schema.Type.LONG);
        int at = 3;
        while (at < fields.size() && type(fields, at) == Schema.Type.LONG) {
            at++;
        }
        skipped = at - 3;
        doubles = fields.size() - at;
        for (int i = at; i < fields.size(); i++) {
            expect(fields, i, fields.get(i).name(), Schema.Type.DOUBLE);
        }
        inputs = new int[wanted.length];
        for (int i = 0; i < wanted.length; i++) {
            Schema.Field field = schema.getField(wanted[i]);
            if (field == null || field.pos() < at) {
                throw new IllegalArgumentException("no double called " + wanted[i] + " in " + schema);
            }
            inputs[i] = (field.pos() - at) * Double.BYTES;
        }
    }

    private static Schema.Type type(List<Schema.Field> fields, int at) {
        return fields.get(at).schema().getType();
    }

    private static void expect(List<Schema.Field> fields, int at, String name, Schema.Type type) {
        if (at >= fields.size() || !fields.get(at).name().equals(name) || type(fields, at) != type) {
            throw new IllegalArgumentException("field " + at + " is not " + name + " of type " + type + ": " + fields);
        }
    }

    /**
     * Put a record's inputs into the matrix.
     *
     * @return bytes that {@code id}, {@code key} and {@code event_time} take after the header; 0 where the record is
     *     none of features: a marker
     */
    int read(ConsumerRecord<byte[], ByteBuffer> record, FloatBuffer matrix, int place) {
        ByteBuffer value = record.value();
        if (value == null || value.remaining() < HEADER) {
            return 0;
        }
        byte[] from = value.array();
        int begin = value.arrayOffset() + value.position(), end = begin + value.remaining();
        if (from[begin] != 0 || (int) INT.get(from, begin + 1) != schemaId) {
            return 0;
        }
        int at = afterString(from, begin + HEADER, end, record);
        at = afterVarint(from, afterString(from, at, end, record), end, record);
        int identity = at - begin - HEADER;
        for (int i = 0; i < skipped; i++) {
            at = afterVarint(from, at, end, record);
        }
        if (end - at != doubles * Double.BYTES) {
            throw broken(record);
        }
        for (int i = 0; i < inputs.length; i++) {
            matrix.put(place + i, (float) (double) DOUBLE.get(from, at + inputs[i]));
        }
        return identity;
    }

    private static int afterString(byte[] from, int at, int end, ConsumerRecord<?, ?> record) {
        if (at < end && from[at] >= 0) { // one byte holds the length of up to 63
            int length = from[at], after = at + 1 + (length >> 1);
            if ((length & 1) == 0 && after <= end) {
                return after;
            }
            throw broken(record);
        }
        int after = afterVarint(from, at, end, record);
        long length = 0;
        for (int i = after - 1; i >= at; i--) {
            length = length << 7 | from[i] & 0x7f;
        }
        length = length >>> 1 ^ -(length & 1);
        if (length < 0 || length > end - after) {
            throw broken(record);
        }
        return after + (int) length;
    }

    private static int afterVarint(byte[] from, int at, int end, ConsumerRecord<?, ?> record) {
        int last = Math.min(end, at + VARINT);
        while (at < last) {
            if (from[at++] >= 0) {
                return at;
            }
        }
        throw broken(record);
    }

    private static IllegalStateException broken(ConsumerRecord<?, ?> record) {
        return new IllegalStateException(
                record.topic() + "/" + record.partition() + ", offset " + record.offset() + ": no record of its schema");
    }
}
