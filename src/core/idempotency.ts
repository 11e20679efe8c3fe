import type { Idempotency, Receipt } from "./broker.ts";
import { SluiceError } from "./errors.ts";

export interface IdempotencyOptions {
  /** Receipts kept for each tenant; beyond it the oldest is forgotten. @defaultValue 100,000 */
  readonly countMax: number;
  /** How long a receipt is kept, in milliseconds. @defaultValue 10 min */
  readonly ageMsMax: number;
}

export const IDEMPOTENCY_DEFAULTS: IdempotencyOptions = { countMax: 100_000, ageMsMax: 600_000 };

const KEY = /^[\x20-\x7e]{1,255}$/;

/** Returns `key` when it is an idempotency key, and throws `idempotency_key_invalid` otherwise. */
export function checkIdempotencyKey(key: unknown): string {
  if (typeof key === "string" && KEY.test(key)) return key;
  const size =
    typeof key === "string" ? `has ${key.length} characters` : `is of type ${typeof key}`;
  throw new SluiceError(
    "idempotency_key_invalid",
    `the key ${size}; it must have 1 to 255 of printable ASCII`,
  );
}

interface Remembered {
  readonly fingerprint: string;
  readonly receipt: Receipt;
  readonly at: number;
}

/** The receipts of one tenant by topic and key, for as long as a retry may come. */
export class IdempotencyWindow {
  readonly #options: IdempotencyOptions;
  /** Oldest first. The key has the topic's length in front, so that no two pairs share one (law 21). */
  readonly #receipts = new Map<string, Remembered>();

  constructor(options: IdempotencyOptions) {
    this.#options = options;
  }

  /** The receipt of the first publish with this key. Throws `idempotency_conflict` when it was another event. */
  find(topic: string, idempotency: Idempotency, now: number): Receipt | undefined {
    this.#expire(now);
    const known = this.#receipts.get(keyOf(topic, idempotency.key));
    if (known === undefined) return undefined;
    checkFingerprint(topic, idempotency, known.fingerprint);
    return { ...known.receipt, isDuplicate: true };
  }

  remember(topic: string, idempotency: Idempotency, receipt: Receipt, now: number): void {
    const { fingerprint } = idempotency;
    this.#receipts.set(keyOf(topic, idempotency.key), { fingerprint, receipt, at: now });
    if (this.#receipts.size > this.#options.countMax) this.#dropOldest();
  }

  #expire(now: number): void {
    for (const { at } of this.#receipts.values()) {
      if (now - at < this.#options.ageMsMax) return;
      this.#dropOldest();
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#receipts.keys();
    if (oldest !== undefined) this.#receipts.delete(oldest);
  }
}

/** Throws `idempotency_conflict` unless the earlier request with this key had the same fingerprint. */
export function checkFingerprint(topic: string, idempotency: Idempotency, earlier: string): void {
  if (idempotency.fingerprint === earlier) return;
  throw new SluiceError(
    "idempotency_conflict",
    `the key ${JSON.stringify(idempotency.key)} was used for another event of the topic "${topic}"`,
  );
}

/** A map key of a topic and an idempotency key that no other pair has. */
export function keyOf(topic: string, key: string): string {
  return `${topic.length}:${topic}${key}`;
}
