import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { Broker } from "../../src/core/broker.ts";
import { Hub } from "../../src/core/hub.ts";
import { METRICS } from "../../src/core/metrics.ts";
import { LANES, POLICIES } from "../../src/core/settings.ts";
import type { TopicSettingsInput } from "../../src/core/settings.ts";
import { Pattern } from "../../src/core/pattern.ts";
import {
  Dice,
  UnsteadyBroker,
  VirtualRuntime,
  check,
  seededRandom,
} from "../../src/testing/index.ts";
import type { FakeConnection, HistoryRecord } from "../../src/testing/index.ts";
import { Publisher } from "./publisher.ts";
import { Reader } from "./reader.ts";
import type { ReaderWorld } from "./reader.ts";

export const TOPICS = ["a", "b/x", "b/y", "c/d/e"];
const SELECTIONS = [
  ["a"],
  ["b/x"],
  ["a", "b/y"],
  ["a", "zz"],
  ["*"],
  ["b/*"],
  ["**"],
  ["c/**", "a"],
];
const READERS_MAX = 12;

/** What tests of the harness put in place of sound parts. */
export interface Plants {
  connection?(connection: FakeConnection): FakeConnection;
  hub?(hub: Hub): void;
  history?(history: HistoryRecord[]): HistoryRecord[];
}

/** One schedule: hubs, a broker, publishers, readers and what befalls them, all from one seed. */
export class World implements ReaderWorld {
  readonly runtime: VirtualRuntime;
  readonly dice: Dice;
  readonly history: HistoryRecord[] = [];
  readonly readers: Reader[] = [];
  readonly publishers: Publisher[];
  readonly hubs: Hub[];
  readonly broker: Broker;
  /** Undefined where the broker is the plain one. */
  readonly unsteady: UnsteadyBroker | undefined;
  /** Nothing is ever trimmed or forgotten: a gap "trimmed" is then a lie. */
  readonly isRoomy: boolean;
  readonly #plants: Plants;
  #isHealing = false;
  restarts = 0;

  constructor(seed: number, plants: Plants = {}) {
    this.#plants = plants;
    this.runtime = new VirtualRuntime(seed);
    const dice = new Dice(seededRandom(seed ^ 0x5eed));
    this.dice = dice;
    this.isRoomy = dice.chance(0.4);
    const memory = this.#brokerMaker();
    this.unsteady = dice.chance(0.6)
      ? new UnsteadyBroker(memory, {
          runtime: this.runtime,
          delayMsMax: dice.pick([0, 5, 50, 500]),
          lostAnswers: dice.pick([0, 0.05]),
          refusals: dice.pick([0, 0.05]),
        })
      : undefined;
    this.broker = this.unsteady ?? memory(0);
    const slices = { writesMax: dice.pick([1, 3, 2_048]), timeMsMax: dice.pick([0.5, 5]) };
    const heartbeat = {
      bookmarkEvents: dice.pick([3, 1_000]),
      // Not by dice: the schedules of earlier seeds stay what they were.
      maxAgeMs: seed % 3 === 0 ? 3_000 : 0,
      pendingBytesMax: seed % 4 === 0 ? 2_000 : 1e9,
    };
    this.hubs = Array.from(
      { length: dice.pick([1, 1, 2]) },
      () => new Hub({ broker: this.broker, runtime: this.runtime, slices, heartbeat }),
    );
    for (const hub of this.hubs) {
      hub.pauseRotation = () => this.#isHealing;
      plants.hub?.(hub);
    }
    this.publishers = TOPICS.flatMap((topic) =>
      [1, 2].map((number) => new Publisher(this, topic, `${topic}#${number}`)),
    );
  }

  get hub(): Hub {
    return this.dice.pick(this.hubs);
  }

  record(record: HistoryRecord): void {
    this.history.push(record);
  }

  connect(connection: FakeConnection): FakeConnection {
    return this.#plants.connection?.(connection) ?? connection;
  }

  onBytes(): void {
    if (this.dice.chance(0.1)) this.runtime.elapse(1);
  }

  pauseMs(): number {
    return this.dice.chance(0.3) ? this.dice.integer(1, 300) : 0;
  }

  closesAtOnce(): boolean {
    return this.dice.chance(0.5);
  }

  settings(): TopicSettingsInput {
    const { dice } = this;
    const policy = dice.pick(POLICIES);
    const lane = dice.pick(LANES);
    if (this.isRoomy) return { lane, policy };
    const retention = {
      countMax: dice.pick([1, 3, 10, 1_000]),
      bytesMax: dice.pick([500, 5_000, 1_000_000]),
      ageMsMax: dice.pick([50, 5_000, 3_600_000]),
    };
    return { retention, lane, policy, ttlMs: dice.pick([1_000, 60_000, 3_600_000]) };
  }

  join(start = this.#start(), topics: readonly string[] = this.dice.pick(SELECTIONS)): Reader {
    const name = `reader ${this.readers.length + 1} of ${topics.join()} from ${start}`;
    const form = this.dice.pick(["plain", "enveloped"] as const);
    const reader = new Reader(this, { name, topics, form, start });
    this.readers.push(reader);
    void reader.open(this.hub);
    return reader;
  }

  canJoin(): boolean {
    return this.readers.length < READERS_MAX;
  }

  openReaders(): Reader[] {
    return this.readers.filter((reader) => reader.state === "open");
  }

  /** Faults have ended; everybody comes back, and after a while has everything. */
  async heal(): Promise<string[]> {
    this.#isHealing = true;
    if (this.unsteady !== undefined) {
      this.unsteady.options = { ...this.unsteady.options, refusals: 0, lostAnswers: 0 };
    }
    for (let round = 0; round < 8; round += 1) {
      for (const reader of this.readers) {
        reader.connection?.release();
        void reader.open(this.hub);
      }
      await this.runtime.run(5_000);
    }
    for (const topic of TOPICS) this.join("earliest", [topic]);
    this.join("earliest", ["**"]);
    await this.runtime.run(5_000);
    const failures: string[] = [];
    for (const reader of this.readers) {
      if (reader.state === "open") reader.settle();
      else if (!this.#mayBeAway(reader)) failures.push(`${reader.name} is ${reader.state}`);
    }
    return failures;
  }

  /** What is wrong with what happened; nothing if it is sound. */
  async verdict(): Promise<string[]> {
    const failures = await this.heal();
    for (const hub of this.hubs) {
      for (const { state } of hub.subscribers()) {
        if (state !== "live") failures.push(`a subscriber is ${state} at the end`);
      }
    }
    const history = this.#plants.history?.(this.history) ?? this.history;
    failures.push(
      ...check(history, { isAllRetained: this.isRoomy }).failures,
      ...this.#liesAboutGaps(),
    );
    for (const reader of this.readers) reader.connection?.cut();
    await this.runtime.run(12_000);
    for (const hub of this.hubs) {
      hub.measure();
      for (const { name, label, value } of hub.metrics.samples()) {
        if (METRICS[name].type !== "gauge" || value === 0) continue;
        failures.push(`law 23: ${name} ${label} is ${value} after everybody left`);
      }
      await hub.close();
    }
    await this.runtime.run(6_000);
    if (this.runtime.timersNow > 0) failures.push(`${this.runtime.timersNow} timers left`);
    return failures;
  }

  #brokerMaker(): (restarts: number) => Broker {
    const rules = TOPICS.map((topic) => ({
      match: Pattern.parse(topic),
      settings: this.settings(),
    }));
    const memoryBytesMax = this.isRoomy ? 1e9 : this.dice.pick([8_000, 30_000, 1e9]);
    return (restarts) =>
      createMemoryBroker({
        runtime: this.runtime,
        incarnation: `seed ${restarts}`,
        rules,
        memoryBytesMax,
      });
  }

  #start(): string | undefined {
    const { dice } = this;
    const known = this.readers.map(({ cursor }) => cursor);
    const id = known.find((cursor) => cursor?.includes(".") === true) ?? "none.0";
    const epoch = id.split(".")[0];
    return dice.pick([
      undefined,
      "latest",
      "earliest",
      `last:${dice.integer(0, 5)}`,
      dice.pick([...known, "earliest"]),
      `${epoch}.${dice.integer(0, 30)}`,
      `${epoch}.1000000`,
      "another.5",
      "not a cursor",
    ]);
  }

  /** All its topics have ended: told so, or gone for good. */
  #mayBeAway(reader: Reader): boolean {
    return reader.topics.every((topic) => TOPICS.includes(topic));
  }

  /** Where all is retained, nothing of a known place is lost, and who has none starts at the very first event. */
  #liesAboutGaps(): string[] {
    if (!this.isRoomy) return [];
    const lies: string[] = [];
    for (const { name, gaps } of this.readers) {
      for (const { reason, to } of gaps) {
        if (
          reason === "conflated" ||
          reason === "dropped" ||
          (reason !== "trimmed" && to.endsWith(".0"))
        )
          continue;
        lies.push(`${name} was told of a gap "${reason}" to ${to}, but nothing was trimmed`);
      }
    }
    return lies;
  }
}
