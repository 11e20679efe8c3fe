/** Counts memory, in bytes, and passes each change on to the account above it: topic log, tenant, process. */
export class MemoryAccount {
  bytes = 0;
  readonly #parent: MemoryAccount | undefined;

  constructor(parent?: MemoryAccount) {
    this.#parent = parent;
  }

  /** `bytes` may be negative. */
  add(bytes: number): void {
    this.bytes += bytes;
    this.#parent?.add(bytes);
  }
}
