import type { EventInput } from "../../core/event.ts";
import { encodeInput } from "../../core/event.ts";
import type { Source, SourceSink } from "../source/source.ts";
import type { Produce } from "./run.ts";

/** A run that an upstream response feeds. `open` starts it; what the origin says first is for the caller to await. */
export function fromSource(open: (sink: SourceSink) => Source): Produce {
  return async (sink, signal) => {
    const source = open({ event: ({ fields }) => sink.append(fields) });
    const stop = (): void => source.stop();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const { error } = await source.ended;
    signal.removeEventListener("abort", stop);
    if (error !== undefined) throw error;
  };
}

/** A run that an async iterable of this process feeds. When the run is stopped its `return` is called. */
export function fromIterable(
  make: (signal: AbortSignal) => AsyncIterable<EventInput>,
  eventBytesMax: number,
): Produce {
  return async (sink, signal) => {
    const iterator = make(signal)[Symbol.asyncIterator]();
    const aborted = new Promise<"aborted">((resolve) => {
      if (signal.aborted) resolve("aborted");
      else signal.addEventListener("abort", () => resolve("aborted"), { once: true });
    });
    for (;;) {
      const next = iterator.next();
      const result = await Promise.race([next, aborted]);
      if (result === "aborted") {
        // It may be in the middle of something: what comes of that is nobody's any more.
        next.catch(() => {});
        Promise.resolve(iterator.return?.()).catch(() => {});
        return;
      }
      if (result.done === true) return;
      await sink.append(encodeInput(result.value, eventBytesMax).fields);
    }
  };
}
