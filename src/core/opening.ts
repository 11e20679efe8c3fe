import type { Runtime } from "../internal/clock.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Broker, ReadFrom, ReadResult } from "./broker.ts";
import type { Connection } from "./connection.ts";
import type { Gap } from "./control.ts";
import { SluiceError } from "./errors.ts";
import { gapOf, markTold } from "./replay.ts";
import { placeOf } from "./start.ts";
import type { Start } from "./start.ts";
import type { Subscriber } from "./subscriber.ts";
import type { Greeting, SubscriberOptions } from "./subscriber-options.ts";
import type { TenantHub } from "./tenant-hub.ts";

/** How long the broker's first answer may take before a subscription is refused. */
const OPEN_DEADLINE_MS = 5_000;
const RETRY_MS = 100;

/** `finished`: every topic has ended and the client has read to the end; nothing will ever follow. */
export type Verdict = "exact" | "gap" | "finished";

/**
 * A subscription whose cursor was judged, and to which nothing was written yet. Whoever holds it
 * calls `attach` or `abandon`, once.
 */
export interface Opening {
  readonly verdict: Verdict;
  readonly gap: Gap | undefined;
  readonly subscriber: Subscriber;
  attach(connection: Connection, greeting: Greeting): void;
  abandon(): void;
}

/**
 * Judges `start` against the log: exact (the next event after the cursor), or a gap, or finished (law 7).
 * From the moment that this is called nothing published is missed: the subscriber already has its routes.
 * Rejects with `broker_unavailable` when the broker gives no answer for 5 s.
 */
export async function openSubscription(
  tenant: TenantHub,
  broker: Broker,
  runtime: Runtime,
  options: SubscriberOptions & { readonly start: Start },
): Promise<Opening> {
  const subscriber = tenant.add(options);
  const deadline = runtime.now() + OPEN_DEADLINE_MS;
  const read = (from: ReadFrom): Promise<ReadResult> =>
    readPatiently(tenant, broker, runtime, subscriber, from, deadline);
  try {
    for (;;) {
      const { epoch } = tenant;
      const place = placeOf(options.start, epoch);
      subscriber.lost = place.lost;
      let result = await read(place.from);
      if (result.epoch === epoch) {
        if (place.isResume && place.lost === undefined && result.after > result.head) {
          subscriber.lost = "future";
          result = await read("earliest");
        } else if (place.from === "latest" && result.endedAt !== undefined) {
          // Nothing else will come: whoever starts at the end of a topic is told how it ended (law 14).
          result = await read(result.endedAt - 1);
        }
      }
      if (result.epoch === epoch && tenant.epoch === epoch) {
        // Whoever asked for what there is has lost nothing.
        if (!place.isResume) markTold(subscriber, result);
        return judge(subscriber, result, place.isResume);
      }
      // The log became another one meanwhile: the start is judged anew once the tail has said so too.
      if (runtime.now() >= deadline) {
        throw new SluiceError("broker_unavailable", "the broker's log is being replaced");
      }
      await pause(runtime);
    }
  } catch (error) {
    subscriber.abandon();
    throw error;
  }
}

function judge(subscriber: Subscriber, result: ReadResult, isResume: boolean): Opening {
  const gap = gapOf(subscriber, result);
  const isFinished =
    isResume &&
    gap === undefined &&
    result.endedAt !== undefined &&
    result.after >= result.endedAt &&
    result.publications.length === 0;
  return {
    verdict: isFinished ? "finished" : gap === undefined ? "exact" : "gap",
    gap,
    subscriber,
    attach: (connection, greeting) => subscriber.attach(connection, result, greeting),
    abandon: () => subscriber.abandon(),
  };
}

async function readPatiently(
  tenant: TenantHub,
  broker: Broker,
  runtime: Runtime,
  subscriber: Subscriber,
  from: ReadFrom,
  deadline: number,
): Promise<ReadResult> {
  for (;;) {
    try {
      return await broker.read({
        tenant: tenant.name,
        selection: subscriber.selection,
        from,
        upTo: subscriber.readTo,
        bytesMax: BATCH_BYTES_MAX,
      });
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== "broker_unavailable") throw error;
      if (runtime.now() >= deadline) throw error;
      await pause(runtime);
    }
  }
}

async function pause(runtime: Runtime): Promise<void> {
  await new Promise<void>((resolve) => {
    runtime.after(RETRY_MS * (0.5 + runtime.random()), resolve);
  });
}
