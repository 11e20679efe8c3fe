import type { Hub } from "../../src/core/hub.ts";
import { selectTopics } from "../../src/core/selection.ts";
import type { WireForm } from "../../src/core/publication.ts";
import { FakeConnection } from "../../src/testing/index.ts";
import type { GapRecord, HistoryRecord } from "../../src/testing/index.ts";
import type { VirtualRuntime } from "../../src/testing/index.ts";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent, Scanner } from "../../src/wire/scan.ts";

/** What a reader needs of the world it lives in. */
export interface ReaderWorld {
  readonly runtime: VirtualRuntime;
  record(record: HistoryRecord): void;
  /** Tests of the harness stand a faulty connection here. */
  connect(connection: FakeConnection): FakeConnection;
  onBytes(): void;
  /** Turns to wait between the judgement of a cursor and the first byte. */
  pauseMs(): number;
  closesAtOnce(): boolean;
}

export interface ReaderOptions {
  readonly name: string;
  readonly topics: readonly string[];
  readonly form: WireForm;
  readonly start: string | undefined;
}

/** A client: it parses what arrives, records it, and resumes with the last id that its parser received. */
export class Reader {
  readonly name: string;
  readonly gaps: GapRecord["gap"][] = [];
  connection: FakeConnection | undefined;
  state: "closed" | "opening" | "open" | "finished" = "closed";
  readonly #world: ReaderWorld;
  readonly #options: ReaderOptions;
  #scanner: Scanner | undefined;
  #connections = 0;
  #lastEventId = "";

  constructor(world: ReaderWorld, options: ReaderOptions) {
    this.#world = world;
    this.#options = options;
    this.name = options.name;
  }

  get cursor(): string | undefined {
    return this.#lastEventId === "" ? this.#options.start : this.#lastEventId;
  }

  get topics(): readonly string[] {
    return this.#options.topics;
  }

  /** Opens a connection; whether it succeeded shows in `state`. */
  async open(hub: Hub): Promise<void> {
    if (this.state !== "closed") return;
    this.state = "opening";
    const { topics, form } = this.#options;
    const { cursor } = this;
    try {
      const selection = selectTopics(topics);
      const opening = await hub.subscribe({ tenant: "t", selection, form, start: cursor });
      const pauseMs = this.#world.pauseMs();
      if (pauseMs > 0) {
        await new Promise<void>((resolve) => {
          this.#world.runtime.after(pauseMs, resolve);
        });
      }
      if (opening.verdict === "finished") {
        this.state = "finished";
        return opening.abandon();
      }
      this.#world.record({ type: "open", reader: this.name, topics, cursor });
      this.#connections += 1;
      this.#scanner = createScanner({
        lastEventId: this.#lastEventId,
        onEvent: (event) => this.#onEvent(event),
        onId: (id) => this.#world.record({ type: "primer", reader: this.name, id }),
      });
      const connection = this.#world.connect(
        new FakeConnection({
          id: `${this.name}.${this.#connections}`,
          owner: opening.subscriber,
          runtime: this.#world.runtime,
          closesAtOnce: this.#world.closesAtOnce(),
          onBytes: (bytes) => {
            this.#world.onBytes();
            this.#scanner?.push(bytes);
            this.#lastEventId = this.#scanner?.lastEventId ?? "";
          },
          onEnd: () => {
            this.#scanner?.end();
            this.state = "closed";
          },
        }),
      );
      this.connection = connection;
      this.state = "open";
      opening.attach(connection, { retryMs: 1_000, hasHello: this.#connections % 2 === 0 });
    } catch (error) {
      if ((error as { code?: string }).code !== "broker_unavailable") throw error;
      this.state = "closed";
    }
  }

  /** Everything that the log has must have come. */
  settle(): void {
    this.#world.record({ type: "settled", reader: this.name });
  }

  #onEvent({ event, data, lastEventId }: ScannedEvent): void {
    if (event === "hello" || event === "close") return;
    if (event === "gap") {
      const gap = JSON.parse(data) as GapRecord["gap"];
      this.gaps.push(gap);
      return this.#world.record({ type: "gap", reader: this.name, gap });
    }
    const isEnd = event === "end";
    const { topics, form } = this.#options;
    const body =
      form === "plain"
        ? { topic: topicOf(data, isEnd) ?? topics[0] ?? "", data }
        : (JSON.parse(data) as { topic: string; data: string });
    this.#world.record({ type: "event", reader: this.name, id: lastEventId, isEnd, ...body });
  }
}

/** Plain frames do not name their topic; our publishers' names do, and so does an end. */
function topicOf(data: string, isEnd: boolean): string | undefined {
  const body = JSON.parse(data) as { p?: string; topic?: string };
  return isEnd ? body.topic : body.p?.split("#")[0];
}
