const CAPACITY_MIN = 256;
/** Larger memory is given back when emptied, in bytes: one huge line must not be paid for ever after. */
const CAPACITY_KEPT_MAX = 64 * 1024;

/**
 * Bytes that outlive the chunk they came in. They are copied in; capacity doubles, so that a line
 * arriving byte by byte costs two copies of it in all and not one per byte.
 */
export class Carry {
  /** Holds the content in its first `length` bytes; replaced when it grows. */
  bytes = new Uint8Array(0);
  length = 0;

  append(source: Uint8Array, start: number, end: number): void {
    const grown = this.length + (end - start);
    this.#reserve(grown);
    this.bytes.set(source.subarray(start, end), this.length);
    this.length = grown;
  }

  appendByte(byte: number): void {
    this.#reserve(this.length + 1);
    this.bytes[this.length] = byte;
    this.length += 1;
  }

  clear(): void {
    this.length = 0;
    if (this.bytes.length > CAPACITY_KEPT_MAX) this.bytes = new Uint8Array(0);
  }

  #reserve(size: number): void {
    if (size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(CAPACITY_MIN, size, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
