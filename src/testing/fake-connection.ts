import { assert } from "../internal/assert.ts";
import type { Runtime } from "../internal/clock.ts";
import type { Batch } from "../core/batch.ts";
import type { Connection, ConnectionOwner } from "../core/connection.ts";
import type { DisconnectReason } from "../core/disconnect.ts";

const LF = 0x0a;
const CR = 0x0d;

export interface FakeConnectionOptions {
  readonly id: string;
  readonly owner: ConnectionOwner;
  readonly runtime: Runtime;
  /** What reaches the client, in the pieces in which it left. */
  readonly onBytes?: (bytes: Uint8Array) => void;
  /** The client's side of the end, after the last bytes. */
  readonly onEnd?: (reason: DisconnectReason) => void;
  /** `onClosed` comes inside the call that ends it, or in a later turn, as with a socket. @defaultValue false */
  readonly closesAtOnce?: boolean;
  /** @defaultValue false */
  readonly isLocal?: boolean;
}

/**
 * A connection without a network. The test decides when bytes leave, and it asserts what the port
 * promises its implementations: whole frames only, one chunk around them, nothing after the end.
 */
export class FakeConnection implements Connection {
  readonly id: string;
  /** Every batch, in order, left or not. */
  readonly batches: Batch[] = [];
  readonly peer = "fake";
  readonly isLocal: boolean;
  bytesWritten = 0;
  /** Bytes of writes that have not left. */
  pendingBytes = 0;
  /** Why it ended, once it has. */
  endedBy: DisconnectReason | undefined;
  /** How often the owner was told of the end: never more than once. */
  closedCount = 0;

  readonly #options: FakeConnectionOptions;
  readonly #queue: Uint8Array[] = [];
  #isBlocked = false;
  #isAwaited = false;
  /** `end` was called: it closes when what is pending has left. */
  #endsBy: DisconnectReason | undefined;

  constructor(options: FakeConnectionOptions) {
    this.#options = options;
    this.id = options.id;
    this.isLocal = options.isLocal ?? false;
  }

  get isOpen(): boolean {
    return this.endedBy === undefined;
  }

  write(batch: Batch): boolean {
    // A peer may be gone before the owner has heard of it; what is written then is lost, without error.
    assert(this.closedCount === 0, "nothing is written after onClosed");
    assert(this.#endsBy === undefined, "nothing is written after end");
    checkBatch(batch);
    if (!this.isOpen) return false;
    this.batches.push(batch);
    this.#send(batch.frames);
    return this.pendingBytes > 0;
  }

  wakeWhenDrained(): void {
    assert(this.closedCount === 0, "nothing is asked of a connection after onClosed");
    this.#isAwaited = true;
    this.#wake();
  }

  end(reason: DisconnectReason, last?: Batch): void {
    if (!this.isOpen) return;
    assert(this.#endsBy === undefined, "a connection is ended once");
    if (last !== undefined) {
      checkBatch(last);
      this.batches.push(last);
      this.#send(last.frames);
    }
    this.#endsBy = reason;
    if (this.pendingBytes === 0) this.#close(reason);
  }

  abort(reason: DisconnectReason): void {
    if (this.isOpen) this.#close(reason);
  }

  /** From now on nothing leaves: what is written is pending. */
  block(): void {
    this.#isBlocked = true;
  }

  /** Lets `bytes` of what is pending leave and stays blocked; without it all leaves, and nothing is held any more. */
  release(bytes = Infinity): void {
    if (!this.isOpen) return;
    if (bytes === Infinity) this.#isBlocked = false;
    let left = bytes;
    for (let head = this.#queue[0]; head !== undefined && left > 0; head = this.#queue[0]) {
      const sent = head.subarray(0, Math.min(left, head.length));
      if (sent.length === head.length) this.#queue.shift();
      else this.#queue[0] = head.subarray(sent.length);
      left -= sent.length;
      this.pendingBytes -= sent.length;
      this.#options.onBytes?.(sent);
    }
    if (this.#endsBy === undefined) this.#wake();
    else if (this.pendingBytes === 0 && this.isOpen) this.#close(this.#endsBy);
  }

  /** The peer is gone; of what is pending it still got `bytes`, wherever in a frame that cuts. */
  cut(reason: DisconnectReason = "reset", bytes = 0): void {
    if (!this.isOpen) return;
    this.#isAwaited = false;
    // All but the last byte at most: whoever got everything was not cut off.
    if (bytes > 0) this.release(Math.min(bytes, this.pendingBytes - 1));
    if (this.isOpen) this.#close(reason);
  }

  #send(frames: Uint8Array): void {
    this.bytesWritten += frames.length;
    if (this.#isBlocked) {
      this.#queue.push(frames);
      this.pendingBytes += frames.length;
    } else {
      this.#options.onBytes?.(frames);
    }
  }

  #wake(): void {
    if (!this.#isAwaited || this.pendingBytes > 0 || !this.isOpen) return;
    this.#isAwaited = false;
    this.#options.runtime.defer(() => {
      if (!this.isOpen || this.#endsBy !== undefined) return;
      // More was written before the turn came: the promise is for a moment when nothing is pending.
      if (this.pendingBytes > 0) this.#isAwaited = true;
      else this.#options.owner.onDrained();
    });
  }

  #close(reason: DisconnectReason): void {
    this.endedBy = reason;
    const close = (): void => {
      this.closedCount += 1;
      assert(this.closedCount === 1, "onClosed is called once");
      this.#options.owner.onClosed(reason);
      this.#options.onEnd?.(reason);
    };
    if (this.#options.closesAtOnce === true) close();
    else this.#options.runtime.defer(close);
  }
}

function checkBatch(batch: Batch): void {
  const { frames } = batch;
  const chunk = Buffer.concat(batch.chunk);
  assert(frames.length > 0, "a batch has bytes");
  assert(frames.at(-1) === LF && frames.at(-2) === LF, "a batch ends in a blank line");
  assert(chunk.at(-1) === LF && chunk.at(-2) === CR, "a chunk ends in CRLF");
  const head = `${frames.length.toString(16)}\r\n`;
  assert(chunk.length === head.length + frames.length + 2, "a chunk has nothing but the frames");
  assert(chunk.toString("latin1", 0, head.length) === head, "a chunk states its size");
}
