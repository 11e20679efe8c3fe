import { markInside, readInside } from "./probe.ts";
import { cpuSeconds } from "./process.ts";
import type { Figures } from "./record.ts";
import { faults, latencyFigures, loadFigures, pause } from "./scenario.ts";
import type { Server } from "./servers.ts";
import { Load, publish, type PublishOptions } from "./tools.ts";

/** The flood's own tools take what those that measure leave of their core. */
const NICE = 19;
/** Fields, line ends and id around an event's text, as they leave; a few bytes more or less. */
const FRAME_BYTES_MORE = 34;
/** As long as a flood takes to reach its height: rings full, readers lagging. */
const RISE_MS = 2_000;

export interface FloodOptions {
  readonly path: string;
  readonly header?: string;
  readonly subscribers: number;
  readonly bytes: number;
}

/**
 * Readers that take all that comes and look at none of it, and a publisher that offers far more than
 * the server can deliver to them. So the server is what is full, not the tools.
 */
export class Flood {
  /** What the server delivers when it is offered more than it can, in bytes a second. */
  capacityBytes = 0;
  readonly #server: Server;
  readonly #options: FloodOptions;
  readonly #load: Load;

  private constructor(server: Server, options: FloodOptions, load: Load) {
    this.#server = server;
    this.#options = options;
    this.#load = load;
  }

  static async open(server: Server, options: FloodOptions): Promise<Flood> {
    const { path, subscribers, header } = options;
    const load = await Load.open(
      {
        port: server.port,
        connections: subscribers,
        path,
        discard: 1,
        ...(header !== undefined && { header }),
      },
      NICE,
    );
    return new Flood(server, options, load);
  }

  /** Bytes that one event is on the wire for all its readers together. */
  get #eventBytes(): number {
    return (this.#options.bytes + FRAME_BYTES_MORE) * this.#options.subscribers;
  }

  #publish(rate: number, seconds: number) {
    const { path, header, bytes } = this.#options;
    const options: PublishOptions = {
      port: this.#server.port,
      path,
      mode: "ndjson",
      rate,
      bytes,
      seconds,
      grace: 2,
      inFlight: 20_000,
      ...(header !== undefined && { header }),
    };
    return publish(options, NICE);
  }

  /** Finds {@link capacityBytes}: offers `rate` events a second, which must be too many. */
  async measureCapacity(rate: number, seconds: number): Promise<void> {
    const publishing = this.#publish(rate, seconds + RISE_MS / 1_000);
    await pause(RISE_MS);
    const from = (await this.#load.report()).all.bytes;
    const at = performance.now();
    await pause(seconds * 900);
    const bytes = (await this.#load.report()).all.bytes - from;
    this.capacityBytes = (bytes * 1_000) / (performance.now() - at);
    await publishing;
  }

  /** Floods with `times` the capacity while `act` runs, which begins when the flood is at its height. */
  async during<T>(
    times: number,
    seconds: number,
    act: () => Promise<T>,
  ): Promise<{ of: T; figures: Figures }> {
    const rate = (times * this.capacityBytes) / this.#eventBytes;
    const publishing = this.#publish(rate, seconds + RISE_MS / 1_000);
    await pause(RISE_MS);
    const from = (await this.#load.report()).all.bytes;
    const cpuFrom = cpuSeconds(this.#server.pid);
    const at = performance.now();
    const of = await act();
    const wallSeconds = (performance.now() - at) / 1_000;
    const serverCpuShare = (cpuSeconds(this.#server.pid) - cpuFrom) / wallSeconds;
    const bytes = (await this.#load.report()).all.bytes - from;
    const published = await publishing;
    const figures = {
      floodEventsPerSecond: rate,
      floodAnsweredPerSecond: published.perSecond,
      floodOverCapacity: (published.perSecond * this.#eventBytes) / this.capacityBytes,
      floodMiBPerSecond: bytes / wallSeconds / 1_024 ** 2,
      floodClosed: (await this.#load.report()).closed,
      capacityMiBPerSecond: this.capacityBytes / 1_024 ** 2,
      serverCpuShare,
    };
    return { of, figures };
  }

  stop(): Promise<void> {
    return this.#load.program.stop();
  }
}

/** One measured part: publishes `options`, and how it reached the readers of `load`. */
export async function measured(
  server: Server,
  load: Load,
  options: PublishOptions,
): Promise<Figures> {
  load.program.send("reset");
  await markInside(server);
  const published = await publish(options);
  const stream = options.stream ?? "a";
  const { report, isAll } = await load.settle(stream, published.events - 1, 20_000);
  return {
    isComplete: isAll && report.closed === 0 ? 1 : 0,
    faults: faults(report.all),
    answerMsP99: published.answerMicros.p99 / 1_000,
    ...latencyFigures(report.all),
    ...(await readInside(server)),
    ...loadFigures(report),
  };
}
