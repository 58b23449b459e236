import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.avro.Schema;

/**
 * Writes receipts, each into one array of exactly its length. What is the same in all of them is encoded once, and
 * {@code id}, {@code key} and {@code event_time} are copied as they stand in the features record, which has them in the
 * same order and encoding.
 */
final class ReceiptWriter {
    private static final List<String> FIELDS = List.of(
            "id", "key", "event_time", "partition", "offset", "model_id", "marker_offset", "route", "outputs", "runtime");
    private static final VarHandle FLOAT = MethodHandles.byteArrayViewVarHandle(float[].class, ByteOrder.LITTLE_ENDIAN);

    private final byte[] header;

    /** From {@code model_id} to the number of outputs. */
    private final byte[] before;

    /** The end of the outputs, and {@code runtime}. */
    private final byte[] after;

    ReceiptWriter(Schema schema, int schemaId, String model, String runtime) {
        List<String> found = schema.getFields().stream().map(Schema.Field::name).toList();
        if (!found.equals(FIELDS)) {
            throw new IllegalArgumentException("receipts have other fields: " + found);
        }
        header = ByteBuffer.allocate(FeaturesReader.HEADER).put((byte) 0).putInt(schemaId).array();
        ByteBuffer first = ByteBuffer.allocate(model.length() + 16);
        string(first, model);
        varint(first, 0); // marker_offset
        varint(first, schema.getField("route").schema().getEnumOrdinal("champion"));
        varint(first, 1); // one block of one output
        before = trimmed(first);
        ByteBuffer second = ByteBuffer.allocate(3 * runtime.length() + 16);
        varint(second, 0); // no further block
        string(second, runtime);
        after = trimmed(second);
    }

    /** The receipt of a features record whose {@code id}, {@code key} and {@code event_time} take so many bytes. */
    byte[] write(ByteBuffer features, int identity, int partition, long offset, float score) {
        int size = header.length + identity + size(partition) + size(offset) + before.length + Float.BYTES + after.length;
        byte[] to = new byte[size];
        System.arraycopy(header, 0, to, 0, header.length);
        int from = features.arrayOffset() + features.position() + FeaturesReader.HEADER, at = header.length;
        System.arraycopy(features.array(), from, to, at, identity);
        at = varint(to, varint(to, at + identity, partition), offset);
        System.arraycopy(before, 0, to, at, before.length);
        at += before.length;
        FLOAT.set(to, at, score);
        System.arraycopy(after, 0, to, at + Float.BYTES, after.length);
        return to;
    }

    private static int size(long value) {
        return Math.max(1, (Long.SIZE - Long.numberOfLeadingZeros(zigzag(value)) + 6) / 7);
    }

    private static int varint(byte[] to, int at, long value) {
        long rest = zigzag(value);
        while ((rest & ~0x7fL) != 0) {
            to[at++] = (byte) (rest | 0x80);
            rest >>>= 7;
        }
        to[at++] = (byte) rest;
        return at;
    }

    private static long zigzag(long value) {
        return value << 1 ^ value >> 63;
    }

    private static void varint(ByteBuffer to, long value) {
        to.position(varint(to.array(), to.position(), value));
    }

    private static void string(ByteBuffer to, String value) {
        byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
        varint(to, bytes.length);
        to.put(bytes);
    }

    private static byte[] trimmed(ByteBuffer buffer) {
        byte[] found = new byte[buffer.position()];
        buffer.flip().get(found);
        return found;
    }
}
