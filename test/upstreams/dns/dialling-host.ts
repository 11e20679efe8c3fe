// Connects to origins from a network namespace of its own, started by a test: see test/support/netns.ts.
import { systemRuntime } from "../../../src/internal/clock.ts";
import { AddressBook } from "../../../src/upstreams/address.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { dialWith } from "../../../src/upstreams/pool/dial.ts";
import { PORT, serve } from "../../support/remote.ts";

/** What came of an attempt: an address, or the code of the error. */
export interface Outcome {
  readonly result: string;
  readonly ms: number;
}

const runtime = systemRuntime();
const dial = dialWith(runtime, new AddressBook(runtime));

serve({
  async dial(hostname: string): Promise<Outcome> {
    const origin = parseOrigin(`http://${hostname}:${PORT}`, { isNamed: true });
    const probe = { probeMs: 20_000, probeMsMax: 5_000, streamsPerSession: 64 };
    const startedAt = runtime.now();
    const result = await dial(origin, { connectMsMax: 3_000, http2: "off", ...probe }).then(
      (dialed) => {
        if (dialed.kind === "http2") return "http2";
        const { remoteAddress = "" } = dialed.socket;
        dialed.socket.destroy();
        return remoteAddress;
      },
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    );
    return { result, ms: Math.round(runtime.now() - startedAt) };
  },
});
