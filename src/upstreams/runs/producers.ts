import { SluiceError } from "../../core/errors.ts";
import type { EventInput } from "../../core/event.ts";
import { encodeInput } from "../../core/event.ts";
import type { Source, SourceSink } from "../source/source.ts";
import type { Produce } from "./run.ts";

/**
 * A run that an upstream response feeds. `open` starts it; what the origin says first is for the caller to
 * await. An origin that is asked to go on, and begins anew, is `upstream_lost`: nothing is told twice.
 */
export function fromSource(open: (sink: SourceSink) => Source): Produce {
  return async (sink, signal) => {
    let firstId: string | undefined;
    let lastId: string | undefined;
    let isBack = false;
    const source = open({
      event({ fields, id }) {
        // The last one is also told of what has none of its own.
        if (isBack && id !== undefined && id === firstId && id !== lastId) {
          throw new SluiceError("upstream_lost", "the upstream began its stream anew");
        }
        isBack = false;
        firstId ??= id;
        lastId = id;
        return sink.append(fields);
      },
      reconnected: () => void (isBack = true),
    });
    const stop = (): void => source.stop();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const { error } = await source.ended;
    signal.removeEventListener("abort", stop);
    if (error !== undefined) throw error;
  };
}

/**
 * A run that an async iterable of this process feeds; `toInput` makes events of what it yields. When the
 * run is stopped its iterator's `return` is called at once, also while it is asked for the next one.
 */
export function fromIterable<T>(
  make: (signal: AbortSignal) => AsyncIterable<T>,
  toInput: (value: T) => EventInput,
  eventBytesMax: number,
): Produce {
  return async (sink, signal) => {
    const iterator = make(signal)[Symbol.asyncIterator]();
    let onAbort = (): void => {};
    signal.addEventListener("abort", () => onAbort(), { once: true });
    try {
      for (;;) {
        // No race with a promise that lives as long as the run: each would leave a reaction with it.
        const result = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
          onAbort = () => resolve(undefined);
          if (signal.aborted) return resolve(undefined);
          // Of what comes when it was stopped in the middle of something nobody hears.
          Promise.resolve(iterator.next()).then(resolve, reject);
        });
        if (result === undefined) break;
        if (result.done === true) return;
        await sink.append(encodeInput(toInput(result.value), eventBytesMax).fields);
      }
    } catch (error) {
      giveBack(iterator);
      throw error;
    }
    giveBack(iterator);
  };
}

/** It may be stuck, or throw: that is nobody's any more. */
function giveBack(iterator: AsyncIterator<unknown>): void {
  (async () => iterator.return?.())().catch(() => {});
}
