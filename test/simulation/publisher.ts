import type { Hub } from "../../src/core/hub.ts";
import { SluiceError } from "../../src/core/errors.ts";
import { Numbering } from "../../src/testing/index.ts";
import type { PublishRecord } from "../../src/testing/index.ts";
import { formatCursor } from "../../src/wire/cursor.ts";
import type { World } from "./world.ts";

const RETRIES_MAX = 3;

/** Publishes numbered events to one topic, one attempt after another, and records how each went. */
export class Publisher {
  isBusy = false;
  /** Between two attempts with one idempotency key. */
  isRetrying = false;
  readonly #world: World;
  readonly #topic: string;
  readonly #numbering: Numbering;
  #keys = 0;

  constructor(world: World, topic: string, name: string) {
    this.#world = world;
    this.#topic = topic;
    this.#numbering = new Numbering(name);
  }

  async publish(hub: Hub, count: number): Promise<void> {
    if (this.isBusy) return;
    this.isBusy = true;
    const { dice } = this.#world;
    const from = this.#numbering.n + 1;
    const events = Array.from({ length: count }, () => {
      const pad = dice.chance(0.02) ? "x".repeat(dice.integer(10_000, 70_000)) : undefined;
      const data = this.#numbering.next(pad === undefined ? {} : { pad });
      return { data, key: dice.chance(0.5) ? dice.pick(["k1", "k2"]) : undefined };
    });
    this.#keys += 1;
    const idempotency = dice.chance(0.5)
      ? { key: `${this.#numbering.publisher} ${this.#keys}`, fingerprint: `${from} ${count}` }
      : undefined;
    const startedAt = this.#world.history.length;
    const outcome = await this.#attempt(idempotency !== undefined, async () => {
      const publish = { tenant: "t", topic: this.#topic, events, idempotency };
      const { first, last } = await hub.publish(publish);
      const [firstId, lastId] = [first, last].map(({ epoch, seq }) => formatCursor(epoch, seq));
      return { outcome: "ok", first: firstId, last: lastId } as const;
    });
    this.#world.record({
      type: "publish",
      publisher: this.#numbering.publisher,
      topic: this.#topic,
      from,
      to: this.#numbering.n,
      startedAt,
      endedAt: this.#world.history.length,
      ...outcome,
    });
    this.isRetrying = false;
    this.isBusy = false;
  }

  async #attempt(mayRetry: boolean, append: () => Promise<Outcome>): Promise<Outcome> {
    for (let attempt = 0; ; attempt += 1) {
      const { restarts } = this.#world;
      try {
        return await append();
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error;
        // An earlier attempt of this key may have been appended.
        if (error.code !== "broker_unavailable") {
          return { outcome: attempt === 0 ? "failed" : "unknown" };
        }
        // In another log the key is unknown, and a retry could append the event again.
        const isOver = attempt === RETRIES_MAX || restarts !== this.#world.restarts;
        if (!mayRetry || isOver) return { outcome: "unknown" };
        this.isRetrying = true;
      }
    }
  }
}

type Outcome = Pick<PublishRecord, "outcome" | "first" | "last">;
