import type { Batch } from "../core/batch.ts";
import type { Connection, ConnectionOwner } from "../core/connection.ts";
import type { DisconnectReason } from "../core/disconnect.ts";
import { createScanner } from "../wire/scan.ts";
import type { ScannedEvent, Scanner } from "../wire/scan.ts";

/**
 * A connection inside the process: what is written is scanned and waits until it is taken. It pushes
 * back like a socket, by `pendingBytes`, so a slow consumer lags and reads the log; at most one batch waits.
 */
export class IteratorConnection implements Connection {
  readonly id: string;
  readonly peer = "in-process";
  readonly isLocal = true;
  bytesWritten = 0;
  readonly #owner: ConnectionOwner;
  readonly #scanner: Scanner;
  #waiting: ScannedEvent[] = [];
  #taken = 0;
  #pendingBytes = 0;
  #isWakeWanted = false;
  #isClosed = false;
  /** `end` was called: it closes when what waits has been taken. */
  #endsBy: DisconnectReason | undefined;
  #notify: (() => void) | undefined;

  constructor(id: string, owner: ConnectionOwner) {
    this.id = id;
    this.#owner = owner;
    this.#scanner = createScanner({
      // Frames of our own: they were bounded when they were published.
      lineBytesMax: Number.MAX_SAFE_INTEGER,
      eventBytesMax: Number.MAX_SAFE_INTEGER,
      onEvent: (event) => {
        this.#waiting.push(event);
        this.#pendingBytes += event.bytes;
      },
    });
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  write(batch: Batch): boolean {
    this.bytesWritten += batch.bytes;
    this.#scanner.push(batch.frames);
    this.#notify?.();
    return this.#pendingBytes > 0;
  }

  wakeWhenDrained(): void {
    this.#isWakeWanted = true;
  }

  end(reason: DisconnectReason, last?: Batch): void {
    if (this.#isClosed || this.#endsBy !== undefined) return;
    if (last !== undefined) this.#scanner.push(last.frames);
    this.#endsBy = reason;
    if (this.#taken === this.#waiting.length) this.#close(reason);
    else this.#notify?.();
  }

  abort(reason: DisconnectReason): void {
    if (this.#isClosed) return;
    this.#waiting = [];
    this.#taken = 0;
    this.#pendingBytes = 0;
    this.#close(this.#endsBy ?? reason);
  }

  /** The next event; waits for one if none is there. Undefined when the connection has ended. */
  async take(): Promise<ScannedEvent | undefined> {
    while (this.#taken === this.#waiting.length) {
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    }
    const event = this.#waiting[this.#taken] as ScannedEvent;
    this.#taken += 1;
    this.#pendingBytes -= event.bytes;
    if (this.#taken === this.#waiting.length) this.#drained();
    return event;
  }

  #drained(): void {
    this.#waiting = [];
    this.#taken = 0;
    this.#pendingBytes = 0;
    if (this.#isClosed) return;
    if (this.#endsBy !== undefined) return this.#close(this.#endsBy);
    if (!this.#isWakeWanted) return;
    this.#isWakeWanted = false;
    this.#owner.onDrained();
  }

  #close(reason: DisconnectReason): void {
    this.#isClosed = true;
    this.#notify?.();
    this.#owner.onClosed(reason);
  }
}
