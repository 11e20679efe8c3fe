import type { Runtime } from "../internal/clock.ts";
import type {
  Attachment,
  Broker,
  PublishRequest,
  ReadRequest,
  ReadResult,
  Receipt,
  Tail,
} from "../core/broker.ts";
import { SluiceError } from "../core/errors.ts";
import type { Publication } from "../core/publication.ts";
import type { TopicSettingsInput } from "../core/settings.ts";
import { Dice } from "./random.ts";

export interface UnsteadyOptions {
  readonly runtime: Runtime;
  /** How late an answer or a tail entry may be, in milliseconds. @defaultValue 50 */
  readonly delayMsMax?: number;
  /** Of all calls, how many are refused before anything was done. @defaultValue 0 */
  readonly refusals?: number;
  /** Of all calls, how many are done although the answer says `broker_unavailable`. @defaultValue 0 */
  readonly lostAnswers?: number;
}

/** Entries and news for one tail, late but in order. */
interface Lane {
  readonly tenant: string;
  readonly tail: Tail;
  readonly queue: { readonly run: number; readonly deliver: () => void }[];
  inner: Attachment | undefined;
  isMoving: boolean;
  isDetached: boolean;
}

/**
 * A broker as networks make them, around a good one: answers come late, reads see the log at a moment
 * between question and answer, the tail lags by an amount of its own, and calls fail before or after
 * they took effect. It keeps the port's contract throughout, so what breaks on it is the caller.
 */
export class UnsteadyBroker implements Broker {
  readonly kind: string;
  /** Changeable at any time: a blip is a while with `refusals: 1`. */
  options: Required<UnsteadyOptions>;

  readonly #make: (restarts: number) => Broker;
  readonly #dice: Dice;
  readonly #lanes = new Set<Lane>();
  #inner: Broker;
  #restarts = 0;
  #runs = 0;

  /** `make` is called at once, and again at each `restart`, which must give a log of another epoch. */
  constructor(make: (restarts: number) => Broker, options: UnsteadyOptions) {
    this.#make = make;
    this.#inner = make(0);
    this.kind = this.#inner.kind;
    this.options = { delayMsMax: 50, refusals: 0, lostAnswers: 0, ...options };
    this.#dice = new Dice(() => options.runtime.random());
  }

  async attach(tenant: string, tail: Tail): Promise<Attachment> {
    await this.#enter();
    const lane: Lane = {
      tenant,
      tail,
      queue: [],
      inner: undefined,
      isMoving: false,
      isDetached: false,
    };
    this.#lanes.add(lane);
    const detach = (): void => {
      lane.isDetached = true;
      lane.inner?.detach();
      this.#lanes.delete(lane);
    };
    try {
      const { epoch, head } = await this.#attachLane(lane);
      await this.#leave();
      return { epoch, head, detach };
    } catch (error) {
      detach();
      throw error;
    }
  }

  async publish(request: PublishRequest): Promise<Receipt> {
    await this.#enter();
    return this.#once(() => this.#inner.publish(request));
  }

  async end(tenant: string, topic: string, reason: string): Promise<Receipt> {
    await this.#enter();
    return this.#once(() => this.#inner.end(tenant, topic, reason));
  }

  async declare(tenant: string, topic: string, settings: TopicSettingsInput): Promise<void> {
    await this.#enter();
    return this.#once(() => this.#inner.declare(tenant, topic, settings));
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    await this.#enter();
    return this.#once(() => this.#inner.read(request));
  }

  async close(): Promise<void> {
    for (const lane of this.#lanes) lane.isDetached = true;
    this.#lanes.clear();
    await this.#inner.close();
  }

  /** The log is lost: another takes its place, under a new epoch. Tails hear of it in their order. */
  async restart(): Promise<void> {
    this.#restarts += 1;
    const old = this.#inner;
    this.#inner = this.#make(this.#restarts);
    for (const lane of this.#lanes) {
      lane.inner?.detach();
      await this.#attachLane(lane, ({ epoch, head }) => {
        this.#queue(lane, () => lane.tail.onEpoch(epoch, head));
      });
    }
    await old.close();
  }

  /** `announce` comes before the first entry of the new log. */
  async #attachLane(lane: Lane, announce?: (news: Attachment) => void): Promise<Attachment> {
    const early: Publication[] = [];
    let isEarly = true;
    const attachment = await this.#inner.attach(lane.tenant, {
      onAppended: (publication) => {
        if (isEarly) early.push(publication);
        else this.#queue(lane, () => lane.tail.onAppended(publication));
      },
      onEpoch: (epoch, head) => this.#queue(lane, () => lane.tail.onEpoch(epoch, head)),
    });
    isEarly = false;
    lane.inner = attachment;
    announce?.(attachment);
    for (const publication of early) {
      if (publication.seq > attachment.head) {
        this.#queue(lane, () => lane.tail.onAppended(publication));
      }
    }
    return attachment;
  }

  #queue(lane: Lane, deliver: () => void): void {
    lane.queue.push({ run: this.#runs, deliver });
    if (lane.isMoving) return;
    lane.isMoving = true;
    this.options.runtime.after(this.#delay(), () => this.#move(lane));
  }

  /** Delivers the oldest run: what was published as one arrives as one. */
  #move(lane: Lane): void {
    const run = lane.queue[0]?.run;
    while (lane.queue[0] !== undefined && lane.queue[0].run === run) {
      const next = lane.queue.shift();
      if (!lane.isDetached) next?.deliver();
    }
    lane.isMoving = lane.queue.length > 0;
    if (lane.isMoving) this.options.runtime.after(this.#delay(), () => this.#move(lane));
  }

  async #once<T>(call: () => Promise<T>): Promise<T> {
    this.#runs += 1;
    const answer = await call();
    await this.#leave();
    return answer;
  }

  async #enter(): Promise<void> {
    await this.#wait();
    if (this.#dice.chance(this.options.refusals)) throw unavailable("refused");
  }

  async #leave(): Promise<void> {
    await this.#wait();
    if (this.#dice.chance(this.options.lostAnswers)) throw unavailable("the answer was lost");
  }

  async #wait(): Promise<void> {
    const delayMs = this.#delay();
    if (delayMs === 0) return;
    await new Promise<void>((resolve) => {
      this.options.runtime.after(delayMs, resolve);
    });
  }

  /** Mostly short: answers overtake each other and the tail now and then, not always. */
  #delay(): number {
    const { delayMsMax } = this.options;
    if (delayMsMax === 0 || this.#dice.chance(0.3)) return 0;
    return this.#dice.integer(0, this.#dice.chance(0.2) ? delayMsMax : Math.ceil(delayMsMax / 10));
  }
}

function unavailable(why: string): SluiceError {
  return new SluiceError("broker_unavailable", `the unsteady broker has a blip: ${why}`);
}
