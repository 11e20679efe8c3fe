import { Readable } from "node:stream";

/** Bytes that wait here for whoever reads the body; beyond them the origin is not read. */
const BODY_BYTES_MAX = 64 * 1024;

/** The body of a response, for whoever reads it. */
export class ResponseBody extends Readable {
  #fault: unknown;
  #isDue = false;

  constructor() {
    super({ highWaterMark: BODY_BYTES_MAX });
    // Without one, a body that nobody listens to would end the process when it breaks off.
    this.on("error", ignore);
  }

  /**
   * Ends with an error when what has come before is read (U10): whole events may be among it. In the next turn
   * at the earliest: head and fault may come in one packet, and whoever was just given the head has to
   * have the time to listen.
   */
  breakOff(error: unknown): void {
    this.#fault ??= error;
    setImmediate(() => {
      this.#isDue = true;
      this.#failIfRead();
    });
  }

  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#isDue) this.#failIfRead();
    return chunk;
  }

  #failIfRead(): void {
    if (this.readableLength === 0) this.destroy(this.#fault as Error);
  }
}

function ignore(): void {}
