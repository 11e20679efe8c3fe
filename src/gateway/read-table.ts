import { readSync } from "node:fs";
import { open } from "node:fs/promises";

/** Reads a file of `/proc` to its end; `onBytes` gets piece after piece, each valid during the call. */
export type ReadTable = (path: string, onBytes: (bytes: Buffer) => void) => Promise<void>;

const READ_BYTES_MAX = 64 * 1024;
/** Whoever waits so long for one page has a busy event loop, in milliseconds. */
const BUSY_MS = 2;
const PAGES_PER_BUSY_TURN = 16;
/**
 * Sockets are hashed over a table of the kernel that may be large and sparse: with a hundred of them
 * one read walks it for a millisecond and more (262,144 buckets, 5.7 ms for all; measured).
 */
const DENSE_PAGES = 64;

/**
 * One buffer, no string, never more than a slice of a turn. A read of `/proc/net/tcp` brings one page,
 * however much is asked for (seq_file), so that 15,000 sockets are 560 of them. The thread pool reads
 * them: of 67 ms of CPU the event loop sees 17, in pieces of 2 to 4 ms at most, against 50 in pieces of
 * 10 if the loop reads sixteen at a time itself (measured). But then each page costs a turn, so that a
 * busy loop would need seconds for a scan: there it does read sixteen, and needs 0.6 s at 5 ms a turn.
 */
export async function readTable(path: string, onBytes: (bytes: Buffer) => void): Promise<void> {
  const buffer = Buffer.allocUnsafe(READ_BYTES_MAX);
  const file = await open(path);
  let pages = 0;
  try {
    for (;;) {
      const askedAt = performance.now();
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES_MAX, null);
      if (bytesRead === 0) return;
      onBytes(buffer.subarray(0, bytesRead));
      pages += 1;
      if (pages < DENSE_PAGES || performance.now() - askedAt < BUSY_MS) continue;
      for (let more = 1; more < PAGES_PER_BUSY_TURN; more += 1) {
        const bytes = readSync(file.fd, buffer, 0, READ_BYTES_MAX, null);
        if (bytes === 0) return;
        onBytes(buffer.subarray(0, bytes));
      }
    }
  } finally {
    await file.close();
  }
}
